"""Footprints of grids in longitude and latitude."""

from __future__ import annotations

import functools
from collections.abc import Sequence

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

#: Map coordinates of the four corners of a grid, in order around it.
type Corners = tuple[tuple[float, float], ...]


@functools.lru_cache(maxsize=256)
def _to_lonlat(crs: str) -> Transformer:
    return Transformer.from_crs(CRS.from_user_input(crs), CRS.from_epsg(4326), always_xy=True)


@functools.lru_cache(maxsize=256)
def crs_name(crs: str) -> str:
    """Return ``EPSG:32633`` or the like if the CRS is exactly that, else the text itself (WKT)."""
    authority = CRS.from_user_input(crs).to_authority(min_confidence=100)
    return crs if authority is None else ":".join(authority)


def footprint(corners: Corners, crs: str) -> BaseGeometry:
    """Return the outline of a grid in EPSG:4326 (longitude, latitude), as `footprints` does of many."""
    return footprints([corners], crs)[0]


def footprints(corners: Sequence[Corners], crs: str) -> list[BaseGeometry]:
    """Return the outlines of grids in EPSG:4326 (longitude, latitude).

    Straight edges of a map are curves in degrees, so edges get as many points as they need. A footprint across the
    antimeridian becomes two polygons, one on each side (as RFC 7946 asks for), and one around a pole reaches it.

    Parameters
    ----------
    corners : sequence of tuple of (float, float)
        Of each grid the map coordinates of its four corners, in order around it.
    crs : str
        WKT or authority code.

    Raises
    ------
    ValueError
        If a corner has no longitude and latitude.
    """
    starts = np.asarray(corners, np.float64)[:, :, None]
    steps = np.arange(_PIECES)[:, None] / _PIECES
    points = starts + steps * (np.roll(starts, -1, axis=1) - starts)
    x, y = points.reshape(-1, 2).T
    rings = np.column_stack(_to_lonlat(crs).transform(x, y)).reshape(len(corners), -1, 2)
    _check_finite(rings, corners)
    closed = np.concatenate([rings, rings[:, :1]], axis=1)
    closed[..., 0] = np.unwrap(closed[..., 0], period=360, axis=1)
    around_pole = np.abs(closed[:, -1, 0] - closed[:, 0, 0]) > 180
    outlines = np.empty(len(corners), object)
    outlines[~around_pole] = shapely.polygons(closed[~around_pole])
    outlines[around_pole] = [_along_pole(ring) for ring in closed[around_pole]]
    return _on_globe(_simplified(outlines))


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


def centres(corners: Sequence[Corners], crs: str) -> np.ndarray:
    """Return longitude and latitude ``(n, 2)`` of the middle of grids.

    Raises
    ------
    ValueError
        If one has none.
    """
    x, y = np.mean(np.asarray(corners, np.float64), axis=1).T
    found = np.column_stack(_to_lonlat(crs).transform(x, y))
    _check_finite(found, corners)
    return found


def _check_finite(values: np.ndarray, corners: Sequence[Corners]) -> None:
    finite = np.isfinite(values).reshape(len(corners), -1).all(axis=1)
    if not finite.all():
        first = tuple(tuple(map(float, corner)) for corner in corners[int(np.argmin(finite))])
        msg = f"The corners {first} have no longitude and latitude in their CRS. Check transform and CRS."
        raise ValueError(msg)


def _along_pole(ring: np.ndarray) -> Polygon:
    """Return the polygon of a ring once around a pole: on a plane of degrees it closes along the pole."""
    pole = np.copysign(90.0, ring[:, 1].mean())
    return Polygon(np.vstack([ring, [ring[-1, 0], pole], [ring[0, 0], pole]]))


def _simplified(outlines: np.ndarray) -> np.ndarray:
    """Leave out points that are not needed; what is too small or too thin for that keeps its shape."""
    simple = shapely.simplify(outlines, _TOLERANCE, preserve_topology=False)  # a tenth of the time
    lost = shapely.is_empty(simple) | (shapely.get_type_id(simple) != shapely.GeometryType.POLYGON)
    simple[lost] = shapely.simplify(outlines[lost], _TOLERANCE)
    return simple


def _on_globe(outlines: np.ndarray) -> list[BaseGeometry]:
    """Return outlines counterclockwise and cut at the antimeridian, whose longitudes may leave -180 to 180 degrees."""
    clockwise = ~shapely.is_ccw(shapely.get_exterior_ring(outlines))
    outlines[clockwise] = shapely.reverse(outlines[clockwise])
    west, _, east, _ = shapely.bounds(outlines).T
    within = ((west >= -180) & (east <= 180)).tolist()
    return [own if whole else _cut(own) for own, whole in zip(outlines, within, strict=True)]


def _cut(polygon: Polygon) -> BaseGeometry:
    world = box(-180, -90, 180, 90)
    turned = [shapely.intersection(translate(polygon, turn), world) for turn in (-360, 0, 360)]
    # The union joins the two ends of a ring around a pole again.
    parts = shapely.get_parts(shapely.union_all(turned))
    pieces = [orient(part) for part in parts if isinstance(part, Polygon)]
    return MultiPolygon(pieces) if len(pieces) > 1 else pieces[0]
