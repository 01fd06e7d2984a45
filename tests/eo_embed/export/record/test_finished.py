"""An item that is not finished never counts as finished, or it is lost without a word."""

from __future__ import annotations

import tracemalloc

from eo_embed.export.record.finished import FinishedItems


def test_finished_items_are_those_that_were_added() -> None:
    """Compared with a set; ids and layers that are the same text when joined are two items."""
    keys = [(f"z{i * 7919 % 10_007}", layer) for i in range(3000) for layer in ("", "layer_1")]
    keys += [("ab", "c"), ("\udcff", "")]
    found = FinishedItems()
    for key in keys[::2]:
        found.add(key)
    known = set(keys[::2])
    assert [key in found for key in keys] == [key in known for key in keys]
    assert ("a", "bc") not in found
    found.discard(keys[0])
    found.discard(("not there", ""))
    found.add(keys[1])
    assert (keys[0] in found, keys[1] in found, keys[2] in found) == (False, True, True)
    assert len(found) == len(known)


def test_digests_that_end_with_zeros_are_found() -> None:
    """A text array of numpy leaves out zeros at the end: of 2 000 digests some 8 have one."""
    found = FinishedItems()
    for i in range(2000):
        found.add((str(i), ""))
    assert all((str(i), "") in found for i in range(2000))
    assert not any((str(i), "x") in found for i in range(2000))


def test_an_item_takes_less_than_20_bytes() -> None:
    tracemalloc.start()
    try:
        found = FinishedItems()
        for i in range(50_000):
            found.add((f"tile/{i:060d}", "layer_11"))
        assert ("", "") not in found
        assert tracemalloc.get_traced_memory()[0] < 20 * 50_000
    finally:
        tracemalloc.stop()
