"""Frames that make no sense are refused before a file is read."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eo_core.fingerprint import fingerprint, plain_values
from eo_data.temporal.frame_policy import FramePolicy

DAYS = [date(2020, 12, 31), date(2020, 2, 29), date(2021, 1, 1), date(2020, 6, 15), date(2019, 12, 31)]


def series() -> np.ndarray:
    """Pixels that hold the ordinal of their day, less that of 1 January 2020."""
    return np.array([day.toordinal() - date(2020, 1, 1).toordinal() for day in DAYS], np.float32).reshape(-1, 1, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "bins"}, "mode must be one of all, composites, nearest, got 'bins'"),
        ({"mode": "composites", "frames": 3}, "Frames by 'composites' need frames, start, end; start, end is not set"),
        ({"mode": "nearest"}, "Frames by 'nearest' need dates; dates is not set"),
        ({"mode": "nearest", "dates": ["2020-13-01"]}, "Expected a calendar date"),
        ({"mode": "composites", "frames": 3, "start": "2021", "end": "2022-01-01"}, "Expected a calendar date"),
        ({"mode": "composites", "frames": 3, "start": "2021-01-01", "end": "2020-01-01"}, "start lies before its end"),
        ({"method": "max"}, "method must be one of median, mean, least_cloudy"),
        ({"empty": "zero"}, "empty must be one of mask, whole_window"),
        ({"start": "2021-01-01", "end": "2021-01-01"}, "start lies before its end"),
        ({"start": "someday"}, "Expected a calendar date"),
        ({"dates": ["2021-01-01"]}, "Only mode: nearest takes dates, got mode: all and 1 dates"),
        ({"mode": "nearest", "dates": ["2021-01-01"], "frames": 3}, "one frame a date: got 1 dates and frames: 3"),
        ({"mode": "nearest", "dates": "2021-01-01"}, "dates must list the wanted dates"),
        ({"keep": "last"}, "keep must be one of null, first, least_cloudy"),
    ],
)
def test_senseless_frames_are_refused_before_a_file_is_read(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FramePolicy(**arguments)  # type: ignore[arg-type]


def test_keep_may_be_none_in_words_as_a_config_writes_it() -> None:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--frames", type=FramePolicy)
    for keep in ("none", None):
        policy = parser.instantiate(parser.parse_object({"frames": {"frames": 1, "keep": keep}})).frames
        with pytest.raises(ValueError, match="Got 2 acquisitions for 1 frames"):
            policy.apply(np.zeros((2, 1, 1, 1), np.float32), [date(2020, 1, 1), date(2020, 1, 2)], None)
    first = FramePolicy(frames=1, keep="first").apply(
        np.zeros((2, 1, 1, 1), np.float32), [date(2020, 1, 2), date(2020, 1, 1)], None
    )
    assert first.dates == (date(2020, 1, 1),)


@pytest.mark.parametrize(
    ("window", "kept"),
    [
        ({}, ["2019-12-31", "2020-02-29", "2020-06-15", "2020-12-31", "2021-01-01"]),
        ({"start": "2020-01-01", "end": "2021-01-01"}, ["2020-02-29", "2020-06-15", "2020-12-31"]),
        ({"start": "2020-12-31"}, ["2020-12-31", "2021-01-01"]),
        ({"end": "2020-06-15"}, ["2019-12-31", "2020-02-29"]),
    ],
)
def test_what_lies_outside_the_window_is_not_among_all_acquisitions(window: Any, kept: list[str]) -> None:
    clear = np.ones((5, 1, 1), dtype=bool)
    frames = FramePolicy(**window).apply(series(), DAYS, clear)
    assert [day.isoformat() for day in frames.dates] == kept
    offset = date(2020, 1, 1).toordinal()
    assert frames.pixels.ravel().tolist() == [day.toordinal() - offset for day in frames.dates]
    outside = sorted(day.isoformat() for day in DAYS if day.isoformat() not in kept)
    assert frames.note == ((f"outside the window: {', '.join(outside)}",) if outside else ())


def test_too_many_acquisitions_are_counted_in_the_window_and_clouds_stay_with_their_frame() -> None:
    clear = np.ones((5, 1, 1), dtype=bool)
    clear[3] = False
    frames = FramePolicy(frames=3, start="2020-01-01", end="2021-01-01").apply(series(), DAYS, clear)
    assert frames.observed.tolist() == [True, False, True]


def test_the_nearest_acquisition_is_sought_in_the_window() -> None:
    policy = FramePolicy("nearest", dates=["2021-01-02", "2020-01-01"], start="2020-01-01", end="2021-01-01")
    assert policy.apply(series(), DAYS, None).dates == (date(2020, 12, 31), date(2020, 2, 29))


@pytest.mark.parametrize(
    "policy",
    [
        FramePolicy(start="2022-01-01", end="2023-01-01"),
        FramePolicy("nearest", dates=["2020-06-15"], start="2022-01-01", end="2023-01-01"),
        FramePolicy("composites", 2, "2022-01-01", "2023-01-01"),
        FramePolicy("composites", 2, "2022-01-01", "2023-01-01", empty="whole_window"),
    ],
)
def test_an_empty_window_is_an_error_that_lists_the_dates_there_are(policy: FramePolicy) -> None:
    message = (
        r"No acquisition is in the window .*from 2022-01-01 on, before 2023-01-01.*There are: 2019-12-31, 2020-02-29"
    )
    with pytest.raises(ValueError, match=message):
        policy.apply(series(), DAYS, None)


def test_dates_without_quotes_are_the_text_that_they_would_be_with_them() -> None:
    given: dict[str, Any] = {"start": date(2020, 1, 1), "end": date(2021, 1, 1), "dates": [date(2020, 6, 1)]}
    quoted: dict[str, Any] = {"start": "2020-01-01", "end": "2021-01-01", "dates": ["2020-06-01"]}
    policy = FramePolicy("nearest", **given)
    assert (policy.start, policy.end, policy.dates) == ("2020-01-01", "2021-01-01", ["2020-06-01"])
    facts = plain_values(policy)
    assert fingerprint(facts) == fingerprint(plain_values(FramePolicy("nearest", **quoted)))
    # Text is kept as it is written: version 0.1 fingerprinted that.
    assert FramePolicy(start="20200101").start == "20200101"


def test_the_command_line_takes_dates_without_quotes(tmp_path: Path) -> None:
    from jsonargparse import ArgumentParser

    file = tmp_path / "config.yaml"
    file.write_text("frames: {mode: nearest, start: 2020-01-01, end: 2021-01-01, dates: [2020-06-01]}\n")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_argument("--frames", type=FramePolicy)
    of_file = parser.parse_args(["--config", str(file)])
    as_dates = {"start": date(2020, 1, 1), "end": date(2021, 1, 1), "dates": [date(2020, 6, 1)]}
    of_object = parser.parse_object({"frames": {"mode": "nearest", **as_dates}})
    for config in (of_file, of_object):
        policy = parser.instantiate(config).frames
        assert policy == FramePolicy("nearest", start="2020-01-01", end="2021-01-01", dates=["2020-06-01"])
    assert "start: '2020-01-01'" in parser.dump(of_file)
