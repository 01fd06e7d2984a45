"""The grid that bands come to, and their pixels on it: windows, directions and sizes are handled here alone."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.warp import reproject

from eo_data.raster.georeference import ONE_PIXEL, PixelGrid, compare_grids, same_crs
from eo_data.raster.raster import to_map
from eo_data.raster.resampling import bilinear_of_finite
from eo_data.readers.formats.facts import OpenLayer, Part

#: How far around a window pixels may weigh in a resampled value, in the larger pixels: half the width of the kernel.
_REACH: Mapping[str, int] = MappingProxyType({"nearest": 1, "bilinear": 1, "average": 1})
_FAR = 3
#: Least weight of a value that is taken, as GDAL has it.
_ANY_WEIGHT = 1e-5
#: Both sides of a resampling have one CRS, so that any will do.
_ANY_CRS = CRS.from_epsg(3857)


@dataclass(frozen=True)
class Fill:
    """Numbers that stand for no data though the file does not say so; they must not weigh in values beside them.

    Parameters
    ----------
    by_band : tuple of tuple of float
        For each band, numbers that are missing whatever the other bands have. They come out as NaN.
    in_all : float or None
        A number that is missing where all bands have it. It comes out as it is, because there may be further bands.
    """

    by_band: tuple[tuple[float, ...], ...]
    in_all: float | None = None


def with_stated_crs(grid: PixelGrid, crs: str | None) -> PixelGrid:
    """Return the grid in the CRS that the config states for files without one.

    Raises
    ------
    ValueError
        If the CRS cannot be read, the file states another one, or it has no transform.
    """
    if crs is None:
        return grid
    if grid.transform is None:
        msg = (
            f"crs is {crs!r}, but it has no affine transform, without which a CRS says nothing. Georeference the file."
        )
        raise ValueError(msg)
    stated = wkt_of(crs)
    if grid.crs is None:
        return replace(grid, crs=stated)
    if same_crs(grid.crs, stated) is False:
        msg = f"the config states crs: {crs}, the file {grid.crs[:60]!r}. Leave crs out to use that of the file."
        raise ValueError(msg)
    return grid


@functools.lru_cache(maxsize=8)
def wkt_of(crs: str) -> str:
    """Return as WKT a CRS that a config names.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    import pyproj  # noqa: PLC0415
    from pyproj.exceptions import CRSError  # noqa: PLC0415

    try:
        return str(pyproj.CRS.from_user_input(crs).to_wkt())
    except CRSError as error:
        msg = f"crs {crs!r} cannot be read: {error}. Expected a code such as EPSG:32633, or WKT."
        raise ValueError(msg) from error


def resampled_grid(grid: PixelGrid, size: float) -> PixelGrid:
    """Return pixels of ``size`` over the ground of a grid, north up from its upper left corner.

    Raises
    ------
    ValueError
        If the grid has no transform or is rotated, or a pixel is larger than the image.
    """
    transform = grid.transform
    if transform is None:
        msg = (
            "resample_to needs a raster with a georeference, and this one has none. Leave resample_to out, or "
            "georeference the file."
        )
        raise ValueError(msg)
    if transform.b or transform.d:
        msg = "resample_to needs a raster that is not rotated. Warp it north up first (gdalwarp)."
        raise ValueError(msg)
    up = north_up(grid)
    left, top = up.transform.c, up.transform.f  # type: ignore[union-attr]
    across, down = grid.width * abs(transform.a), grid.height * abs(transform.e)
    # The centre of a pixel lies within the image, else it would have no value: half a pixel at the end is left out.
    height, width = (math.ceil(length / size - 0.5 - 1e-6) for length in (down, across))
    if min(height, width) < 1:
        msg = (
            f"resample_to is in the unit of the CRS and must not exceed the image, which covers {across:g} x {down:g}; "
            f"got {size:g}. In a geographic CRS it is in degrees."
        )
        raise ValueError(msg)
    return PixelGrid(height, width, Affine(size, 0.0, left, 0.0, -size, top), grid.crs)


def north_up(grid: PixelGrid) -> PixelGrid:
    """Return the grid with rows from north to south and columns from west to east; rotated ones stay as they are."""
    t = grid.transform
    if t is None or t.b or t.d:
        return grid
    left = t.c + min(0.0, t.a * grid.width)
    top = t.f + max(0.0, t.e * grid.height)
    return replace(grid, transform=Affine(abs(t.a), 0.0, left, 0.0, -abs(t.e), top))


def same_ground(grid: PixelGrid, other: PixelGrid) -> bool:
    """Whether two grids show one ground to a pixel, whatever the size of pixels and the direction of rows."""
    found = compare_grids(north_up(grid), north_up(other))
    return found.same_knowledge and found.same_ground(ONE_PIXEL)


def read_on_grid(
    layer: OpenLayer,
    bands: Sequence[int],
    grid: PixelGrid,
    part: Part,
    resampling: str,
    *,
    nodata: float | None = None,
    alpha: bool = True,
    fill: Fill | None = None,
) -> np.ndarray:
    """Read bands of a layer on a part of a grid over the same ground; only what is needed is read.

    Parameters
    ----------
    layer : OpenLayer
        Where the bands are.
    bands : sequence of int
        Their positions.
    grid : PixelGrid
        The grid, in the CRS of the layer.
    part : Part
        Rows and columns of the grid.
    resampling : str
        Name of `rasterio.enums.Resampling`, where the layer has other pixels.
    nodata, alpha
        As in `eo_data.readers.formats.facts.OpenLayer.stored`.
    fill : Fill, optional
        Looked at where the layer has other pixels.

    Returns
    -------
    ndarray
        Float32 ``(C, H, W)`` or ``(T, C, H, W)``, NaN where missing.
    """
    own = layer.facts.grid
    if compare_grids(grid, own).same_grid():
        return layer.stored(bands, part, nodata=nodata, alpha=alpha)
    if own.transform is None or grid.transform is None:
        msg = (
            f"its pixels ({own.height} x {own.width}) have no georeference, so they cannot be brought to another grid."
        )
        raise ValueError(msg)
    target = grid.window(part.top, part.left, part.height, part.width)
    needed = needed_part(own, target, resampling)
    lead = () if layer.facts.frames is None else (layer.facts.frames,)
    shape = (*lead, len(bands), part.height, part.width)
    result = np.full(shape, np.nan, dtype=np.float32)
    if needed is None:
        return result
    pixels = layer.stored(bands, needed, nodata=nodata, alpha=alpha)
    place = own.window(needed.top, needed.left, needed.height, needed.width)
    # Missing is NaN, also where infinite; GDAL weighs the others.
    pixels[np.isinf(pixels)] = np.nan
    empty = None if fill is None else _without_fill(pixels, fill)
    _resample(pixels, place, target, result, resampling)
    if resampling == "cubic" and not np.isfinite(pixels).all():
        _steady_beside_gaps(pixels, place, target, result)
    if empty is not None and fill is not None and fill.in_all is not None:
        there = np.zeros_like(result)
        _reproject(empty.astype(np.float32), place, target, there, "nearest")
        result[np.isnan(result) & (there > 0)] = fill.in_all
    return result


def _without_fill(pixels: np.ndarray, fill: Fill) -> np.ndarray | None:
    """Set numbers that stand for no data to NaN, in place; gives where all bands have one, bool, or ``None``."""
    for i, numbers in enumerate(fill.by_band):
        for number in numbers:
            plane = pixels[..., i, :, :]
            plane[plane == np.float32(number)] = np.nan
    if fill.in_all is None:
        return None
    found = pixels == np.float32(fill.in_all)
    empty = found.any(axis=-3, keepdims=True) & (found | np.isnan(pixels)).all(axis=-3, keepdims=True)
    if not empty.any():
        return None
    empty = empty & found
    pixels[empty] = np.nan
    return np.asarray(empty)


def _steady_beside_gaps(pixels: np.ndarray, place: PixelGrid, target: PixelGrid, result: np.ndarray) -> None:
    """Take bilinear values where the cubic kernel meets missing pixels.

    GDAL divides by the sum of the weights that are left. Some of the kernel's are negative, so that it may be nearly 0,
    and the value anything.
    """
    touched, instead = np.zeros_like(result), np.full_like(result, np.nan)
    _reproject(np.isnan(pixels).astype(np.float32), place, target, touched, "cubic")
    _reproject(pixels, place, target, instead, "bilinear")
    # It is exactly 0 where the kernel meets no gap.
    np.copyto(result, instead, where=np.abs(touched) > 1e-6)


def _resample(pixels: np.ndarray, place: PixelGrid, target: PixelGrid, result: np.ndarray, resampling: str) -> None:
    """Resample into ``result``, whose values stay where there is nothing."""
    quick = _by_whole_ratio(pixels, place, target) if resampling == "bilinear" else None
    if quick is None:
        _reproject(pixels, place, target, result, resampling)
    else:
        result[...] = quick


def _by_whole_ratio(pixels: np.ndarray, place: PixelGrid, target: PixelGrid) -> np.ndarray | None:
    """Bilinear values where one pixel is a whole number of the other ones, as 20 m are of 10 m; else ``None``.

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


def _reproject(pixels: np.ndarray, place: PixelGrid, target: PixelGrid, result: np.ndarray, resampling: str) -> None:
    """Resample by GDAL's warper into ``result``, whose values stay where there is nothing."""
    planes = pixels.reshape(-1, *pixels.shape[-2:])
    out = result.reshape(-1, *result.shape[-2:])
    ratio = [_pixel_sides(place)[i] / _pixel_sides(target)[i] for i in (0, 1)]
    reproject(
        planes,
        out,
        src_transform=place.transform,
        dst_transform=target.transform,
        src_crs=_ANY_CRS,
        dst_crs=_ANY_CRS,
        src_nodata=np.nan,
        dst_nodata=np.nan,
        resampling=Resampling[resampling],
        # Else GDAL takes a pixel's no-data for a value as long as another band has data there.
        UNIFIED_SRC_NODATA="NO",
        # Else GDAL derives the ratio of the sizes from each window, and tiles differ from the whole.
        XSCALE=ratio[0],
        YSCALE=ratio[1],
    )


def _pixel_sides(grid: PixelGrid) -> tuple[float, float]:
    t = grid.transform or Affine.identity()
    return math.hypot(t.a, t.d), math.hypot(t.b, t.e)


def needed_part(own: PixelGrid, target: PixelGrid, resampling: str) -> Part | None:
    """Return the rows and columns of a grid that may weigh in the values of another; ``None`` if there are none."""
    transform = target.transform
    if transform is None or own.transform is None:
        return Part(0, 0, own.height, own.width)
    inverse = ~own.transform
    corners = [to_map(transform, x, y) for x in (0, target.width) for y in (0, target.height)]
    places = [to_map(inverse, *corner) for corner in corners]
    spans = []
    for axis, length in ((1, own.height), (0, own.width)):
        values = [place[axis] for place in places]
        larger = max(1.0, _pixel_sides(target)[1 - axis] / _pixel_sides(own)[1 - axis])
        margin = math.ceil(_REACH.get(resampling, _FAR) * larger)
        start = max(0, math.floor(min(values)) - margin)
        stop = min(length, math.ceil(max(values)) + margin)
        if start >= stop:
            return None
        spans.append((start, stop - start))
    (top, height), (left, width) = spans
    return Part(top, left, height, width)
