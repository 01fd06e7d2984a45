"""A sample that cannot be used is listed with its split and reason; other faults are not hidden."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from eo_data.catalog.records import Record
from eo_data.dataset.dataset import usable_records, write_skipped
from eo_data.raster.sample import SampleError


class Checked:
    """Stands for a data set whose second sample is broken."""

    def __init__(self, error: Exception) -> None:
        self.records = [Record(name, {}) for name in "abc"]
        self.error = error
        self.seen: list[int] = []

    def check(self, index: int) -> None:
        self.seen.append(index)
        if index == 1:
            raise self.error


def test_what_cannot_be_used_is_named_with_the_reason() -> None:
    dataset: Any = Checked(SampleError("b: no file"))
    good, lost = usable_records(dataset, "val")
    assert [record.id for record in good] == ["a", "c"]
    assert lost == [("val", "b", "b: no file")]
    assert dataset.seen == [0, 1, 2]


def test_a_fault_of_the_program_is_no_reason_to_skip() -> None:
    dataset: Any = Checked(TypeError("a fault"))
    with pytest.raises(TypeError, match="a fault"):
        usable_records(dataset, "val")


def test_the_list_is_read_back_whatever_the_reasons_hold(tmp_path: Path) -> None:
    path = tmp_path / "new" / "skipped.csv"
    rows = [("val", "a", 'a "reason", with\ntwo lines'), ("train", "ä/b", "plain")]
    write_skipped(path, rows)
    with path.open(newline="", encoding="utf-8") as file:
        head, *found = list(csv.reader(file))
    assert head == ["split", "id", "reason"]
    assert [tuple(row) for row in found] == rows
    write_skipped(path, [])
    assert path.read_text(encoding="utf-8").split() == ["split,id,reason"]
    assert [entry.name for entry in path.parent.iterdir()] == ["skipped.csv"]
