"""A place gets the numbers of its own ground, and no place is dropped."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from placed_exports import placed, write_export
from pyproj import Transformer
from shapely.geometry import MultiPolygon, Point, Polygon, box

from eo_data.raster.raster import to_map
from eo_embed import Export

Written = Callable[..., Export]
UTM = "EPSG:32633"


def numbered(rows: int, columns: int, start: float = 0) -> np.ndarray:
    """Cells with their number in the first of two dimensions."""
    cells = start + np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)
    return np.stack([cells, 1000 - cells])


def first(found: gpd.GeoDataFrame) -> list[float | None]:
    return [None if vector is None else float(vector[0]) for vector in found["embedding"]]


def in_utm(*shapes: Any) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"name": [f"p{i}" for i in range(len(shapes))]}, geometry=list(shapes), crs=UTM)


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return lambda items, name="export": write_export(tmp_path / name, items)


@pytest.fixture
def one(written: Written) -> Export:
    """A grid of 3 x 4 cells of 100 m, cell 5 without data."""
    grid = numbered(3, 4)
    grid[:, 1, 1] = np.nan
    return written([placed("a", grid, Affine(100, 0, 500_000, 0, -100, 5_000_300))])


def test_a_point_takes_the_cell_that_it_falls_in_and_none_is_dropped(one: Export) -> None:
    found = one.sample(
        in_utm(
            Point(500_000, 5_000_300),  # the outer corner
            Point(500_399.999, 5_000_000.001),
            Point(500_200, 5_000_200),  # a corner of four cells belongs to the later row and column
            Point(500_150, 5_000_150),  # no data
            Point(500_400.001, 5_000_100),
            None,
        )
    )
    assert first(found) == [0, 11, 6, None, None, None]
    assert found["note"].tolist() == ["", "", "", "no data here", "outside of all items", "no geometry"]
    assert found["share"].tolist() == [1, 1, 1, 0, 0, 0]
    assert found["item"].tolist()[:3] == ["a", "a", "a"]
    assert found["item"].isna().tolist() == [False] * 3 + [True] * 3
    assert found["name"].tolist() == [f"p{i}" for i in range(6)]
    assert found["embedding"][0].dtype == np.float32
    assert found.crs == UTM


def test_longitude_and_latitude_reach_the_same_cells(one: Export, tmp_path: Path) -> None:
    centres = [(500_050 + 100 * x, 5_000_250 - 100 * y) for y in range(3) for x in range(4)]
    lonlat = [Transformer.from_crs(UTM, 4326, always_xy=True).transform(*centre) for centre in centres]
    expected = [float(i) if i != 5 else None for i in range(12)]
    assert first(one.sample(lonlat)) == expected
    table = gpd.GeoDataFrame(geometry=[Point(*pair) for pair in lonlat], crs=4326)
    for file in ("points.gpkg", "points.geojson"):
        table.to_file(tmp_path / file)
        assert first(one.sample(tmp_path / file)) == expected
    table.to_crs(3035).to_parquet(tmp_path / "points.parquet")
    assert first(one.sample(str(tmp_path / "points.parquet"))) == expected


def test_a_rotated_grid_is_read_by_its_own_axes(written: Written) -> None:
    cos, sin = 100 * math.cos(math.radians(30)), 100 * math.sin(math.radians(30))
    transform = Affine(cos, sin, 500_000, sin, -cos, 5_000_000)
    export = written([placed("a", numbered(3, 4), transform)])
    centres = [Point(*to_map(transform, x + 0.5, y + 0.5)) for y in range(3) for x in range(4)]
    assert first(export.sample(in_utm(*centres))) == list(range(12))
    area = Polygon([to_map(transform, *corner) for corner in ((0, 0), (1.5, 0), (1.5, 1), (0, 1))])
    (vector,) = first(export.sample(in_utm(area)))
    assert vector == pytest.approx((0 * 1 + 1 * 0.5) / 1.5)


def test_an_area_is_the_mean_over_cells_weighted_by_covered_ground(one: Export) -> None:
    # Cell by cell, by shapely alone.
    area = Polygon([(500_030, 5_000_280), (500_350, 5_000_240), (500_310, 5_000_020), (500_120, 5_000_090)])
    area = area.difference(box(500_210, 5_000_110, 500_260, 5_000_160))
    total, weight = 0.0, 0.0
    for row in range(3):
        for column in range(4):
            number = 4 * row + column
            covered = box(
                500_000 + 100 * column, 5_000_200 - 100 * row, 500_100 + 100 * column, 5_000_300 - 100 * row
            ).intersection(area)
            if number != 5:
                total, weight = total + number * covered.area, weight + covered.area
    found = one.sample(in_utm(area))
    assert first(found)[0] == pytest.approx(total / weight, rel=1e-6)
    assert found["share"][0] == pytest.approx(weight / area.area, rel=1e-9)
    assert found["note"][0] == ""


def test_an_area_in_degrees_gives_the_same_but_for_its_curved_edges(one: Export) -> None:
    area = in_utm(box(500_030, 5_000_020, 500_370, 5_000_260))
    there, here = one.sample(area.to_crs(4326)), one.sample(area)
    assert first(there)[0] == pytest.approx(first(here)[0], abs=1e-4)


def test_overlapping_items_count_once_by_priority_and_fill_gaps(written: Written) -> None:
    early, late = numbered(1, 2), numbered(1, 2, start=100)
    early[:, 0, 1] = np.nan
    # b lies one cell to the east of a: its first cell is the second one of a.
    export = written(
        [
            placed("b", late, Affine(100, 0, 500_100, 0, -100, 5_000_100)),
            placed("a", early, Affine(100, 0, 500_000, 0, -100, 5_000_100)),
        ]
    )
    places = in_utm(Point(500_050, 5_000_050), Point(500_150, 5_000_050), box(500_000, 5_000_000, 500_300, 5_000_100))
    found = export.sample(places)
    assert first(found) == pytest.approx([0, 100, (0 + 100 + 101) / 3])
    assert found["item"].tolist() == ["a", "b", "a"]
    assert found["share"].tolist() == [1, 1, 1]
    early[:, 0, 1] = 7
    export = written([placed("b", late, Affine(100, 0, 500_100, 0, -100, 5_000_100)),
                      placed("a", early, Affine(100, 0, 500_000, 0, -100, 5_000_100))], "full")  # fmt: skip
    assert first(export.sample(places)) == pytest.approx([0, 7, (0 + 7 + 101) / 3])
    assert first(export.sample(places, ids=["b", "a"])) == pytest.approx([0, 100, (0 + 100 + 101) / 3])
    assert first(export.sample(places, ids=["b"])) == pytest.approx([None, 100, (100 + 101) / 2])


def test_an_area_across_zones_counts_each_ground_once(written: Written) -> None:
    """Two grids of one field in neighbour zones, over the same ground: the mean is that of either."""
    to_32, to_33 = (Transformer.from_crs(4326, zone, always_xy=True) for zone in (32632, 32633))
    (x32, y32), (x33, y33) = to_32.transform(12, 45), to_33.transform(12, 45)
    constant = np.full((2, 60, 60), 5, np.float32)
    export = written(
        [
            placed("a", constant, Affine(100, 0, x32 - 3000, 0, -100, y32 + 3000), crs="EPSG:32632"),
            placed("b", constant + 1, Affine(100, 0, x33 - 3000, 0, -100, y33 + 3000), crs="EPSG:32633"),
        ]
    )
    area = gpd.GeoDataFrame(geometry=[Point(12, 45)], crs=4326).to_crs(32632).buffer(1500)
    found = export.sample(area)
    assert first(found) == [5.0]
    assert found["share"].tolist() == [1.0]
    # Half of it outside of a: the other half comes from b.
    shifted = written(
        [
            placed("a", constant, Affine(100, 0, x32, 0, -100, y32 + 3000), crs="EPSG:32632"),
            placed("b", constant + 1, Affine(100, 0, x33 - 3000, 0, -100, y33 + 3000), crs="EPSG:32633"),
        ],
        "shifted",
    )
    assert first(shifted.sample(area))[0] == pytest.approx(5.5, abs=2e-3)


def test_the_date_line_is_no_edge(written: Written) -> None:
    """Degrees that count on beyond 180: points and areas on both sides are found."""
    export = written([placed("a", numbered(1, 4), Affine(1, 0, 178, 0, -1, 1), crs="EPSG:4326")])
    points = [(178.5, 0.5), (179.5, 0.5), (-179.5, 0.5), (-178.5, 0.5), (181.5, 0.5), (-177.5, 0.5)]
    assert first(export.sample(points)) == [0, 1, 2, 3, 3, None]
    both = MultiPolygon([box(179, 0, 180, 1), box(-180, 0, -178.5, 1)])
    found = export.sample(gpd.GeoDataFrame(geometry=[both], crs=4326))
    assert first(found)[0] == pytest.approx((1 + 2 + 3 * 0.5) / 2.5)
    assert found["share"].tolist() == [1.0]


def test_degrees_are_weighted_by_the_ground_they_stand_for(written: Written) -> None:
    export = written([placed("a", numbered(2, 1), Affine(1, 0, 10, 0, -1, 61), crs="EPSG:4326")])
    (vector,) = first(export.sample(gpd.GeoDataFrame(geometry=[box(10, 59, 11, 61)], crs=4326)))
    north, south = math.cos(math.radians(60.5)), math.cos(math.radians(59.5))
    assert vector == pytest.approx(south / (north + south), rel=1e-6)


def test_pooled_vectors_stand_for_all_of_their_ground(written: Written) -> None:
    grid, vector = numbered(2, 2), np.array([50, 60], np.float32)
    place = Affine(100, 0, 500_000, 0, -100, 5_000_200)
    both = written([placed("a", grid, place, pooled=vector)])
    point = in_utm(Point(500_199, 5_000_001))
    assert first(both.sample(point)) == [3]
    assert first(both.sample(point, of="pooled")) == [50]
    alone = written(
        [
            placed("a", None, place, pooled=vector, shape=(2, 2)),
            placed("b", None, Affine(100, 0, 500_200, 0, -100, 5_000_200), pooled=vector + 6, shape=(2, 2)),
        ],
        "pooled",
    )
    areas = in_utm(Point(500_199, 5_000_001), Point(500_201, 5_000_001), box(500_150, 5_000_000, 500_300, 5_000_100))
    assert first(alone.sample(areas)) == pytest.approx([50, 56, (50 * 50 + 100 * 56) / 150])
    assert alone.sample(in_utm(Point(0, 0)))["note"].tolist() == ["outside of all items"]


def test_one_bad_geometry_does_not_stop_the_others(one: Export) -> None:
    bow_tie = Polygon([(500_000, 5_000_000), (500_100, 5_000_100), (500_100, 5_000_000), (500_000, 5_000_100)])
    found = one.sample(in_utm(bow_tie, Point(500_050, 5_000_250), Polygon()))
    assert first(found) == [None, 0, None]
    assert found["note"][0].startswith("invalid geometry: Self-intersection")
    assert found["note"].tolist()[1:] == ["", "no geometry"]


def test_an_area_half_beyond_the_horizon_is_no_silent_part(written: Written) -> None:
    export = written([placed("a", numbered(3, 4), Affine(100, 0, 500_000, 0, -100, 5_000_300))])
    world = gpd.GeoDataFrame(geometry=[box(-170, 0, 60, 60)], crs=4326)
    found = export.sample(world)
    assert first(found) == [None]
    assert "has no place in the CRS of the grids; cut it" in found["note"][0]


def test_each_grid_is_read_once(one: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    own = type(one).grid
    monkeypatch.setattr(type(one), "grid", lambda self, name, layer="": read.append(name) or own(self, name, layer))
    one.sample(in_utm(*[Point(500_050 + i, 5_000_250) for i in range(50)]))
    assert len(read) <= 2  # once for its place, once for its values


def test_what_cannot_be_asked_is_named(one: Export, written: Written, tmp_path: Path) -> None:
    place = in_utm(Point(500_050, 5_000_250))
    with pytest.raises(ValueError, match="places have no CRS.*set_crs"):
        one.sample(place.set_crs(None, allow_override=True))
    with pytest.raises(ValueError, match=r"Place 1 is \(45.0, 120.0\).*Longitude comes first"):
        one.sample([(12, 45), (45, 120)])
    with pytest.raises(ValueError, match="got a LineString in row 0"):
        one.sample(in_utm(shapely.LineString([(0, 0), (1, 1)])))
    with pytest.raises(ValueError, match="column item, which is added here. Rename it"):
        one.sample(place.assign(item=1))
    with pytest.raises(ValueError, match="There is no file .*nowhere.gpkg"):
        one.sample(tmp_path / "nowhere.gpkg")
    (tmp_path / "broken.gpkg").write_bytes(b"no database")
    with pytest.raises(ValueError, match="The places .*broken.gpkg cannot be read"):
        one.sample(tmp_path / "broken.gpkg")
    with pytest.raises(ValueError, match="no item of id 'b' with a georeference; nearest ids: a"):
        one.sample(place, ids=["b"])
    with pytest.raises(ValueError, match="holds no pooled vectors"):
        one.sample(place, of="pooled")
    with pytest.raises(ValueError, match="of must be .*grid"):
        one.sample(place, of="both")  # type: ignore[arg-type]
    nowhere = written([placed("a", None, None, crs=None, pooled=np.ones(2, np.float32))], "nowhere")
    with pytest.raises(ValueError, match="has a georeference.*Export files with a CRS"):
        nowhere.sample(place)
