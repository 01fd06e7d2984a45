"""What an export says of points and areas: the cell that a point falls in, the mean over the cells of an area."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from affine import Affine
from pyproj import CRS, Transformer
from shapely.geometry.base import BaseGeometry

from eo_data.raster.areas import covered_area
from eo_data.raster.raster import to_map

if TYPE_CHECKING:
    import geopandas as gpd

#: Columns that are added to a table of places.
ADDED = ("item", "embedding", "share", "note")
OUTSIDE, NO_DATA, NO_GEOMETRY = "outside of all items", "no data here", "no geometry"
BEYOND = "a part of it has no place in the CRS of the grids; cut it into smaller areas"
#: Pieces that the longer side of an area's extent is cut into before it is put into another CRS.
_PIECES = 256
#: A share that is nearer to one is one.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Item:
    """Something that has vectors in the cells of a grid; a pooled vector is a grid of one cell.

    Parameters
    ----------
    id : str
        Of the sample.
    transform : affine.Affine
        From (column, row) of the cells to map coordinates.
    crs : str
        WKT or authority code.
    shape : tuple of int
        Rows and columns.
    read : callable
        Returns float32 ``(D, *shape)``, NaN is no-data.
    """

    id: str
    transform: Affine
    crs: str
    shape: tuple[int, int]
    read: Callable[[], np.ndarray]

    @functools.cached_property
    def outline(self) -> BaseGeometry:
        """Outline of the grid in its CRS."""
        rows, columns = self.shape
        corners = [(0, 0), (columns, 0), (columns, rows), (0, rows)]
        return shapely.Polygon([to_map(self.transform, x, y) for x, y in corners])


@dataclass(frozen=True, eq=False)
class _Used:
    """Cells of an item that an area has got: their ground counts no more."""

    item: Item
    window: tuple[slice, slice]
    cells: np.ndarray

    @functools.cached_property
    def ground(self) -> BaseGeometry:
        return shapely.union_all(_outlines(self.item.transform, self.window)[self.cells])


@dataclass(eq=False)
class _Place:
    """A place on its way: itself by CRS, and the sums so far."""

    shapes: dict[str, BaseGeometry]
    is_point: bool
    total: np.ndarray | None = None
    weight: float = 0.0
    share: float = 0.0
    item: str | None = None
    used: list[_Used] = field(default_factory=list)
    seen: bool = False
    fault: str = ""

    @property
    def done(self) -> bool:
        return bool(self.fault) or self.share >= 1 - _ROUNDING

    def add(self, name: str, vectors: np.ndarray, weights: np.ndarray, share: float) -> None:
        """Add vectors ``(D, n)`` with weights ``(n,)`` that stand for a share of the place."""
        added = vectors.astype(np.float64) @ weights
        self.total = added if self.total is None else self.total + added
        self.weight += float(weights.sum())
        self.share = self.share + share if self.share + share < 1 - _ROUNDING else 1.0
        self.item = self.item or name


def sample(table: gpd.GeoDataFrame, items: Sequence[Item]) -> gpd.GeoDataFrame:
    """Add vectors to a table of places.

    A point takes the cell that it falls in; a point on the edge of two cells belongs to the later row and column. An
    area takes the mean over the cells that it touches, weighted by the ground that it covers of each. Cells without
    data are passed over. Where items overlap, the earlier one in ``items`` counts, and later ones only where it has no
    data, so that no ground counts twice.

    Edges of an area are straight in its own CRS. Of grids in degrees, ground is weighted by the cosine of the latitude.

    Parameters
    ----------
    table : GeoDataFrame
        Points and areas, see `eo_embed.reading.places.place_table`.
    items : sequence of Item
        What there is, all of one width, the most important one first.

    Returns
    -------
    GeoDataFrame
        The rows and columns of ``table``, and ``item`` (id of the first item that counts, missing if
        none does), ``embedding`` (float32
        ``(D,)`` or ``None``), ``share`` (of the area that cells with data cover, 0..1; 1 or 0 for a point) and ``note``
        (why there is no vector; empty where there is one).

    Raises
    ------
    ValueError
        If the table has one of the added columns already.
    """
    if clash := [name for name in ADDED if name in table.columns]:
        msg = f"The places have the column {' and '.join(clash)}, which is added here. Rename it."
        raise ValueError(msg)
    crs = table.crs.to_wkt()
    places = [_begun(geometry, crs) for geometry in table.geometry]
    for item, numbers in _meetings(places, items, crs):
        waiting = [places[i] for i in numbers if not places[i].done]
        if waiting:
            _take(item, waiting)
    return table.assign(
        item=[place.item for place in places],
        embedding=[None if p.total is None else (p.total / p.weight).astype(np.float32) for p in places],
        share=[place.share for place in places],
        note=[_note(place) for place in places],
    )


def _begun(geometry: BaseGeometry | None, crs: str) -> _Place:
    if geometry is None or geometry.is_empty:
        return _Place({}, is_point=True, fault=NO_GEOMETRY)
    fault = "" if geometry.is_valid else f"invalid geometry: {shapely.is_valid_reason(geometry)}"
    return _Place({crs: shapely.force_2d(geometry)}, geometry.geom_type == "Point", fault=fault)


def _note(place: _Place) -> str:
    if place.fault or place.total is not None:
        return place.fault
    return NO_DATA if place.seen else OUTSIDE


def _meetings(places: Sequence[_Place], items: Sequence[Item], crs: str) -> Iterator[tuple[Item, list[int]]]:
    """Yield the items in order, each with the numbers of the places whose extent meets its own."""
    found: dict[int, set[int]] = {}
    usable = [i for i, place in enumerate(places) if not place.fault]
    for target in dict.fromkeys(item.crs for item in items):
        own = [i for i, item in enumerate(items) if item.crs == target]
        tree = shapely.STRtree([items[i].outline for i in own])
        shapes = _in_crs(np.array([places[i].shapes[crs] for i in usable], dtype=object), crs, target)
        for row, i in enumerate(usable):
            finite = np.isfinite(shapely.get_coordinates(shapes[row]))
            if not finite.all():
                # An area that is half beyond the horizon of a projection cannot be weighed.
                places[i].fault = BEYOND if finite.any() and not places[i].is_point else ""
                shapes[row] = shapely.Point()
            places[i].shapes[target] = shapes[row]
        for turn in _turns(target):
            for row, item in tree.query(_moved(shapes, turn), predicate="intersects").T:
                found.setdefault(own[item], set()).add(usable[row])
    for number in sorted(found):
        yield items[number], sorted(found[number])


def _take(item: Item, places: Sequence[_Place]) -> None:
    """Give places what an item has for them."""
    values: np.ndarray | None = None
    for place in places:
        shape = place.shapes[item.crs]
        found = _cell_of_point(item, shape) if place.is_point else _cells_of_area(item, shape, place.used)
        if found is None:
            continue
        values = item.read() if values is None else values
        place.seen = True
        cells = values[:, *found.window]
        known = np.isfinite(cells).all(axis=0) & (found.shares > 0)
        if not known.any():
            continue
        weights = found.shares * _square_metres(item, found.window[0])[:, None]
        covered = float(found.shares[known].sum()) * abs(item.transform.determinant)
        place.add(item.id, cells[:, known], weights[known], 1.0 if place.is_point else covered / shape.area)
        place.used.append(_Used(item, found.window, known))


@dataclass(frozen=True, eq=False)
class _Met:
    """The window of cells that a place meets, and the share of each that it covers."""

    window: tuple[slice, slice]
    shares: np.ndarray


def _cell_of_point(item: Item, point: BaseGeometry) -> _Met | None:
    for turn in _turns(item.crs):
        column, row = to_map(~item.transform, point.x + turn, point.y)
        if 0 <= column < item.shape[1] and 0 <= row < item.shape[0]:
            window = slice(int(row), int(row) + 1), slice(int(column), int(column) + 1)
            return _Met(window, np.ones((1, 1)))
    return None


def _cells_of_area(item: Item, area: BaseGeometry, used: Sequence[_Used]) -> _Met | None:
    # Parts on the other side of the date line are moved to where the grid counts from.
    parts = [_turned(part, item) for part in shapely.get_parts(shapely.make_valid(area)) if part.area > 0]
    shape = shapely.union_all(parts)
    for earlier in used:
        if _overlap(earlier.item, item):
            ground = _in_crs(np.array([earlier.ground]), earlier.item.crs, item.crs)[0]
            shape = shapely.difference(shape, _turned(ground, item))
    shares = np.zeros(item.shape) if shape.is_empty else covered_area(shape, item.transform, item.shape)
    if not shares.any():
        return None
    rows, columns = (np.flatnonzero(shares.any(axis=axis)) for axis in (1, 0))
    window = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    return _Met(window, shares[window])


@functools.lru_cache(maxsize=4096)
def _overlap(one: Item, other: Item) -> bool:
    """Tell whether two items share ground, not an edge alone."""
    outline = _turned(_in_crs(np.array([one.outline]), one.crs, other.crs)[0], other)
    if not np.isfinite(shapely.get_coordinates(outline)).all():
        return False
    shared = shapely.intersection(shapely.make_valid(outline), other.outline).area
    return bool(shared > _ROUNDING * other.outline.area)


def _outlines(transform: Affine, window: tuple[slice, slice]) -> np.ndarray:
    """Return the outlines of the cells of a window, as polygons ``(h, w)`` in map coordinates."""
    rows, columns = np.mgrid[window]
    corners = [to_map(transform, columns + x, rows + y) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))]
    return np.asarray(shapely.polygons(np.moveaxis(np.array(corners), (0, 1), (2, 3))))


def _turned(part: BaseGeometry, item: Item) -> BaseGeometry:
    moved = (_moved(part, turn) for turn in _turns(item.crs))
    return next((one for one in moved if shapely.intersects(one, item.outline)), part)


def _moved(shapes: Any, turn: float) -> Any:  # noqa: ANN401  (one or an array of them, as shapely has it)
    return shapely.transform(shapes, lambda xy: xy + np.array([turn, 0.0])) if turn else shapes


def _turns(crs: str) -> tuple[float, ...]:
    """Return what may be added to x: longitudes come back after a turn."""
    return (0.0, 360.0, -360.0) if _crs(crs).is_geographic else (0.0,)


def _square_metres(item: Item, rows: slice) -> np.ndarray:
    """Return the ground of whole cells by row."""
    numbers = np.arange(rows.start, rows.stop) + 0.5
    cell = abs(item.transform.determinant)
    crs = _crs(item.crs)
    factor = crs.axis_info[0].unit_conversion_factor
    if not crs.is_geographic or crs.ellipsoid is None:
        return np.full(len(numbers), cell * factor**2)
    t = item.transform
    latitudes = (t.d * item.shape[1] / 2 + t.e * numbers + t.f) * factor
    return np.asarray(cell * (factor * crs.ellipsoid.semi_major_metre) ** 2 * np.cos(latitudes))


@functools.lru_cache(maxsize=256)
def _crs(crs: str) -> CRS:
    return CRS.from_user_input(crs)


@functools.lru_cache(maxsize=256)
def _between(one: str, other: str) -> Transformer | None:
    """Return the way from one CRS to another, ``None`` if they are the same."""
    if _crs(one).equals(_crs(other), ignore_axis_order=True):
        return None
    return Transformer.from_crs(_crs(one), _crs(other), always_xy=True)


def _in_crs(shapes: np.ndarray, one: str, other: str) -> np.ndarray:
    """Put points and areas into another CRS; edges of areas get points between their ends."""
    way = _between(one, other)
    if way is None or not len(shapes):
        return shapes
    west, south, east, north = shapely.bounds(shapes).T
    longest = np.maximum(east - west, north - south) / _PIECES
    shapes = shapely.segmentize(shapes, np.where(longest > 0, longest, 1.0))
    return np.asarray(shapely.transform(shapes, lambda xy: np.column_stack(way.transform(xy[:, 0], xy[:, 1]))))
