"""Places near each other share a search, and are answered as if each had asked for itself."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from eo_data.catalog.hrefs import Href
from eo_data.catalog.scenes.near_places import NearPlaces
from eo_data.catalog.scenes.place_records import PlaceOptions, PlaceRecords, records_of_places
from eo_data.catalog.scenes.places import BBox, Place, PointBuffer
from eo_data.catalog.scenes.scene import Scene, TimeWindow, time_window
from eo_data.catalog.sources import ImageSource

JUNE = time_window("2022-06-01", "2022-07-01")
SOURCES = {"S2": ImageSource(bands=["B2"], sensor="sentinel2_l2a")}


@dataclass
class Catalogue:
    """Scenes, and who asked for them; searches beyond a longitude fail."""

    scenes: list[Scene]
    down_from: float = 999.0
    asked: list[tuple[BaseGeometry, TimeWindow | None]] = field(default_factory=list)

    def search(self, geometry: BaseGeometry, time: TimeWindow | None, sensors: Collection[str]) -> list[Scene]:
        self.asked.append((geometry, time))
        if geometry.bounds[2] > self.down_from:
            msg = "the catalogue cannot be searched: status 503."
            raise OSError(msg)
        return [
            own
            for own in self.scenes
            if own.footprint.intersects(geometry)
            and (not sensors or own.sensor in sensors)
            and (time is None or time[0] <= own.day < time[1])
        ]

    def __str__(self) -> str:
        return "the catalogue"


def tiles(sensor: str = "sentinel2_l2a") -> list[Scene]:
    """Tiles of a quarter of a degree, seen every tenth day at an hour of the evening that turns the solar day."""
    found = []
    for west in np.arange(14, 17, 0.25):
        for south in np.arange(44, 46, 0.25):
            for day in (0, 1, 10, 29, 30):
                started = datetime(2022, 6, 1, 22, 58, tzinfo=UTC) + timedelta(days=day)
                name = f"{west}_{south}_{day}"
                area = box(west, south, west + 0.27, south + 0.27)
                files = (Href(f"{name}.tif"),)
                found.append(Scene(name, sensor, "file", files, ("B2",), area, started.date(), started))
    return found


def scattered(count: int) -> list[PointBuffer]:
    """Places in random order over some cells; some at the rim of what the tiles cover, or beyond it."""
    random = np.random.default_rng(0)
    where = random.uniform((13.9, 43.95), (16.6, 45.9), (count, 2))
    return [PointBuffer(lon, lat, 400, id=f"p{number}") for number, (lon, lat) in enumerate(where)]


def told(found: PlaceRecords) -> tuple[object, ...]:
    records = [(own.id, own.files, own.dates, own.grids, own.frames) for own in found.records]
    return records, list(found.grids), found.failures


def test_many_places_are_answered_as_each_alone_and_in_their_order() -> None:
    """A scene that only a neighbour shows, or a day of another longitude, would be taken for a frame."""
    places, options = scattered(60), PlaceOptions(JUNE)
    together = records_of_places(places, Catalogue(tiles()), SOURCES, options)
    alone = [records_of_places([place], Catalogue(tiles()), SOURCES, options) for place in places]
    assert [own.id for own in together.records] == [own.id for found in alone for own in found.records]
    assert len(together.records) > 40
    assert len(together.failures) > 3
    assert told(together) == told(
        PlaceRecords(
            tuple(own for found in alone for own in found.records),
            {name: grid for found in alone for name, grid in found.grids.items()},
            tuple(own for found in alone for own in found.failures),
        )
    )


def test_searches_are_as_many_as_cells_whatever_the_order_of_the_places() -> None:
    """One for each place would be refused by a catalogue, and one for everything would be an answer without an end."""
    random = np.random.default_rng(1)
    where = random.uniform((14.05, 44.05), (16.45, 45.45), (1000, 2))
    catalogue = Catalogue(tiles())
    found = records_of_places(
        [PointBuffer(lon, lat, 400) for lon, lat in where], catalogue, SOURCES, PlaceOptions(JUNE)
    )
    assert len(found.records) == 1000
    assert len(catalogue.asked) == 5 * 3
    bounds = np.array([area.bounds for area, _ in catalogue.asked])
    assert (bounds[:, 2:] - bounds[:, :2]).max() < 0.55


def test_two_modalities_and_a_wider_search_share_an_answer() -> None:
    places = scattered(30)
    catalogue = Catalogue(tiles())
    near = NearPlaces(catalogue, places)
    place = places[0]
    area = box(place.lon, place.lat, place.lon + 1e-3, place.lat + 1e-3)
    both = near.search(area, JUNE, ["sentinel2_l2a", "sentinel1"])
    assert both == near.search(area, JUNE, ["sentinel2_l2a"])
    assert near.search(area, JUNE, ["sentinel1"]) == []
    assert len(catalogue.asked) == 1
    near.search(area, None, [])
    assert catalogue.asked[1] == (area, None)  # at any time, only for itself


def test_a_lone_place_a_large_one_and_one_across_the_date_line_ask_for_themselves() -> None:
    """A box around both sides of the date line goes around the earth."""
    places: list[Place] = [
        PointBuffer(15.1, 44.1, 400),
        BBox(10.0, 50.0, 11.9, 50.2),
        BBox(10.6, 50.0, 11.0, 50.2),
        PointBuffer(179.999, 10.1, 900),
        PointBuffer(179.99, 10.12, 400),
        PointBuffer(179.98, 10.12, 400),
    ]
    catalogue = Catalogue([])
    records_of_places(places, catalogue, SOURCES, PlaceOptions(JUNE))
    windows = [area for area, time in catalogue.asked if time is not None and time[1].year == 2022]
    assert len(windows) == 5
    assert max(part.bounds[2] - part.bounds[0] for area in windows for part in getattr(area, "geoms", [area])) < 2


def test_a_cell_that_fails_costs_its_places_and_no_others() -> None:
    places = scattered(80)
    catalogue = Catalogue(tiles(), down_from=16.3)
    found = records_of_places(places, catalogue, SOURCES, PlaceOptions(JUNE))
    lost = {own.id for own in found.failures if "503" in own.reason}
    assert lost
    whole = records_of_places(places, Catalogue(tiles()), SOURCES, PlaceOptions(JUNE))
    assert {own.id for own in whole.records} - {own.id for own in found.records} == lost & {
        own.id for own in whole.records
    }
    failed = [area for area, _ in catalogue.asked if area.bounds[2] > 16.3]
    assert len(failed) == len({area.bounds for area in failed})  # none twice


def test_a_catalogue_that_is_down_is_not_asked_a_thousand_times() -> None:
    """Each search is tried five times and waits up to a minute: a night for an answer that is known."""
    places = scattered(80)
    catalogue = Catalogue(tiles(), down_from=-999)
    found = records_of_places(places, catalogue, SOURCES, PlaceOptions(JUNE))
    assert len(catalogue.asked) == 3
    assert len(found.failures) == 80
    assert all("503" in own.reason for own in found.failures)
    assert sum("was not asked any more after 3 searches" in own.reason for own in found.failures) > 50


def test_a_failure_now_and_then_does_not_stop_the_search() -> None:
    near = NearPlaces(Catalogue([], down_from=20), [])
    for _ in range(3):
        for west, fails in ((21, True), (21, True), (1, False)):
            if fails:
                with pytest.raises(OSError, match="503"):
                    near.search(box(west, 0, west + 1, 1), JUNE, [])
            else:
                assert near.search(box(west, 0, west + 1, 1), JUNE, []) == []
