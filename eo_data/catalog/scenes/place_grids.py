"""The square grid of pixels of a place.

A place is projected by its centre: to the UTM zone that the Sentinel-2 tiles there have, so that pixels of most
scenes are copied and not resampled, or to UPS beyond 84 degrees north and 80 degrees south.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import shapely
from affine import Affine
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

from eo_data.catalog.scenes.places import (
    LONLAT,
    BBox,
    Place,
    PointBuffer,
    Region,
    centre_of,
    crs_of,
    outline_of,
    transformer,
)
from eo_data.raster.areas import covered_area
from eo_data.raster.georeference import ROUNDING, PixelGrid
from eo_data.raster.local_crs import UPS_NORTH, UPS_SOUTH, local_crs

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

#: Longest side of a place in metres. Half of it beyond the edge of a zone, UTM is still true to 0.5 %.
LONGEST_SIDE = 600_000.0
#: Degrees or metres after which an edge gets another corner before it is projected: it is off by less than 0.1 m.
_STEP_DEGREES, _STEP = 0.01, 1000.0


@dataclass(frozen=True, eq=False)
class PlaceGrid:
    """The square grid of a place, and what of it the place is.

    Parameters
    ----------
    grid : PixelGrid
        Square and north up; corners are at whole multiples of the patch.
    region : shapely geometry
        The place itself, in the CRS of the grid.
    pixel_size : float
        In metres.
    """

    grid: PixelGrid
    region: BaseGeometry = field(repr=False)
    pixel_size: float

    @property
    def geobox(self) -> GeoBox:
        """The grid as a GeoBox of odc-geo."""
        from odc.geo.geobox import GeoBox  # noqa: PLC0415  (0.3 s, which reading needs not wait for)

        return GeoBox((self.grid.height, self.grid.width), self.grid.transform or Affine.identity(), self.grid.crs)

    @property
    def window(self) -> tuple[int, int, int, int]:
        """Top, left, height and width in pixels of what the place touches."""
        left, bottom, right, top = self.region.bounds
        x, y = self._corner
        first = _floor((y - top) / self.pixel_size), _floor((left - x) / self.pixel_size)
        last = _ceil((y - bottom) / self.pixel_size), _ceil((right - x) / self.pixel_size)
        return first[0], first[1], last[0] - first[0], last[1] - first[1]

    def at(self, pixel_size: float) -> PixelGrid:
        """Return pixels of another size over the same ground.

        Raises
        ------
        ValueError
            If the side is no whole number of them.
        """
        side = self.grid.height * self.pixel_size
        count = side / pixel_size
        if abs(count - round(count)) > ROUNDING or not round(count):
            msg = (
                f"The grid of the place is {side:g} m long, which is no whole number of pixels of {pixel_size:g} m. "
                "Raise multiple, so that a patch is a whole number of the pixels of all modalities."
            )
            raise ValueError(msg)
        x, y = self._corner
        return PixelGrid(round(count), round(count), Affine(pixel_size, 0, x, 0, -pixel_size, y), self.grid.crs)

    def weights(self, rows: int, columns: int) -> np.ndarray:
        """Return the share that the place covers of each of ``rows`` x ``columns`` cells of the grid, float64."""
        across, down = (self.grid.width / columns, self.grid.height / rows)
        x, y = self._corner
        cells = Affine(across * self.pixel_size, 0, x, 0, -down * self.pixel_size, y)
        return covered_area(self.region, cells, (rows, columns))

    @property
    def _corner(self) -> tuple[float, float]:
        transform = self.grid.transform or Affine.identity()
        return transform.c, transform.f


def grid_of_place(place: Place, pixel_size: float, multiple: int = 1) -> PlaceGrid:
    """Return the smallest square grid over a place whose corners are at whole patches.

    Where a place is longer one way than the other, the square grows by as many patches on both sides of it; an odd one
    lies in the east or south.

    Parameters
    ----------
    place : PointBuffer, BBox or Region
        The place.
    pixel_size : float
        In metres.
    multiple : int
        Side of a patch in pixels. In metres, easting and northing of the upper left corner are multiples of it, and so
        is the side of the grid.

    Raises
    ------
    ValueError
        If the place is longer than `LONGEST_SIDE`, its projection does not reach it, or a size is not positive.
    """
    if not (math.isfinite(pixel_size) and pixel_size > 0) or multiple < 1:
        msg = f"pixel_size (metres) and multiple (pixels) must be positive, got {pixel_size!r} and {multiple!r}."
        raise ValueError(msg)
    crs, region = _projected(place)
    patch = pixel_size * multiple
    west, south, east, north = (value / patch for value in region.bounds)
    first = [_floor(west, multiple), -_ceil(north, multiple)]
    counts = [_ceil(east, multiple) - first[0], -_floor(south, multiple) - first[1]]
    side = max(counts)
    column, row = (start - (side - count) // 2 for start, count in zip(first, counts, strict=True))
    transform = Affine(pixel_size, 0, column * patch, 0, -pixel_size, -row * patch)
    return PlaceGrid(PixelGrid(side * multiple, side * multiple, transform, _wkt(crs)), region, float(pixel_size))


def _projected(place: Place) -> tuple[int, BaseGeometry]:
    """Code of the local projection, and the place in it."""
    centre = centre_of(place)
    code = local_crs(*centre)
    target = f"EPSG:{code}"
    if isinstance(place, PointBuffer):
        x, y = transformer(LONLAT, target).transform(place.lon, place.lat)
        return code, _checked(place, shapely.box(*(v + d for d in (-place.buffer_m, place.buffer_m) for v in (x, y))))
    outline = outline_of(place)
    if crs_of(place.crs).equals(crs_of(target), ignore_axis_order=True):
        return code, _checked(place, outline)
    lonlat = crs_of(place.crs).is_geographic
    if lonlat:
        _refuse_wide(place, outline, by_zone=code not in (UPS_NORTH, UPS_SOUTH))
    dense = shapely.segmentize(outline, _STEP_DEGREES if lonlat else _STEP)
    transform = transformer(place.crs, target)
    region = shapely.transform(dense, lambda points: np.column_stack(transform.transform(points[:, 0], points[:, 1])))
    return code, _checked(place, region)


def _refuse_wide(place: BBox | Region, outline: BaseGeometry, *, by_zone: bool) -> None:
    """Refuse degrees that a projection does not reach, before it makes other numbers of them."""
    west, south, east, north = outline.bounds
    if (by_zone and east - west > 90) or north - south > 10:
        msg = f"{place} is {east - west:g} x {north - south:g} degrees wide and high, {_too_large(place)}"
        raise ValueError(msg)


def _checked(place: Place, region: BaseGeometry) -> BaseGeometry:
    west, south, east, north = region.bounds
    if not np.isfinite(region.bounds).all() or not shapely.is_valid(region):
        msg = (
            f"{place} cannot be projected. Of a place around a pole, give PointBuffer(0, 90, ...) or a polygon in "
            f"EPSG:{UPS_NORTH} or EPSG:{UPS_SOUTH}; else check its coordinates."
        )
        raise ValueError(msg)
    if max(east - west, north - south) > LONGEST_SIDE:
        sides = f"{(east - west) / 1000:.6g} x {(north - south) / 1000:.6g} km"
        msg = f"{place} is {sides} large, {_too_large(place)}"
        raise ValueError(msg)
    return region


def _too_large(place: Place) -> str:
    hint = " A box with west > east goes over the date line; if that is not meant, swap them."
    return (
        f"and a place may be {LONGEST_SIDE / 1000:g} km long, because one projection has to be true all over it. Cut "
        f"it into several places.{hint if isinstance(place, BBox) and place.west > place.east else ''}"
    )


@functools.lru_cache(maxsize=256)
def _wkt(code: int) -> str:
    return str(CRS.from_epsg(code).to_wkt())


def _floor(value: float, multiple: int = 1) -> int:
    """Round down, but for the rounding of coordinates; counted in patches of ``multiple`` pixels."""
    return math.floor(value + ROUNDING / multiple)


def _ceil(value: float, multiple: int = 1) -> int:
    return math.ceil(value - ROUNDING / multiple)
