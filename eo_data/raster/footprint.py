"""Footprints of grids in longitude and latitude."""

from __future__ import annotations

import functools

import numpy as np
import shapely
from pyproj import CRS, Transformer
from shapely.affinity import translate
from shapely.geometry import MultiPolygon, Polygon, box
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

from eo_data.raster.georeference import PixelGrid
from eo_data.raster.raster import to_map

#: Pieces that an edge is cut into, and how far (degrees, 1 cm) a corner between them may be off to be left out.
_PIECES = 64
_TOLERANCE = 1e-7


@functools.lru_cache(maxsize=256)
def _to_lonlat(crs: str) -> Transformer:
    return Transformer.from_crs(CRS.from_user_input(crs), CRS.from_epsg(4326), always_xy=True)


@functools.lru_cache(maxsize=256)
def crs_name(crs: str) -> str:
    """Return ``EPSG:32633`` or the like if the CRS is exactly that, else the text itself (WKT)."""
    authority = CRS.from_user_input(crs).to_authority(min_confidence=100)
    return crs if authority is None else ":".join(authority)


def footprint(corners: tuple[tuple[float, float], ...], crs: str) -> BaseGeometry:
    """Return the outline of a grid in EPSG:4326 (longitude, latitude).

    Straight edges of a map are curves in degrees, so edges get as many points as they need. A footprint across the
    antimeridian becomes two polygons, one on each side (as RFC 7946 asks for), and one around a pole reaches it.

    Parameters
    ----------
    corners : tuple of (float, float)
        Map coordinates of the four corners, in order around the grid.
    crs : str
        WKT or authority code.

    Raises
    ------
    ValueError
        If a corner has no longitude and latitude.
    """
    start = np.asarray(corners, np.float64)
    steps = np.arange(_PIECES)[:, None] / _PIECES
    edges = zip(start, np.roll(start, -1, axis=0), strict=True)
    points = np.concatenate([a + steps * (b - a) for a, b in edges])
    ring = np.column_stack(_to_lonlat(crs).transform(points[:, 0], points[:, 1]))
    _check_finite(ring, corners)
    return _on_globe(ring)


def footprint_of_grid(grid: PixelGrid) -> BaseGeometry:
    """Return the outline of a grid in EPSG:4326.

    Raises
    ------
    ValueError
        If it has no transform or CRS, or a corner has no longitude and latitude.
    """
    if grid.transform is None or grid.crs is None:
        msg = "A footprint needs a transform and a CRS, and one of them is not known. Georeference the file."
        raise ValueError(msg)
    corners = [(0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height)]
    return footprint(tuple(to_map(grid.transform, *corner) for corner in corners), grid.crs)


def centre(corners: tuple[tuple[float, float], ...], crs: str) -> tuple[float, float]:
    """Return longitude and latitude of the middle of a grid.

    Raises
    ------
    ValueError
        If it has none.
    """
    x, y = np.mean(np.asarray(corners), axis=0)
    lon, lat = _to_lonlat(crs).transform(x, y)
    _check_finite(np.array([lon, lat]), corners)
    return float(lon), float(lat)


def _check_finite(values: np.ndarray, corners: tuple[tuple[float, float], ...]) -> None:
    if not np.isfinite(values).all():
        msg = f"The corners {corners} have no longitude and latitude in their CRS. Check transform and CRS."
        raise ValueError(msg)


def _on_globe(ring: np.ndarray) -> BaseGeometry:
    """Make a polygon of a ring whose longitudes may jump by 360 degrees."""
    closed = np.vstack([ring, ring[:1]])
    closed[:, 0] = np.unwrap(closed[:, 0], period=360)
    if abs(closed[-1, 0] - closed[0, 0]) > 180:
        # Once around a pole: on a plane of degrees the ring closes along the pole.
        pole = np.copysign(90.0, closed[:, 1].mean())
        closed = np.vstack([closed, [closed[-1, 0], pole], [closed[0, 0], pole]])
    polygon = shapely.simplify(Polygon(closed), _TOLERANCE)
    west, _, east, _ = polygon.bounds
    if west >= -180 and east <= 180:
        return orient(polygon)
    world = box(-180, -90, 180, 90)
    turned = [shapely.intersection(translate(polygon, turn), world) for turn in (-360, 0, 360)]
    # The union joins the two ends of a ring around a pole again.
    parts = shapely.get_parts(shapely.union_all(turned))
    pieces = [orient(part) for part in parts if isinstance(part, Polygon)]
    return MultiPolygon(pieces) if len(pieces) > 1 else pieces[0]
