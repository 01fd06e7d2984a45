"""Places on the ground: a point and its surroundings, a box, a polygon."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field

import numpy as np
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

LONLAT = "EPSG:4326"


@dataclass(frozen=True)
class PointBuffer:
    """A point and its surroundings: a square of ``2 * buffer_m`` in the grid of the local projection.

    Parameters
    ----------
    lon, lat : float
        Degrees (WGS 84); longitude comes first.
    buffer_m : float
        From the point to each side of the square, in metres.
    id : str
        Name of the place, by which results are named.

    Raises
    ------
    ValueError
        For numbers that are no place.
    """

    lon: float
    lat: float
    buffer_m: float
    id: str = ""

    def __post_init__(self) -> None:
        """Check the numbers."""
        _check_finite(self)
        if abs(self.lat) > 90:
            swapped = abs(self.lon) <= 90 and abs(self.lat) <= 180
            remedy = f" Longitude comes first: PointBuffer({self.lat:g}, {self.lon:g}, ...)." if swapped else ""
            msg = f"{self}: lat must lie in -90..90, got {self.lat:g}.{remedy}"
            raise ValueError(msg)
        _check_longitude(self, "lon", self.lon)
        if self.buffer_m <= 0:
            msg = f"{self}: buffer_m must be positive (metres from the point to each side), got {self.buffer_m:g}."
            raise ValueError(msg)


@dataclass(frozen=True)
class BBox:
    """A box.

    Parameters
    ----------
    west, south, east, north : float
        Its edges, in degrees (WGS 84) or in the unit of ``crs``. In degrees, ``west > east`` is a box across the date
        line, as RFC 7946 has it: ``BBox(179.5, -17, -179.5, -16)`` is one degree wide.
    crs : str
        Code or WKT.
    id : str
        Name of the place.

    Raises
    ------
    ValueError
        For numbers that are no place, or a CRS that cannot be read.
    """

    west: float
    south: float
    east: float
    north: float
    crs: str = LONLAT
    id: str = ""

    def __post_init__(self) -> None:
        """Check the numbers."""
        _check_finite(self)
        lonlat = crs_of(self.crs).is_geographic
        if lonlat and max(abs(self.south), abs(self.north)) > 90:
            msg = f"{self}: south and north must lie in -90..90. The order is west, south, east, north."
            raise ValueError(msg)
        if lonlat:
            _check_longitude(self, "west", self.west)
            _check_longitude(self, "east", self.east)
        if self.south >= self.north or self.west == self.east or (self.west > self.east and not lonlat):
            msg = f"{self} has no area. Expected south < north and west < east, in the order west, south, east, north."
            raise ValueError(msg)

    @property
    def geometry(self) -> BaseGeometry:
        """The box as a polygon; across the date line its longitudes go on beyond 180."""
        over_date_line = self.west > self.east
        return shapely.box(self.west, self.south, self.east + 360 * over_date_line, self.north)


@dataclass(frozen=True)
class Region:
    """A polygon, or several that are one place.

    Parameters
    ----------
    geometry : shapely geometry
        Polygon or MultiPolygon; in degrees, x is the longitude. Across the date line it is cut there (RFC 7946), or its
        longitudes go on beyond 180.
    crs : str
        Code or WKT.
    id : str
        Name of the place.

    Raises
    ------
    ValueError
        If it is no valid polygon or lies outside of the world, or the CRS cannot be read.
    """

    geometry: BaseGeometry = field(repr=False)
    crs: str = LONLAT
    id: str = ""

    def __post_init__(self) -> None:
        """Check the geometry."""
        geometry = self.geometry
        if geometry is None or geometry.is_empty:
            msg = f"{self} is empty. Expected a polygon."
            raise ValueError(msg)
        if geometry.geom_type not in ("Polygon", "MultiPolygon"):
            msg = f"{self} is a {geometry.geom_type}. Expected a polygon; of points, give buffer_m (metres)."
            raise ValueError(msg)
        if not np.isfinite(shapely.get_coordinates(geometry)).all() or not shapely.is_valid(geometry):
            msg = f"{self} is no valid polygon: {shapely.is_valid_reason(geometry)}. Repair it (shapely.make_valid)."
            raise ValueError(msg)
        west, south, east, north = geometry.bounds
        if crs_of(self.crs).is_geographic and (west < -180 or east > 360 or south < -90 or north > 90):
            msg = (
                f"{self} reaches to {geometry.bounds} (west, south, east, north), which are no longitudes and "
                f"latitudes. Is it in another CRS than {self.crs}, or does latitude come first in it?"
            )
            raise ValueError(msg)


type Place = PointBuffer | BBox | Region


def centre_of(place: Place) -> tuple[float, float]:
    """Return longitude (-180 to 180) and latitude of the middle of a place, in degrees.

    Raises
    ------
    ValueError
        If its CRS does not reach it.
    """
    if isinstance(place, PointBuffer):
        return place.lon, place.lat
    geometry = outline_of(place)
    west, south, east, north = geometry.bounds
    x, y = (west + east) / 2, (south + north) / 2
    lon, lat = (x, y) if _is_lonlat(place.crs) else transformer(place.crs, LONLAT).transform(x, y)
    if not math.isfinite(lon) or not math.isfinite(lat):
        msg = f"{place} has no longitude and latitude in {place.crs}. Check its coordinates and CRS."
        raise ValueError(msg)
    return (lon + 180) % 360 - 180, lat


def outline_of(place: BBox | Region) -> BaseGeometry:
    """Return the geometry of a place, whole across the date line: then its longitudes go on beyond 180."""
    geometry = shapely.force_2d(place.geometry)
    west, _, east, _ = geometry.bounds
    if east - west <= 180 or not crs_of(place.crs).is_geographic or isinstance(place, BBox):
        return geometry
    parts = shapely.get_parts(geometry)
    if len(parts) < 2:
        return geometry
    return shapely.union_all([translate(part, 360) if part.bounds[2] < 0 else part for part in parts])


def _check_finite(place: PointBuffer | BBox) -> None:
    numbers = (
        (place.lon, place.lat, place.buffer_m)
        if isinstance(place, PointBuffer)
        else (place.west, place.south, place.east, place.north)
    )
    if not all(math.isfinite(number) for number in numbers):
        msg = f"{place} is no place. Expected finite numbers."
        raise ValueError(msg)


def _check_longitude(place: PointBuffer | BBox, name: str, lon: float) -> None:
    if abs(lon) > 180:
        msg = (
            f"{place}: {name} must lie in -180..180, got {lon:g}. If it counts on beyond the date line, give "
            f"{(lon + 180) % 360 - 180:g}."
        )
        raise ValueError(msg)


@functools.lru_cache(maxsize=256)
def crs_of(crs: str) -> CRS:
    """Return a CRS by its code or WKT.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    try:
        return CRS.from_user_input(crs)
    except CRSError as error:
        msg = f"The CRS {crs!r} of a place cannot be read: {error}. Expected a code such as EPSG:4326, or WKT."
        raise ValueError(msg) from error


def _is_lonlat(crs: str) -> bool:
    return crs_of(crs).equals(crs_of(LONLAT), ignore_axis_order=True)


@functools.lru_cache(maxsize=256)
def transformer(crs: str, other: str) -> Transformer:
    """Return what brings coordinates from one CRS to another; x, the easting or longitude, comes first."""
    return Transformer.from_crs(crs_of(crs), crs_of(other), always_xy=True)
