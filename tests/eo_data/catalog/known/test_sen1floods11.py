"""Every flood event has its own two dates; chips named Mekong belong to the event Cambodia."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

from eo_data.catalog.known.sen1floods11 import EventDates, chip_dates, event_dates
from eo_data.temporal.calendar_date import day_of_year

# Written by hand from the geojson: chips, Sentinel-1, Sentinel-2, and both days of year counted by hand.
EVENTS = {
    "Bolivia": ((2018, 2, 15), (2018, 2, 15), 45, 45),
    "Colombia": ((2018, 8, 22), (2018, 8, 23), 233, 234),
    "Ghana": ((2018, 9, 18), (2018, 9, 19), 260, 261),
    "India": ((2016, 8, 12), (2016, 8, 12), 224, 224),
    "Mekong": ((2018, 8, 5), (2018, 8, 4), 216, 215),
    "Nigeria": ((2018, 9, 21), (2018, 9, 20), 263, 262),
    "Pakistan": ((2017, 6, 28), (2017, 6, 28), 178, 178),
    "Paraguay": ((2018, 10, 31), (2018, 10, 31), 303, 303),
    "Somalia": ((2018, 5, 7), (2018, 5, 5), 126, 124),
    "Spain": ((2019, 9, 17), (2019, 9, 18), 259, 260),
    "Sri-Lanka": ((2017, 5, 30), (2017, 5, 28), 149, 147),
    "USA": ((2019, 5, 22), (2019, 5, 22), 141, 141),
}


@pytest.fixture
def geojson(shared: Path) -> Path:
    return shared / "data/sen1floods11_v1.1/Sen1Floods11_Metadata.geojson"


def _events(geojson: Path) -> Mapping[str, EventDates]:
    return event_dates([feature["properties"] for feature in json.loads(geojson.read_text())["features"]], geojson)


@pytest.mark.parametrize("event", list(EVENTS))
def test_chips_get_the_dates_of_their_event(geojson: Path, event: str) -> None:
    s1, s2, s1_day, s2_day = EVENTS[event]
    events = _events(geojson)
    for chip in (f"{event}_103757", f"/data/S1GRDHand/{event}_103757_S1Hand.tif"):
        dates = chip_dates(chip, events)
        assert dates == EventDates(date(*s1), date(*s2))
        assert (day_of_year(dates.s1), day_of_year(dates.s2)) == (s1_day, s2_day)


def test_there_are_twelve_events_under_their_own_names(geojson: Path) -> None:
    assert set(_events(geojson)) == {*EVENTS, "Cambodia"} - {"Mekong"}


def test_the_chips_of_the_sample_have_dates(shared: Path, geojson: Path) -> None:
    events = _events(geojson)
    chips = sorted((shared / "data/sen1floods11_v1.1/data/S1GRDHand").iterdir())
    found = [chip_dates(chip.name, events).s1 for chip in chips]
    assert found == [date(2016, 8, 12), date(2017, 6, 28), date(2019, 9, 17), date(2019, 5, 22)]


@pytest.mark.parametrize(
    ("chip", "near"),
    [("Meckong_1", "Mekong"), ("SriLanka_1", "Sri-Lanka"), ("spain_7370579", "Spain"), ("Sri_Lanka_1", "Sri-Lanka")],
)
def test_an_unknown_event_is_refused_with_the_nearest(geojson: Path, chip: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"no known event.*Did you mean '{near}'. Valid events: Bolivia, .*USA"):
        chip_dates(chip, _events(geojson))


def test_an_event_unlike_any_other_is_refused_without_a_guess(geojson: Path) -> None:
    with pytest.raises(ValueError, match="got the event '38D'. Valid events"):
        chip_dates("38D_378R_2_3", _events(geojson))


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (
            [{"location": "Peru", "s1_date": "2018/02/15"}],
            "json': an event has no s2_date, it has location, s1",
        ),
        ([{}], "an event has no location, s1_date, s2_date, it has nothing"),
        ([{"location": "Peru", "s1_date": "2018/02/15", "s2_date": "2018/02/16"}] * 2, "event 'Peru' twice"),
        (
            [{"location": "Peru", "s1_date": "2018/02/30", "s2_date": "2018/02/16"}],
            "Expected a calendar date.*02/30",
        ),
    ],
)
def test_events_that_say_too_little_are_refused(events: list[dict[str, object]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        event_dates(events, Path("events.geojson"))
