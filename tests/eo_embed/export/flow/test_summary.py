"""The table says what was done, and the lines how long it takes: numbers by hand."""

from __future__ import annotations

import io
import itertools

import pytest

from eo_embed.export.flow.summary import ProgressLines, duration, summary_table


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_table_shows_every_count_and_rates_of_this_run_only() -> None:
    counts = {"done": 200, "skipped": 1300, "failed": 2, "cells": 259_200, "dimensions": 768, "bytes": 796_262_400}
    text = summary_table(counts, 100.0, 1_310_720_000.0, "output/embeddings")
    rows = {line[:31].strip(): line[31:].strip() for line in text.splitlines()}
    assert rows["items exported"] == "200"
    assert rows["items skipped (finished before)"] == "1,300"
    assert rows["items failed"] == "2"
    assert rows["grid cells"] == "259,200"
    assert rows["dimensions"] == "768"
    assert rows["megabytes"] == "796.3"
    assert rows["items/s"] == "2.00"
    assert rows["area, km2"] == "1,310.72"
    assert rows["km2/s"] == "13.107"
    assert rows["time"] == "1 min 40 s"
    assert text.splitlines()[-1] == "manifest  output/embeddings/manifest.json"
    assert "failures  output/embeddings/failures.csv" in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_a_run_that_had_nothing_to_do_divides_by_nothing() -> None:
    text = summary_table({"done": 0, "skipped": 3, "failed": 0}, 0.0, 0.0, "out")
    assert "items/s" not in text
    assert "failures.csv" not in text
    assert "km2" not in text


def test_a_count_of_another_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Unknown counts \['doen'\]. Valid: done, skipped"):
        summary_table({"doen": 1}, 1.0, 0.0, "out")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.96, "10.0 s"),
        (59.9, "59 s"),
        (60, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7620, "2 h 07 min"),
        (360000, "100 h 00 min"),
    ],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_lines_come_at_most_every_n_seconds_and_at_the_end() -> None:
    stream, clock = io.StringIO(), itertools.count(0, 4)  # four seconds a call
    lines = ProgressLines(10, every=10, stream=stream, clock=lambda: float(next(clock)))
    for batch in range(1, 11):
        lines.update(batch, 8 * batch, 8 * batch * 1e6)
    assert stream.getvalue().splitlines() == [
        "embedding: batch 3 of 10, 24 items, 24.00 km2, 2.00 items/s, 2.000 km2/s, 28 s left",
        "embedding: batch 6 of 10, 48 items, 48.00 km2, 2.00 items/s, 2.000 km2/s, 16 s left",
        "embedding: batch 9 of 10, 72 items, 72.00 km2, 2.00 items/s, 2.000 km2/s, 4.0 s left",
        "embedding: batch 10 of 10, 80 items, 80.00 km2, 2.00 items/s, 2.000 km2/s",
    ]


def test_the_time_left_of_a_run_that_goes_on_is_not_that_of_batches_passed_over_in_no_time() -> None:
    stream, clock = io.StringIO(), itertools.count(0, 60)  # a minute a batch
    lines = ProgressLines(100, every=0, stream=stream, clock=lambda: float(next(clock)))
    lines.update(91, 1, 2.5e6)
    lines.update(92, 2, 5e6)
    assert stream.getvalue().splitlines() == [
        "embedding: batch 91 of 100, 90 of them passed over, 1 items, 2.50 km2, 0.02 items/s, 0.042 km2/s, "
        "9 min 00 s left",
        "embedding: batch 92 of 100, 90 of them passed over, 2 items, 5.00 km2, 0.02 items/s, 0.042 km2/s, "
        "8 min 00 s left",
    ]


def test_a_terminal_gets_no_lines_because_it_has_a_bar() -> None:
    stream = _Terminal()
    ProgressLines(1, every=0, stream=stream).update(1, 1)
    assert not stream.getvalue()


def test_a_terminal_without_a_bar_gets_lines() -> None:
    """Runs on Ray have no bar, and would say nothing for hours."""
    stream = _Terminal()
    ProgressLines(1, every=0, stream=stream, bar=False).update(1, 1)
    assert "batch 1 of 1, 1 items" in stream.getvalue()


def test_a_bar_says_how_much_ground_is_done() -> None:
    clock = itertools.count(0, 4)
    lines = ProgressLines(10, clock=lambda: float(next(clock)))
    assert lines.ground(12.3e6) == "12.30 km2, 3.075 km2/s"
    assert not lines.ground(0.0)


def test_without_a_total_or_an_area_nothing_is_estimated() -> None:
    assert ProgressLines(None).line(3, 6, 0.0, 2.0) == "embedding: batch 3, 6 items, 3.00 items/s"
    assert ProgressLines(4).line(0, 0, 0.0, 0.0) == "embedding: batch 0 of 4, 0 items"
