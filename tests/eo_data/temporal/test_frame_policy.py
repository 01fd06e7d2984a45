"""Frames that make no sense are refused before a file is read."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from eo_data.temporal.frame_policy import FramePolicy


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
