"""Places from a list, a table of geometries or a file of them: one place a row; a row that is none is a failure."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import shapely

from eo_core.paths import fault_of_name
from eo_core.text import composed
from eo_data.catalog.scenes.places import LONLAT, BBox, Place, PointBuffer, Region, transformer

if TYPE_CHECKING:
    import geopandas

#: Suffix of the files that geopandas reads as Parquet; any other is for GDAL's vector drivers.
_PARQUET = (".parquet", ".geoparquet", ".pq")


@dataclass(frozen=True)
class PlaceFailure:
    """A place that cannot be used.

    Parameters
    ----------
    id : str
        Of the place.
    reason : str
        What is wrong with it, and what to do.
    """

    id: str
    reason: str


@dataclass(frozen=True)
class PlaceTable:
    """Places, each with an id of its own, and the rows that are none.

    Parameters
    ----------
    places : tuple of Place
        In the order of the rows.
    failures : tuple of PlaceFailure
        Rows without a valid geometry.
    values : mapping of str to mapping of str to object
        What the columns that are asked for hold, by column and id; a cell without a value is not there.
    """

    places: tuple[Place, ...]
    failures: tuple[PlaceFailure, ...] = ()
    values: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


def places_from(
    given: Place | Iterable[Place] | geopandas.GeoDataFrame | str | PathLike[str],
    *,
    id_column: str | None = None,
    buffer_m: float | None = None,
    columns: Sequence[str] = (),
) -> PlaceTable:
    """Return the places that somebody means.

    Parameters
    ----------
    given : Place, iterable of Place, GeoDataFrame or path
        A path is that of a GeoPackage, GeoJSON, GeoParquet, Shapefile or another vector file.
    id_column : str, optional
        Column with the ids. By default the id is the number of the row, counted from 0; of places, their own ``id``
        or their number.
    buffer_m : float, optional
        Half the side of the squares around points, in metres; rows that are points need it.
    columns : sequence of str
        Of a table: further columns that are wanted, such as labels.

    Raises
    ------
    ValueError
        If there are none, the file cannot be read, the table has no CRS or no such column, or two rows have one id.
    """
    if isinstance(given, PointBuffer | BBox | Region):
        given = [given]
    if isinstance(given, str | PathLike):
        table = _with_name(Path(given), _rows(read_place_file(Path(given)), id_column, buffer_m, columns))
    elif hasattr(given, "geometry"):
        table = _with_name(None, _rows(given, id_column, buffer_m, columns))
    else:
        table = PlaceTable(tuple(_named(list(given))))
    if not table.places and not table.failures:
        msg = "There are no places. Expected at least one, such as PointBuffer(121.5, 31.2, 2048)."
        raise ValueError(msg)
    _check_ids([place.id for place in table.places] + [failure.id for failure in table.failures])
    return table


def _named(places: Sequence[Place]) -> Iterator[Place]:
    for i, place in enumerate(places):
        if not isinstance(place, PointBuffer | BBox | Region):
            msg = f"Expected places (PointBuffer, BBox, Region), got {place!r} as number {i}."
            raise ValueError(msg)
        yield place if place.id else replace(place, id=str(i))


def read_place_file(path: Path) -> geopandas.GeoDataFrame:
    """Return the table of a vector file.

    Raises
    ------
    ValueError
        If there is none, or it cannot be read or has no geometries.
    """
    import geopandas  # noqa: PLC0415  (takes a second)

    if not path.is_file():
        msg = f"There is no file {path}. Expected a GeoPackage, GeoJSON, GeoParquet or another file of places."
        raise ValueError(msg)
    try:
        parquet = path.suffix.lower() in _PARQUET
        table = geopandas.read_parquet(path) if parquet else geopandas.read_file(path, on_invalid="ignore")
    except (ValueError, OSError, RuntimeError) as error:
        msg = f"The places {path} cannot be read: {error}. Expected a GeoPackage, GeoJSON or GeoParquet file."
        raise ValueError(msg) from error
    if not isinstance(table, geopandas.GeoDataFrame):
        msg = f"{path} has no geometries. Expected a GeoPackage, GeoJSON or GeoParquet file with points or polygons."
        raise ValueError(msg)
    return table


def _rows(
    table: geopandas.GeoDataFrame, id_column: str | None, buffer_m: float | None, columns: Sequence[str]
) -> PlaceTable:
    if table.crs is None:
        msg = "the table of places has no CRS. State it: table.set_crs('EPSG:4326') for longitude and latitude."
        raise ValueError(msg)
    for column in (*columns, *(() if id_column is None else (id_column,))):
        if column not in table.columns:
            msg = f"the table of places has no column {column!r}; it has {', '.join(map(str, table.columns))}."
            raise ValueError(msg)
    ids = [str(i) for i in range(len(table))] if id_column is None else [composed(str(v)) for v in table[id_column]]
    places: list[Place] = []
    failures = []
    for i, (name, geometry) in enumerate(zip(ids, table.geometry, strict=True)):
        try:
            places.append(_place(geometry, table.crs.to_string(), name, buffer_m))
        except ValueError as error:
            failures.append(PlaceFailure(name, f"row {i}: {error}"))
    there = {column: table[column].notna() for column in columns}
    values = {
        column: dict(zip(itertools.compress(ids, own), table[column][own], strict=True))
        for column, own in there.items()
    }
    return PlaceTable(tuple(places), tuple(failures), values)


def _place(geometry: shapely.Geometry | None, crs: str, name: str, buffer_m: float | None) -> Place:
    if geometry is None or geometry.geom_type != "Point" or geometry.is_empty or buffer_m is None:
        return Region(geometry, crs, name)
    lon, lat = transformer(crs, LONLAT).transform(geometry.x, geometry.y)
    return PointBuffer(lon, lat, buffer_m, name)


def _with_name(path: Path | None, table: PlaceTable) -> PlaceTable:
    if path is None:
        return table
    return replace(table, failures=tuple(PlaceFailure(own.id, f"{path}, {own.reason}") for own in table.failures))


def _check_ids(ids: Sequence[str]) -> None:
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        msg = f"{len(twice)} ids of places are there several times (first: {twice[0]!r}). Each place needs its own."
        raise ValueError(msg)
    for name in ids:
        if fault := fault_of_name(name):
            msg = f"The id {name[:90]!r} of a place cannot name a file: {fault}. Choose another id_column."
            raise ValueError(msg)
