"""What depends on the layout alone is computed once, and never travels with a module."""

from __future__ import annotations

import copy
import pickle

from eo_models.layout_cache import LayoutCache


def test_a_value_is_made_once_a_key_and_version() -> None:
    cache, made = LayoutCache(2), []

    def value(key: str, version: int) -> int:
        return cache.get(key, version, lambda: made.append((key, version)) or len(made))

    assert [value("a", 0), value("a", 0), value("b", 0)] == [1, 1, 2]
    assert value("a", 1) == 3  # another version replaces it
    assert value("c", 0) == 4  # "b" was used longest ago and goes
    assert value("a", 1) == 3
    assert value("b", 0) == 5
    cache.clear()
    assert value("b", 0) == 6


def test_copies_and_pickles_start_empty() -> None:
    cache = LayoutCache(3)
    cache.get("a", 0, lambda: "mine")
    for other in (copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):  # noqa: S301
        assert other.max_entries == 3
        assert other.get("a", 0, lambda: "own") == "own"
    assert cache.get("a", 0, lambda: "new") == "mine"
