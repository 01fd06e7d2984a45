"""Whether two pixel grids are one, or show the same ground: the project's only comparison of grids.

Corners are compared, each with the same corner of the other grid, because a flipped or turned grid has the same extent.
Distances are counted in pixels, so that one tolerance serves metres and degrees. The named tolerances:

============== ============ ==========================================================================================
`ROUNDING`     0.001 pixels the default: two grids are one, but for the rounding of stored coordinates
`HALF_A_PIXEL` 0.5 pixels   pixels laid on each other by row and column: further off, a neighbour would be nearer
`ONE_PIXEL`    1 pixel      pixels of different sizes over one ground: an extent that is no whole number of the larger
                            pixels ends up to one of them earlier or later
============== ============ ==========================================================================================
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Protocol

from affine import Affine

from eo_data.raster.raster import shifted, to_map
from eo_data.raster.sample import Image, Sample, SampleError

ROUNDING = 1e-3
HALF_A_PIXEL = 0.5
ONE_PIXEL = 1.0
#: Decimals of a gap in pixels; further ones are the rounding of float64 coordinates.
_DECIMALS = 6


#: No coordinate on a planet is farther out, in metres, feet or degrees, and no pixel is smaller.
_FARTHEST, _SMALLEST = 1e10, 1e-12


def fault_of_transform(transform: Affine) -> str:
    """Return why a transform is no place on any map, or nothing: numbers that are not finite, or out of all bounds."""
    numbers = tuple(transform)[:6]
    if not all(map(math.isfinite, numbers)) or not transform.determinant:
        return f"its transform {numbers} is no place: pixels have no area"
    sides = math.hypot(transform.a, transform.d), math.hypot(transform.b, transform.e)
    if max(*map(abs, numbers)) > _FARTHEST or min(sides) < _SMALLEST:
        return f"its transform {numbers} is no place: numbers of a map lie within {_FARTHEST:g}"
    return ""


class HasGrid(Protocol):
    """What lies on a pixel grid, such as a `eo_data.raster.raster.Raster`."""

    @property
    def height(self) -> int:
        """Rows."""
        ...

    @property
    def width(self) -> int:
        """Columns."""
        ...

    @property
    def transform(self) -> Affine | None:
        """From (column, row) to map coordinates."""
        ...

    @property
    def crs(self) -> str | None:
        """WKT."""
        ...


@dataclass(frozen=True)
class PixelGrid:
    """A grid without its pixels.

    Parameters
    ----------
    height, width : int
        Rows and columns.
    transform : affine.Affine or None
        From (column, row) to map coordinates; ``None`` if it is not known.
    crs : str or None
        Coordinate reference system as WKT; ``None`` if it is not known.
    """

    height: int
    width: int
    transform: Affine | None
    crs: str | None

    def window(self, top: int, left: int, height: int, width: int) -> PixelGrid:
        """Return the grid of a window; it may reach over the edges."""
        return PixelGrid(height, width, shifted(self.transform, left, top), self.crs)


@dataclass(frozen=True)
class GridComparison:
    """How two grids differ.

    Parameters
    ----------
    same_size : bool
        Whether they have as many rows and columns.
    same_crs : bool or None
        Whether their CRS mean the same; ``None`` if one of them is not known.
    same_directions : bool or None
        Whether rows run the same way on the map, and columns do; ``None`` without both transforms.
    gap : float or None
        Largest distance between the same corners, along rows or columns, in pixels of the grid with the larger ones;
        ``None`` without both transforms. It means nothing if the CRS differ.
    same_knowledge : bool
        Whether the transform is known of both or of neither, and the CRS too.
    """

    same_size: bool
    same_crs: bool | None
    same_directions: bool | None
    gap: float | None
    same_knowledge: bool

    def same_ground(self, tolerance: float = ROUNDING) -> bool:
        """Whether the grids show the same ground; what is not known is taken to be the same.

        Parameters
        ----------
        tolerance : float
            Largest gap in pixels.
        """
        near = self.gap is None or self.gap <= tolerance
        return near and self.same_crs is not False and self.same_directions is not False

    def same_grid(self, tolerance: float = ROUNDING) -> bool:
        """Whether the grids show the same ground with as many pixels."""
        return self.same_size and self.same_ground(tolerance)


def compare_grids(one: HasGrid, other: HasGrid) -> GridComparison:
    """Compare size, CRS, directions and corners of two grids.

    Parameters
    ----------
    one, other : HasGrid
        A raster, or a `PixelGrid`.

    Returns
    -------
    GridComparison
        Its methods judge with a tolerance.
    """
    return GridComparison(
        same_size=(one.height, one.width) == (other.height, other.width),
        same_crs=same_crs(one.crs, other.crs),
        same_directions=_same_directions(one.transform, other.transform),
        gap=_gap(one, other),
        same_knowledge=(one.transform is None) == (other.transform is None)
        and (one.crs is None) == (other.crs is None),
    )


def place_of_tile(tile: HasGrid, whole: PixelGrid) -> tuple[int, int] | None:
    """Return the row and column of a larger grid at which a tile of it begins; they may be negative.

    Returns
    -------
    tuple of int, or None
        ``None`` if the tile is not cut along the pixels of the larger grid: they are of another size or CRS, turned,
        or shifted by a part of a pixel.

    Raises
    ------
    ValueError
        If one of the two has no transform.
    """
    if tile.transform is None or whole.transform is None:
        msg = "The place of a tile needs the transforms of the tile and of the raster. One of them is not known."
        raise ValueError(msg)
    apart = tile.transform.c - whole.transform.c, tile.transform.f - whole.transform.f
    offset = _in_pixels(whole.transform, *apart)
    if offset is None:
        return None
    column, row = (round(value) for value in offset)
    fits = compare_grids(whole.window(row, column, tile.height, tile.width), tile).same_grid()
    return (row, column) if fits else None


def same_crs(one: str | None, other: str | None) -> bool | None:
    """Whether two WKT mean one CRS, however it is written; ``None`` if one of them is not known.

    Of two different texts of which one cannot be read, the answer is no. The order of the axes does not count, as
    rasters always have x first.
    """
    if one is None or other is None:
        return None
    return one == other or _equal_crs(one, other)


@functools.lru_cache(maxsize=64)  # to compare two takes longer than to read a small image
def _equal_crs(one: str, other: str) -> bool:
    from pyproj import CRS  # noqa: PLC0415
    from pyproj.exceptions import CRSError  # noqa: PLC0415

    try:
        return bool(CRS.from_user_input(one).equals(CRS.from_user_input(other), ignore_axis_order=True))
    except CRSError:
        return False


def _same_directions(one: Affine | None, other: Affine | None) -> bool | None:
    if one is None or other is None:
        return None
    columns, rows = one.a * other.a + one.d * other.d, one.b * other.b + one.e * other.e
    return bool(columns > 0 and rows > 0)


def _gap(one: HasGrid, other: HasGrid) -> float | None:
    first, second = one.transform, other.transform
    if first is None or second is None:
        return None
    gaps = [0.0, 0.0]
    for right in (0, 1):
        for below in (0, 1):
            x, y = to_map(first, right * one.width, below * one.height)
            other_x, other_y = to_map(second, right * other.width, below * other.height)
            for i, transform in enumerate((first, second)):
                apart = _in_pixels(transform, other_x - x, other_y - y)
                # `max` passes over NaN, which is no place at all.
                gaps[i] = float("inf") if apart is None else max(gaps[i], abs(apart[0]), abs(apart[1]))
    return round(min(gaps), _DECIMALS)


def _in_pixels(transform: Affine, x: float, y: float) -> tuple[float, float] | None:
    """Return how many columns and rows a way on the map is; ``None`` if the pixels have no area or it is not finite."""
    t = transform
    area = t.a * t.e - t.b * t.d
    if not area:
        return None
    columns, rows = (x * t.e - y * t.b) / area, (y * t.a - x * t.d) / area
    return (columns, rows) if abs(columns) + abs(rows) < float("inf") else None


def same_grid(sample: Sample) -> Image:
    """Return the reference image of a sample whose images all lie on one grid, up to half a pixel.

    Raises
    ------
    SampleError
        If sizes, CRS or places differ.
    """
    first = sample.reference
    for name, image in sample.images.items():
        ours, theirs = first.raster, image.raster
        if (ours.height, ours.width) != (theirs.height, theirs.width) or image.pixel_size != first.pixel_size:
            msg = (
                f"{sample.id}: {name!r} has {theirs.height} x {theirs.width} pixels of {image.pixel_size:g} m, the "
                f"first modality {ours.height} x {ours.width} of {first.pixel_size:g} m. Bring them to one grid "
                "(resample_to) first."
            )
            raise SampleError(msg)
    check_georeference(sample, HALF_A_PIXEL)
    return first


def check_georeference(sample: Sample, tolerance: float = ONE_PIXEL) -> None:
    """Refuse images that do not show the same ground.

    Parameters
    ----------
    sample : Sample
        Images without a transform are passed over.
    tolerance : float
        Largest distance of corners, in pixels of the coarser image.

    Raises
    ------
    SampleError
        If CRS or directions differ, or corners by more.
    """
    located = [(name, image.raster) for name, image in sample.images.items() if image.raster.transform is not None]
    for name, raster in located[1:]:
        first_name, first = located[0]
        found = compare_grids(first, raster)
        if found.same_crs is False:
            msg = f"{sample.id}: {first_name!r} and {name!r} have different CRS. Warp them to one."
            raise SampleError(msg)
        if found.same_directions is False:
            msg = (
                f"{sample.id}: the rows or columns of {first_name!r} and {name!r} run in opposite directions. Warp "
                "them to one grid, north up."
            )
            raise SampleError(msg)
        if not found.same_ground(tolerance):
            msg = (
                f"{sample.id}: {first_name!r} covers {first.bounds} and {name!r} {raster.bounds} (left, bottom, right, "
                f"top); they must show the same ground, to {tolerance:g} of the larger pixels. Crop or warp them to "
                "one extent."
            )
            raise SampleError(msg)
