"""Order for what does not fit into memory: as `sorted` gives it, and nothing left behind."""

from __future__ import annotations

import random
from operator import itemgetter
from pathlib import Path

import pytest

from eo_core.memory import in_order


@pytest.mark.parametrize("at_once", [1, 7, 100, 101])
def test_order_does_not_depend_on_how_much_memory_holds(tmp_path: Path, at_once: int) -> None:
    """Equal keys keep their order, as the later of two records counts; names sort by code point, as in Python."""
    rng = random.Random(0)  # noqa: S311
    names = ["a", "B", "ä", "z", "\u2028", "\U0001f600", "\ue000"]
    values = [[rng.choice(names), {"n": i, "x": i / 3}] for i in range(100)]
    assert list(in_order(iter(values), itemgetter(0), tmp_path, at_once)) == sorted(values, key=itemgetter(0))
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_taken_to_its_end_leaves_nothing(tmp_path: Path) -> None:
    values = in_order(iter([[3], [1], [2]]), itemgetter(0), tmp_path, 1)
    assert next(values) == [1]
    assert len(list(tmp_path.iterdir())) == 1
    values.close()  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []
