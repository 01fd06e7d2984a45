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
from rasterio.warp import reproject, transform

from eo_data.raster.georeference import ONE_PIXEL, PixelGrid, compare_grids, place_of_tile, same_crs
from eo_data.raster.raster import to_map
from eo_data.readers.formats.facts import OpenLayer, Part
from eo_data.readers.grids.whole_ratio import bilinear_by_whole_ratio, north_up

#: How far around a window pixels may weigh in a resampled value, in the larger pixels: half the width of the kernel.
_REACH: Mapping[str, int] = MappingProxyType({"nearest": 1, "bilinear": 1, "average": 1})
_FAR = 3
#: Where both sides of a resampling have one CRS, any will do.
_ANY_CRS = CRS.from_epsg(3857)
#: Points along each axis of a grid by which its place in another CRS is found.
_POINTS = 33
#: Pixels of another CRS count as of the same size up to this share, as GDAL's warper has it.
_SAME_SIZE = 0.05


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
    """Read bands of a layer on a part of a grid, wherever that lies; only what is needed is read.

    Pixels of the same grid are copied. Others are resampled, also from another CRS.

    Parameters
    ----------
    layer : OpenLayer
        Where the bands are.
    bands : sequence of int
        Their positions.
    grid : PixelGrid
        The grid.
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
    copied = place_of_tile(target, own)
    needed = needed_part(own, target, resampling) if copied is None else _overlap(own, target, *copied)
    lead = () if layer.facts.frames is None else (layer.facts.frames,)
    shape = (*lead, len(bands), part.height, part.width)
    result = np.full(shape, np.nan, dtype=np.float32)
    if needed is None:
        return result
    pixels = layer.stored(bands, needed, nodata=nodata, alpha=alpha)
    if copied is not None:
        top, left = needed.top - copied[0], needed.left - copied[1]
        result[..., top : top + needed.height, left : left + needed.width] = pixels
        return result
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
    alike = resampling == "bilinear" and not _other_crs(place, target)
    quick = bilinear_by_whole_ratio(pixels, place, target) if alike else None
    if quick is None:
        _reproject(pixels, place, target, result, resampling)
    else:
        result[...] = quick


def _reproject(pixels: np.ndarray, place: PixelGrid, target: PixelGrid, result: np.ndarray, resampling: str) -> None:
    """Resample by GDAL's warper into ``result``, whose values stay where there is nothing."""
    planes = pixels.reshape(-1, *pixels.shape[-2:])
    out = result.reshape(-1, *result.shape[-2:])
    ratio = _ratio(place, target)
    crs = (_ANY_CRS, _ANY_CRS)
    if _other_crs(place, target):
        crs = CRS.from_user_input(place.crs), CRS.from_user_input(target.crs)
    reproject(
        planes,
        out,
        src_transform=place.transform,
        dst_transform=target.transform,
        src_crs=crs[0],
        dst_crs=crs[1],
        src_nodata=np.nan,
        dst_nodata=np.nan,
        resampling=Resampling[resampling],
        # Between two CRS, GDAL would place pixels to an eighth of one, and by the size of the window.
        tolerance=0 if crs[0] != crs[1] else 0.125,
        # Else GDAL takes a pixel's no-data for a value as long as another band has data there.
        UNIFIED_SRC_NODATA="NO",
        # Else GDAL derives the ratio of the sizes from each window, and tiles differ from the whole.
        XSCALE=1 / ratio[0],
        YSCALE=1 / ratio[1],
    )


def _other_crs(place: PixelGrid, target: PixelGrid) -> bool:
    return same_crs(place.crs, target.crs) is False


def _ratio(own: PixelGrid, target: PixelGrid) -> tuple[float, float]:
    """How many pixels of a grid one of the target is wide and high."""
    if not _other_crs(own, target):
        sides = _pixel_sides(target), _pixel_sides(own)
        return sides[0][0] / sides[1][0], sides[0][1] / sides[1][1]
    column, row = target.width / 2, target.height / 2
    points = _places(own, target, [(column, row), (column + 1, row), (column, row + 1)])
    if not np.isfinite(points).all():
        return 1.0, 1.0
    # An axis of the target may run along any axis of the other, as of a place beside a pole.
    steps = np.hypot(*(points[1:] - points[0]).T)
    # To three digits, so that all tiles of a grid have the same.
    across, down = (1.0 if abs(step - 1) < _SAME_SIZE else float(f"{step:.3g}") for step in steps)
    return across, down


def _places(own: PixelGrid, target: PixelGrid, points: Sequence[tuple[float, float]]) -> np.ndarray:
    """Columns and rows of a grid at which columns and rows of another lie, ``(n, 2)``."""
    onto, back = target.transform or Affine.identity(), ~(own.transform or Affine.identity())
    places = [to_map(onto, *point) for point in points]
    if _other_crs(own, target):
        xs, ys = zip(*places, strict=True)
        crs = CRS.from_user_input(target.crs), CRS.from_user_input(own.crs)
        places = list(zip(*transform(*crs, xs, ys)[:2], strict=True))
    return np.array([to_map(back, *place) for place in places])


def _pixel_sides(grid: PixelGrid) -> tuple[float, float]:
    t = grid.transform or Affine.identity()
    return math.hypot(t.a, t.d), math.hypot(t.b, t.e)


def needed_part(own: PixelGrid, target: PixelGrid, resampling: str) -> Part | None:
    """Return the rows and columns of a grid that may weigh in the values of another; ``None`` if there are none."""
    if target.transform is None or own.transform is None:
        return Part(0, 0, own.height, own.width)
    other = _other_crs(own, target)
    steps = np.linspace(0, 1, _POINTS if other else 2)
    places = _places(own, target, [(x * target.width, y * target.height) for x in steps for y in steps])
    places = places[np.isfinite(places).all(axis=1)]
    if not len(places):
        return None
    ratio = _ratio(own, target)
    spans = []
    for axis, length in ((1, own.height), (0, own.width)):
        values = places[:, axis]
        larger = max(1.0, max(ratio) if other else ratio[axis])
        # Between the points of a curved edge, one more.
        margin = math.ceil(_REACH.get(resampling, _FAR) * larger) + other
        start = max(0, math.floor(values.min()) - margin)
        stop = min(length, math.ceil(values.max()) + margin)
        if start >= stop:
            return None
        spans.append((start, stop - start))
    (top, height), (left, width) = spans
    return Part(top, left, height, width)


def _overlap(own: PixelGrid, tile: PixelGrid, row: int, column: int) -> Part | None:
    """Rows and columns of a grid that a tile of it, which begins at a row and column, shares with it."""
    top, bottom = max(row, 0), min(row + tile.height, own.height)
    left, right = max(column, 0), min(column + tile.width, own.width)
    return Part(top, left, bottom - top, right - left) if top < bottom and left < right else None
