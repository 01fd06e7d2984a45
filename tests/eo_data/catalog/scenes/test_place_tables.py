"""Rows of a file become places with ids of their own; one bad geometry among thousands is one failure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import pytest
from shapely.geometry import Point, Polygon, box

from eo_data.catalog.scenes.place_tables import places_from
from eo_data.catalog.scenes.places import BBox, PointBuffer, Region

BOWTIE = Polygon([(10, 45), (10.01, 45.01), (10.01, 45), (10, 45.01)])
SHAPES = [box(10, 45, 10.01, 45.01), BOWTIE, None, box(11, 45, 11.01, 45.01)]


def table(shapes: list[Any], crs: str | None = "EPSG:4326", **columns: Any) -> geopandas.GeoDataFrame:
    return geopandas.GeoDataFrame(columns, geometry=shapes, crs=crs)


@pytest.mark.parametrize("name", ["fields.gpkg", "fields.geojson", "fields.parquet"])
def test_bad_rows_of_a_file_are_failures_that_name_it(tmp_path: Path, name: str) -> None:
    own = table(SHAPES, name=["a", "b", "c", "d"])
    path = tmp_path / name
    own.to_parquet(path) if name.endswith("parquet") else own.to_file(path)
    found = places_from(path, id_column="name")
    assert [place.id for place in found.places] == ["a", "d"]
    assert [failure.id for failure in found.failures] == ["b", "c"]
    assert "fields" in found.failures[0].reason
    assert "row 1: " in found.failures[0].reason
    assert "Self-intersection" in found.failures[0].reason
    assert "row 2: " in found.failures[1].reason
    assert [place.id for place in places_from(str(path)).places] == ["0", "3"]


def test_points_become_squares_where_a_buffer_is_stated() -> None:
    points = table([Point(500000, 0), Point(500100, 0)], "EPSG:32633")
    found = places_from(points, buffer_m=100)
    first = found.places[0]
    assert isinstance(first, PointBuffer)
    assert (first.lon, first.lat) == pytest.approx((15, 0), abs=1e-9)
    assert [failure.id for failure in places_from(points).failures] == ["0", "1"]
    assert "give buffer_m" in places_from(points).failures[0].reason


def test_places_keep_their_ids_or_get_numbers() -> None:
    given = [PointBuffer(1, 2, 3), BBox(1, 2, 3, 4, id="box"), Region(SHAPES[0])]
    assert [place.id for place in places_from(given).places] == ["0", "box", "2"]
    assert [place.id for place in places_from(given[0]).places] == ["0"]


def test_tables_that_do_not_say_enough_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no CRS.*set_crs"):
        places_from(table(SHAPES, None))
    with pytest.raises(ValueError, match=r"no column 'plot'; it has name"):
        places_from(table(SHAPES, name=list("abcd")), id_column="plot")
    with pytest.raises(ValueError, match=r"2 ids|1 ids of places are there several times \(first: 'a'"):
        places_from(table(SHAPES, name=list("aabb")), id_column="name")
    with pytest.raises(ValueError, match=r"'../x' of a place cannot name a file"):
        places_from([PointBuffer(1, 2, 3, id="../x")])
    with pytest.raises(ValueError, match=r"no places"):
        places_from([])
    with pytest.raises(ValueError, match=r"got \(1, 2, 3\) as number 0"):
        places_from([(1, 2, 3)])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"There is no file .*none.gpkg"):
        places_from(tmp_path / "none.gpkg")
    (tmp_path / "broken.gpkg").write_text("nothing")
    with pytest.raises(ValueError, match=r"broken.gpkg cannot be read"):
        places_from(tmp_path / "broken.gpkg")
    (tmp_path / "plain.csv").write_text("id,x\na,1\n")
    with pytest.raises(ValueError, match=r"plain.csv has no geometries"):
        places_from(tmp_path / "plain.csv")
