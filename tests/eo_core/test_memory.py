"""Amounts of memory are what users write, and never more than the machine has."""

from __future__ import annotations

import pytest

from eo_core.memory import as_amount, as_bytes, memory_of_machine


@pytest.mark.parametrize(
    ("text", "count"),
    [("4GB", 4e9), ("500 MB", 5e8), ("2GiB", 2**31), ("1.5k", 1500), (1234, 1234), ("7", 7), (5e9, 5e9), ("1tb", 1e12)],
)
def test_amounts_of_memory(text: str | float, count: float) -> None:
    assert as_bytes("max_memory", text) == count


@pytest.mark.parametrize("text", ["", "many", "-1", 0, "0GB", "4 XB", True, "1e9", "GB"])
def test_what_is_no_amount_is_refused(text: str | int) -> None:
    with pytest.raises(ValueError, match="max_memory must be a number of bytes or a text such as 4GB"):
        as_bytes("max_memory", text)


def test_an_amount_is_read_back_as_it_is_shown() -> None:
    for count in (3_000_000_000, 1_500, 12, 2_340_000):
        assert as_bytes("x", as_amount(count)) == count


def test_the_machine_has_some_memory() -> None:
    assert 2**28 < memory_of_machine() < 2**50
