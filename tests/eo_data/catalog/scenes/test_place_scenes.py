"""Which scenes of a place count by their clouds and orbits, and what is said where none does."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pytest
import shapely
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import Record
from eo_data.catalog.scenes.place_records import PlaceOptions, records_of_places
from eo_data.catalog.scenes.place_scenes import Asked, Limits
from eo_data.catalog.scenes.places import PointBuffer
from eo_data.catalog.scenes.scene import Scene, TimeWindow, time_window
from eo_data.catalog.sources import ImageSource

HERE, FAR = PointBuffer(15, 45, 1000, id="here"), PointBuffer(100, 0, 1000, id="far")
JUNE = time_window("2022-06-01", "2022-07-01")
S2, S1 = "sentinel2_l2a", "sentinel1"


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


def optical(day: int, cloud: float | None, area: BaseGeometry | None = None) -> Scene:
    when = datetime(2022, 6, day, 10, tzinfo=UTC)
    area = box(14, 44, 16, 46) if area is None else area
    return Scene(f"s2-{day}", S2, "file", (Href(f"{day}.tif"),), ("B2",), area, when.date(), when, cloud=cloud)


def radar(day: int, orbit: Any, area: BaseGeometry | None = None) -> Scene:
    when = datetime(2022, 6, day, 5, tzinfo=UTC)
    area = box(14, 44, 16, 46) if area is None else area
    return Scene(f"s1-{day}", S1, f"x {orbit}", (Href(f"{day}.tif"),), ("IW_VV",), area, when.date(), when, orbit=orbit)


def record(*scenes: Scene, sensor: str = S2, **limits: Any) -> Record:
    source = ImageSource(bands=["B2"] if sensor == S2 else ["IW_VV"], sensor=sensor)
    found = records_of_places([HERE], Listed(scenes), {"x": source}, PlaceOptions(JUNE, **limits))
    if found.failures:
        raise ValueError(found.failures[0].reason)
    return found.records[0]


def days(own: Record) -> list[int]:
    return [day.day for day in own.dates["x"]]


def test_cloudier_scenes_are_left_out_and_the_dates_said() -> None:
    """The limit itself still counts: 30 asks for at most 30."""
    own = record(optical(1, 30.0), optical(6, 30.01), optical(11, 99), max_cloud=30)
    assert days(own) == [1]
    assert own.notes["x"] == ("dates left out, above 30 % cloud: 2022-06-06, 2022-06-11",)
    assert record(optical(1, 100)).notes == {}


def test_a_scene_that_states_no_clouds_is_taken_and_said() -> None:
    own = record(optical(1, None), optical(6, 80), max_cloud=20)
    assert days(own) == [1]
    assert own.notes["x"][1] == "scenes taken that do not state their clouds: s2-1"
    assert "states" not in str(record(radar(1, "ascending"), sensor=S1, max_cloud=20).notes)


@pytest.mark.parametrize("share", [-1, 101, float("nan")])
def test_a_share_of_clouds_is_one_of_percent(share: float) -> None:
    with pytest.raises(ValueError, match=r"max_cloud must be a share in percent, from 0 to 100"):
        Limits(max_cloud=share)
    with pytest.raises(ValueError, match="orbit"):
        Limits(orbit="up")  # type: ignore[arg-type]


def test_passes_of_radar_are_not_mixed() -> None:
    """Slopes are bright from one side and dark from the other: those of the most days count, or those asked for."""
    up, down = radar(1, "ascending"), [radar(3, "descending"), radar(9, "descending")]
    most = record(up, *down, sensor=S1)
    assert days(most) == [3, 9]
    left_out = "dates left out that have only other passes"
    assert most.notes["x"] == ("only descending passes, which have the most dates", f"{left_out}: 1")
    asked = record(up, *down, sensor=S1, orbit="ascending")
    assert days(asked) == [1]
    assert asked.notes["x"] == ("only ascending passes, as asked for", f"{left_out}: 2")
    assert days(record(up, down[0], sensor=S1)) == [1]  # of as many
    # Optical scenes have no passes to keep apart.
    assert record(optical(1, 5), optical(2, 5), orbit="ascending").notes == {}


def test_the_passes_of_most_days_are_those_of_the_place_and_not_of_its_surroundings() -> None:
    """Else the place is lost to scenes that end beside it."""
    beside = box(15.02, 44, 16, 46)
    grid = {"multiple": 1024}
    own = record(
        radar(1, "ascending"), radar(3, "descending", beside), radar(9, "descending", beside), sensor=S1, **grid
    )
    assert days(own) == [1]


def test_radar_of_an_unknown_orbit_is_no_radar_of_one_that_is_asked_for() -> None:
    assert days(record(radar(1, ""), radar(3, ""), sensor=S1)) == [1, 3]
    assert days(record(radar(1, ""), radar(3, "ascending"), sensor=S1)) == [3]
    with pytest.raises(ValueError, match=r"all not known to be of ascending passes: 2022-06-01 \(orbit unknown\)"):
        record(radar(1, ""), sensor=S1, orbit="ascending")


@pytest.mark.parametrize(
    ("scenes", "limits", "reason"),
    [
        (
            [optical(1, 45.5), optical(6, 31), optical(8, 90)],
            {"max_cloud": 30},
            r"3 acquisitions from 2022-06-01 on and before 2022-07-01, all above 30 % cloud: 2022-06-01 \(45.5 % cloud"
            r"\), 2022-06-06 \(31 % cloud\), 2022-06-08 \(90 % cloud\). Raise max_cloud, or widen the time.",
        ),
        (
            [radar(4, "descending")],
            {"orbit": "ascending"},
            r"1 acquisition from .*: 2022-06-04 \(descending\). Leave orbit out, or widen",
        ),
        (
            [optical(1, 12.345), optical(1, 3, box(14, 44, 15, 46)), optical(20, None)],
            {"time": time_window("2022-07-01", "2022-08-01")},
            r"no acquisition .* nearest days are 2022-06-01 \(3 % cloud\), 2022-06-20. Widen the time",
        ),
    ],
)
def test_what_stands_between_is_said_for_one_place_and_for_many(
    scenes: list[Scene], limits: dict[str, Any], reason: str
) -> None:
    """A limit that is too low looks like a gap of the archive."""
    asked = Asked(Listed(tuple(scenes)), (S2, S1), Limits(**({"time": JUNE} | limits)))
    for places, subject in (([HERE], r"PointBuffer\(.*id='here'"), ([FAR, HERE], "Any of 2 places: ")):
        with pytest.raises(ValueError, match=f"{subject}.*{reason}"):
            raise ValueError(asked.why_none(places))


def test_a_wider_search_that_fails_hides_no_reason() -> None:
    """That a server gives up on a search of many years is no reason why a place has no scene."""

    class Narrow(Listed):
        def search(self, geometry: BaseGeometry, time: TimeWindow | None, sensors: Collection[str]) -> list[Scene]:
            if time is None or (time[1] - time[0]).days > 40:
                msg = "the server gave up"
                raise OSError(msg)
            return super().search(geometry, time, sensors)

    asked = Asked(Narrow((optical(1, 5),)), (S2,), Limits(time_window("2023-06-01", "2023-07-01")))
    assert re.search(
        r"no acquisition from 2023-06-01 .* Widen the time. .*: the server gave up", asked.why_none([HERE])
    )


def test_a_pattern_that_fits_no_scene_is_what_is_wrong() -> None:
    """Else the nearest days that are listed lie in the window."""
    source = ImageSource(bands=["B2"], sensor=S2, files="summer/{id}")
    found = records_of_places([HERE], Listed((optical(1, 5),)), {"x": source}, PlaceOptions(JUNE))
    assert "has a name as files states it ('summer/{id}'); there is s2-1. Correct files" in found.failures[0].reason


def test_windows_at_the_ends_of_the_calendar_are_windows() -> None:
    asked = Asked(Listed((optical(1, 5),)), (S2,), Limits((date.min, date.max)))
    assert [own.id for own in asked.of(HERE)] == ["s2-1"]
