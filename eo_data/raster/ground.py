"""How large pixels are on the ground, whatever their CRS: degrees shrink towards the poles, and projections stretch."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from affine import Affine
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import CRSError

from eo_data.raster.raster import to_map

#: How much a projection may stretch and still count as true: UTM and national grids stay below it.
_TRUE = 0.01
#: Metres of the projection over which its stretch is measured; a pixel can be too small for that.
_STEP = 1000.0


def ground_pixel_size(transform: Affine | None, crs: str | None, height: int, width: int) -> tuple[float, float]:
    """Measure the pixel in the centre of a raster.

    In degrees, the two sides differ: 8.98e-5 degrees are 10 m from north to south, but 7.9 m from west to east at a
    latitude of 38 degrees. They are geodesics on the ellipsoid of the CRS. A projection stretches too: at a latitude
    of 60 degrees, 20 units of Web Mercator (EPSG method 1024, whose scale is about 1 / cos(latitude)) are 10 m. Where
    it is true to 1 % along both sides (UTM, national grids), they are the CRS's own, so that 10 m stay 10 m.

    Parameters
    ----------
    transform : affine.Affine
        From (column, row) of the raster's pixels to map coordinates; x is the easting or longitude.
    crs : str
        WKT, or another form that pyproj reads (``EPSG:4326``).
    height, width : int
        Size of the raster in pixels.

    Returns
    -------
    tuple of float
        Sides along the columns' axis (x) and along the rows' axis (y) in metres.

    Raises
    ------
    ValueError
        Without georeference, for a CRS that cannot be read or is neither geographic nor projected, for latitudes
        beyond 90 degrees, or for a place that a projection does not reach.
    """
    known, system = _georeference(transform, crs)
    return _ground_sides(known, system, (width / 2, height / 2))


def ground_pixel_area(transform: Affine | None, crs: str | None, height: int, width: int) -> float:
    """Measure the square metres of the pixel in the centre of a raster, which some projections make a rhombus.

    Parameters and errors are those of `ground_pixel_size`.
    """
    known, system = _georeference(transform, crs)
    centre = (width / 2, height / 2)
    x, y = _ground_sides(known, system, centre)
    own = _own_sides(known, system.metres)
    if not system.metres or (x, y) == own:
        return x * y
    column, row = (_STEP / side / 2 for side in own)
    ring = [(-column, -row), (column, -row), (column, row), (-column, row)]
    places = _places(known, system, [(centre[0] + right, centre[1] + down) for right, down in ring])
    area, _ = system.ellipsoid.polygon_area_perimeter([lon for lon, _ in places], [lat for _, lat in places])
    return own[0] * own[1] * abs(float(area)) / _STEP**2


def projected_pixel_size(transform: Affine | None, crs: str | None) -> tuple[float, float] | None:
    """Return the sides of a pixel (x, y) in the metres of its projection, stretched or not; ``None`` for degrees.

    Errors are those of `ground_pixel_size`.
    """
    known, system = _georeference(transform, crs)
    return _own_sides(known, system.metres) if system.metres else None


@dataclass(frozen=True, eq=False)
class _System:
    """What measuring needs to know of a CRS.

    Parameters
    ----------
    name : str
        For messages.
    metres : float
        Length of its unit, 0 for degrees.
    degrees : float
        Degrees in a unit of its longitudes and latitudes, which may be grads.
    ellipsoid : Geod
        Its ellipsoid, of whatever planet.
    to_places : Transformer or None
        From a projection to longitude and latitude.
    """

    name: str
    metres: float
    degrees: float
    ellipsoid: Geod
    to_places: Transformer | None


@functools.lru_cache(maxsize=32)
def _system(crs: str) -> _System:
    system = CRS.from_user_input(crs)
    places, ellipsoid = system.geodetic_crs, system.get_geod()
    if places is None or ellipsoid is None or not (system.is_projected or system.is_geographic):
        msg = f"The CRS {system.name!r} is neither geographic nor projected. Declare pixel_size in metres instead."
        raise ValueError(msg)
    return _System(
        system.name,
        system.axis_info[0].unit_conversion_factor if system.is_projected else 0.0,
        math.degrees(places.axis_info[0].unit_conversion_factor),
        ellipsoid,
        Transformer.from_crs(system.to_2d(), places.to_2d(), always_xy=True) if system.is_projected else None,
    )


def _georeference(transform: Affine | None, crs: str | None) -> tuple[Affine, _System]:
    if transform is None or crs is None:
        msg = "The ground size of a pixel needs an affine transform and a CRS. Declare pixel_size for files without."
        raise ValueError(msg)
    try:
        return transform, _system(crs)
    except CRSError as error:
        msg = f"The CRS {crs!r} cannot be read: {error}. Expected WKT or a code such as 'EPSG:4326'."
        raise ValueError(msg) from error


def _own_sides(transform: Affine, metres: float) -> tuple[float, float]:
    return math.hypot(transform.a, transform.d) * metres, math.hypot(transform.b, transform.e) * metres


def _ground_sides(transform: Affine, system: _System, centre: tuple[float, float]) -> tuple[float, float]:
    if not system.metres:
        return _lengths(transform, system, centre, (1, 1))
    own = _own_sides(transform, system.metres)
    # As many pixels as a step is long; a pixel of no size stays one.
    steps = _lengths(transform, system, centre, (_STEP / own[0] if own[0] else 0, _STEP / own[1] if own[1] else 0))
    if all(abs(step / _STEP - 1) <= _TRUE for step in steps):
        return own
    return own[0] * steps[0] / _STEP, own[1] * steps[1] / _STEP


def _lengths(
    transform: Affine, system: _System, centre: tuple[float, float], span: tuple[float, float]
) -> tuple[float, float]:
    """Length in metres of so many columns, and of so many rows, around a column and row."""
    (x, y), (columns, rows) = centre, (span[0] / 2, span[1] / 2)
    ends = [(x - columns, y), (x + columns, y), (x, y - rows), (x, y + rows)]
    west, east, north, south = _places(transform, system, ends)
    return float(system.ellipsoid.inv(*west, *east)[2]), float(system.ellipsoid.inv(*north, *south)[2])


def _places(transform: Affine, system: _System, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Longitude and latitude in degrees of columns and rows."""
    xs, ys = zip(*(to_map(transform, *point) for point in points), strict=True)
    lons, lats = (xs, ys) if system.to_places is None else system.to_places.transform(xs, ys)
    places = [(system.degrees * lon, system.degrees * lat) for lon, lat in zip(lons, lats, strict=True)]
    if not all(abs(lat) <= 90 and math.isfinite(lon) for lon, lat in places):
        msg = (
            f"{list(zip(xs, ys, strict=True))} is no place in {system.name!r}. The transform is in other units than "
            "the CRS, or y comes first."
        )
        raise ValueError(msg)
    return places
