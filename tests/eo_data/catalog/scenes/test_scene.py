"""A pass belongs to one solar day, whatever UTC says, and time runs forward."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from shapely.geometry import box

from eo_data.catalog.scenes.scene import Scene, time_window, windows_around


@pytest.mark.parametrize(
    ("lon", "started", "day"),
    [
        (178, datetime(2022, 6, 1, 22, 30, tzinfo=UTC), date(2022, 6, 2)),  # half past ten in the morning in Fiji
        (-178, datetime(2022, 6, 1, 22, 30, tzinfo=UTC), date(2022, 6, 1)),  # and the same sun, a day earlier by name
        (0, datetime(2022, 6, 1, 23, 59, tzinfo=UTC), date(2022, 6, 1)),
        (1, datetime(2022, 6, 1, 23, 59, tzinfo=UTC), date(2022, 6, 2)),
        (-75, datetime(2022, 6, 2, 2, 0, tzinfo=UTC), date(2022, 6, 1)),
        (178, None, date(2022, 6, 1)),
    ],
)
def test_the_solar_day_is_utc_and_four_minutes_a_degree(lon: float, started: datetime | None, day: date) -> None:
    scene = Scene("a", "sentinel1", "file", (), (), box(0, 0, 1, 1), date(2022, 6, 1), started)
    assert scene.solar_day(lon) == day


def test_time_must_run_forward() -> None:
    assert time_window("2022-06-01", "2022-09-01") == (date(2022, 6, 1), date(2022, 9, 1))
    with pytest.raises(ValueError, match=r"Swap them: \(2022-06-01, 2022-09-01\)"):
        time_window("2022-09-01", "2022-06-01")
    with pytest.raises(ValueError, match=r"For one day, end on 2022-06-02"):
        time_window("2022-06-01", "2022-06-01")


def test_the_nearest_scenes_are_looked_for_within_a_year_before_all_are_asked_for() -> None:
    """A catalogue has thousands of scenes of one place; a window at an end of the calendar is no error."""
    near, everything = windows_around((date(2022, 6, 1), date(2022, 7, 1)))
    assert near[0] <= date(2021, 6, 1)
    assert date(2023, 7, 1) <= near[1] < date(2024, 1, 1)
    assert everything is None
    assert windows_around((date.min, date.max))[0][0] == date.min
