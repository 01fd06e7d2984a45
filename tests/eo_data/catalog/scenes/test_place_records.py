"""Which scenes are the frames of a place, in which order, and what is said where there are none."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pytest
import shapely
from affine import Affine
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import SceneFiles
from eo_data.catalog.scenes.place_records import PlaceOptions, PlaceRecords, records_of_places
from eo_data.catalog.scenes.places import Place, PointBuffer, Region
from eo_data.catalog.scenes.scene import Scene, TimeWindow, time_window
from eo_data.catalog.sources import ImageSource

#: A square of 2 km in the middle of zone 33.
HERE = PointBuffer(15, 45, 1000, id="here")
JUNE = time_window("2022-06-01", "2022-07-01")
S2 = ImageSource(bands=["B2"], sensor="sentinel2_l2a")


@dataclass(frozen=True)
class Listed:
    """Scenes in the order in which they are given."""

    scenes: tuple[Scene, ...]

    def search(self, geometry: BaseGeometry, time: TimeWindow | None, sensors: Collection[str]) -> list[Scene]:
        return [
            own
            for own in self.scenes
            if shapely.intersects(own.footprint, geometry)
            and (not sensors or own.sensor in sensors)
            and (time is None or time[0] <= own.day < time[1])
        ]

    def __str__(self) -> str:
        return "the list"


def scene(name: str, started: datetime, area: BaseGeometry | None = None, **fields: Any) -> Scene:
    defaults = {"sensor": "sentinel2_l2a", "kind": "file", "bands": ("B2",)} | fields
    footprint = box(14, 44, 16, 46) if area is None else area
    return Scene(
        name, files=(Href(f"{name}.tif"),), footprint=footprint, day=started.date(), started=started, **defaults
    )


def at(day: int, hour: int = 10, minute: int = 0) -> datetime:
    return datetime(2022, 6, day, hour, minute, tzinfo=UTC)


def names(found: PlaceRecords, modality: str = "S2") -> list[list[str]]:
    (record,) = found.records
    return [[own.files[0].stem for own in frame] for frame in record.frames[modality]]


def records(*scenes: Scene, place: Place = HERE, source: ImageSource = S2, **options: Any) -> PlaceRecords:
    chosen = PlaceOptions(**({"time": JUNE} | options))
    return records_of_places([place], Listed(scenes), {"S2": source}, chosen)


def test_a_record_has_the_grid_the_dates_and_all_files() -> None:
    found = records(scene("b", at(11)), scene("a", at(1)), multiple=16)
    (record,) = found.records
    assert record.id == "here"
    assert record.files == {"S2": (Href("a.tif"), Href("b.tif"))}
    assert record.frames == {"S2": ((SceneFiles((Href("a.tif"),)),), (SceneFiles((Href("b.tif"),)),))}
    assert record.dates == {"S2": (date(2022, 6, 1), date(2022, 6, 11))}
    assert record.grids["S2"] == found.grids["here"].grid
    assert record.grids["S2"].height % 16 == 0
    assert record.region == ""  # a square stands for its grid


def test_a_polygon_keeps_its_outline_in_the_grid() -> None:
    triangle = Region(shapely.Polygon([(500000, 4982000), (501000, 4982000), (500000, 4984000)]), "EPSG:32633", "x")
    found = records(scene("a", at(1)), place=triangle)
    assert shapely.from_wkt(found.records[0].region).area == pytest.approx(1e6)


def test_the_priority_of_a_day_is_cover_tile_and_newer_name_never_the_order_of_listing() -> None:
    part = box(14, 44, 15, 46)
    own = [
        scene("part", at(1), part, tile="T33AAA"),
        scene("S2A_N0400_T33BBB_20220601", at(1), tile="T33BBB"),
        scene("S2A_N0510_T33BBB_20230101", at(1), tile="T33BBB"),
        scene("late_tile", at(1), tile="T33CCC"),
    ]
    expected = [["S2A_N0510_T33BBB_20230101", "late_tile", "part"]]
    assert names(records(*own)) == names(records(*reversed(own))) == expected


def test_the_newest_processing_counts_whatever_folder_it_lies_in() -> None:
    """A path is no version: ``old_downloads`` comes after ``new`` in the alphabet."""
    new = scene("new/S2A_20220601_N0510_T33BBB_20230101", at(1), tile="T33BBB")
    old = scene("old_downloads/S2A_20220601_N0400_T33BBB_20220601", at(1), tile="T33BBB")
    assert names(records(new, old)) == [["S2A_20220601_N0510_T33BBB_20230101"]]


def test_scenes_of_one_solar_day_are_one_frame_also_over_midnight_utc() -> None:
    """At 178 degrees east the pass of 22:10 to 00:10 UTC is one of the morning of 2 June."""
    fiji = PointBuffer(178, -17, 1000, id="fiji")
    area = box(177, -18, 179, -16)
    found = records(
        scene("a", at(1, 23, 59), area), scene("b", at(2, 0, 1), area), scene("c", at(2, 23, 50), area), place=fiji
    )
    assert names(found) == [["a", "b"], ["c"]]
    assert found.records[0].dates["S2"] == (date(2022, 6, 2), date(2022, 6, 3))


def test_a_solar_day_counts_in_the_window_though_utc_is_of_another() -> None:
    fiji = PointBuffer(178, -17, 1000, id="fiji")
    early = scene("may", datetime(2022, 5, 31, 22, 30, tzinfo=UTC), box(177, -18, 179, -16))
    late = scene("june", datetime(2022, 6, 30, 22, 30, tzinfo=UTC), box(177, -18, 179, -16))
    assert names(records(early, late, place=fiji)) == [["may"]]


def test_passes_of_one_day_stay_apart_only_if_asked() -> None:
    own = [scene("down", at(1, 5, 30)), scene("up", at(1, 17, 10)), scene("down2", at(1, 5, 31))]
    assert names(records(*own)) == [["down", "down2", "up"]]
    assert names(records(*own, merge="pass")) == [["down", "down2"], ["up"]]


def test_every_modality_takes_its_sensor_and_its_pixels_on_one_ground() -> None:
    sources = {
        "S2": S2,
        "OLCI": ImageSource(bands=["Oa01_reflectance"], sensor="sentinel3_olci", pixel_size=300),
        "S1": ImageSource(bands=["VV"], sensor="sentinel1", optional=True),
    }
    own = (scene("a", at(1)), scene("b", at(2), sensor="sentinel3_olci"))
    found = records_of_places([HERE], Listed(own), sources, PlaceOptions(JUNE, multiple=30))
    (record,) = found.records
    assert list(record.grids) == ["S2", "OLCI"]
    fine, coarse = record.grids["S2"], record.grids["OLCI"]
    assert (fine.height * 10, coarse.transform) == (
        coarse.height * 300,
        Affine(300, 0, fine.transform.c, 0, -300, fine.transform.f),  # type: ignore[union-attr]
    )
    other = records_of_places([HERE], Listed(own), sources, PlaceOptions(JUNE, multiple=16))
    assert "no whole number of pixels of 300 m" in other.failures[0].reason


@pytest.mark.parametrize(
    ("scenes", "source", "reason"),
    [
        ([scene("a", at(1), box(0, 0, 1, 1))], S2, r"'S2' of .*id='here'.*outside of all in the list"),
        ([scene("a", at(1), sensor="sentinel1")], S2, r"no scene of sentinel2_l2a shows it, only of sentinel1"),
        (
            [scene(str(i), datetime(2021, i, 3, tzinfo=UTC)) for i in range(1, 13)],
            S2,
            r"no acquisition from 2022-06-01 on and before 2022-07-01. The nearest days are 2021-09-03, "
            r"2021-10-03, 2021-11-03, 2021-12-03",
        ),
        (
            [scene("a", at(1)), scene("b", at(1), sensor="landsat8")],
            ImageSource(bands=["B2"], pixel_size=10),
            r"several sensors show it \(landsat8, sentinel2_l2a\). State sensor",
        ),
        (
            [scene("a", at(1)), scene("b", at(2), kind="HLS S30")],
            S2,
            r"several kinds show it \(HLS S30, file; b, a\)",
        ),
    ],
)
def test_a_place_without_clear_scenes_is_a_failure_with_the_remedy(
    scenes: list[Scene], source: ImageSource, reason: str
) -> None:
    found = records(*scenes, source=source)
    assert (found.records, found.failures[0].id) == ((), "here")
    with pytest.raises(ValueError, match=reason):
        raise ValueError(found.failures[0].reason)


def test_a_scene_that_shows_nothing_but_the_rim_of_the_square_does_not_count() -> None:
    """The square of a strip is as high as it is long; a scene north of the strip shows nothing of it."""
    strip = PointBuffer(15, 45, 1000, id="x")
    north = scene("a", at(1), box(14.9, 45.0091, 15.1, 45.2))
    assert records(north, place=strip, multiple=256).failures


def test_half_a_place_is_a_record_and_one_bad_place_stops_no_other() -> None:
    half = scene("a", at(1), box(14, 44, 15, 46))
    far, large = PointBuffer(100, 0, 1000, id="far"), PointBuffer(15, 45, 400_000, id="large")
    found = records_of_places([far, HERE, large], Listed((half,)), {"S2": S2}, PlaceOptions(JUNE))
    assert [record.id for record in found.records] == ["here"]
    assert [failure.id for failure in found.failures] == ["far", "large"]
    assert "600 km long" in found.failures[1].reason


def test_modalities_must_have_pixels_of_a_known_size() -> None:
    with pytest.raises(ValueError, match="The pixel size of 'S2' is not known"):
        records(source=ImageSource(bands=["x"]))
    with pytest.raises(ValueError, match="no modalities"):
        records_of_places([HERE], Listed(()), {}, PlaceOptions())


def test_a_pattern_of_files_narrows_the_scenes_of_a_modality() -> None:
    own = (scene("asc/a", at(1), sensor="sentinel1"), scene("desc/b", at(1), sensor="sentinel1"))
    radar = ImageSource("asc/*", bands=["VV"], sensor="sentinel1")
    assert names(records(*own, source=radar)) == [["a"]]
    everything = ImageSource(bands=["VV"], sensor="sentinel1")
    assert names(records(*own, source=everything)) == [["b", "a"]]
