"""Bilinear values of pixels that are a whole number of the other ones, as 20 m are of 10 m."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from affine import Affine

from eo_data.raster.georeference import PixelGrid
from eo_data.raster.resampling import bilinear_of_finite

#: Least weight of a value that is taken, as GDAL has it.
_ANY_WEIGHT = 1e-5


def north_up(grid: PixelGrid) -> PixelGrid:
    """Return the grid with rows from north to south and columns from west to east; rotated ones stay as they are."""
    t = grid.transform
    if t is None or t.b or t.d:
        return grid
    left = t.c + min(0.0, t.a * grid.width)
    top = t.f + max(0.0, t.e * grid.height)
    return replace(grid, transform=Affine(abs(t.a), 0.0, left, 0.0, -abs(t.e), top))


def bilinear_by_whole_ratio(pixels: np.ndarray, place: PixelGrid, target: PixelGrid) -> np.ndarray | None:
    """Return bilinear values where one pixel is a whole number of the other ones; else ``None``.

    The same numbers as GDAL's warper gives, in a tenth of the time.
    """
    up = north_up(place)
    own, new = place.transform, target.transform
    if own is None or new is None or up.transform is None or own.b or own.d or new.b or new.d:
        return None
    pixels = pixels[..., :: 1 if own.e < 0 else -1, :: 1 if own.a > 0 else -1]
    spans = []
    for axis, size in ((-2, target.height), (-1, target.width)):
        first, side = (up.transform.f, up.transform.e) if axis == -2 else (up.transform.c, up.transform.a)
        start, step = (new.f, new.e) if axis == -2 else (new.c, new.a)
        span = _span(side / step, (start - first) / min(abs(side), abs(step)) * np.sign(side), pixels.shape[axis], size)
        if span is None:
            return None
        spans.append(span)
    rows, columns = spans
    if rows.finer != columns.finer:
        return None
    part = pixels[..., rows.skipped :, columns.skipped :]
    ends = [span.length - length for span, length in ((rows, part.shape[-2]), (columns, part.shape[-1]))]
    part = part[..., : rows.length, : columns.length]
    border = [(0, 0)] * (part.ndim - 2) + [(0, max(0, end)) for end in ends]
    if max(ends) > 0:
        part = np.pad(part, border, constant_values=np.nan)
    # Halves are exact in float32, and so is a mean whose weights need not be scaled up.
    precise = any(span.times & (span.times - 1) for span in spans) or bool(np.isnan(part).any())
    values = bilinear_of_finite(
        part, rows.size, columns.size, least=_ANY_WEIGHT, antialias=not rows.finer, precise_weights=precise
    )
    return values[..., rows.first : rows.first + target.height, columns.first : columns.first + target.width]


@dataclass(frozen=True)
class _Span:
    """How pixels along an axis become others: ``length`` of them after some ``skipped``, to ``size`` new ones."""

    times: int
    finer: bool
    skipped: int
    length: int
    size: int
    first: int


def _span(ratio: float, offset: float, length: int, wanted: int) -> _Span | None:
    """Plan an axis.

    Parameters
    ----------
    ratio : float
        Old pixel by new pixel.
    offset : float
        Where the new pixels begin, counted in the smaller pixels from the old ones' start.
    length, wanted : int
        Number of old pixels, and of new ones.
    """
    times = round(ratio if ratio >= 1 else 1 / ratio)
    exact = math.isclose(ratio, times if ratio >= 1 else 1 / times, rel_tol=1e-6)
    begin = round(offset)
    if not exact or begin < 0 or abs(offset - begin) > 1e-3:
        return None
    if ratio >= 1:
        fits = begin + wanted <= length * times
        return _Span(times, True, 0, length, length * times, begin) if fits else None
    skipped, first = begin % times, begin // times
    size = max(-(-(length - skipped) // times), 1)
    return _Span(times, False, skipped, size * times, size, first) if first + wanted <= size else None
