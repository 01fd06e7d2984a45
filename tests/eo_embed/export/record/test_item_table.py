"""Of many items the manifest stays short, and none of what it said of them is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from eo_embed.export.record.item_table import read_items, write_items
from eo_embed.export.record.ledger import Ledger
from eo_embed.export.record.manifest import MOST_LISTED, Manifest, read_manifest


def item(number: int, **others: Any) -> dict[str, Any]:
    return {
        "id": f"a/{number:05d}",
        "layer": "",
        "files": [f"grids/a/{number:05d}.tif", "embeddings.parquet"],
        "sources": [{"path": f"s2/{number}.tif", "size": number, "mtime": 1.5e9 + 1e-3, "digest": "0f"}, {"path": "u"}],
        "dates": ["2020-01-01"],
        "valid_fraction": 0.1 + 0.2,
        "image_hw": [64, 64],
        "stated_dates": {"s2": ["2020-01-01"]},
        "written": {f"grids/a/{number:05d}.tif": {"size": 5, "digest": "ab"}},
        **others,
    }


def test_entries_come_back_as_they_were(tmp_path: Path) -> None:
    entries = [item(0), item(1, dates=[], area_m2=1e6), {"id": "ø", "layer": "l", "files": [], "sources": []}]
    write_items(tmp_path / "t.parquet", entries)
    assert list(read_items(tmp_path / "t.parquet")) == entries


def test_what_only_some_entries_state_is_not_taken_for_a_number(tmp_path: Path) -> None:
    """A number that is missing is NaN to a column of numbers; of more entries than are read at once, all come back."""
    states: list[dict[str, Any]] = [{"path": "a", "size": 1}, {"path": "b", "mtime": 2.5, "ctime": 3.0}, {"path": "ä"}]
    entries = [
        {key: value for key, value in item(i, sources=states[: i % 4]).items() if i % 3 or key != "valid_fraction"}
        | ({"raster_id": "r", "cells": [i, 0, 1, 2]} if i % 5 == 0 else {})
        for i in range(2500)
    ]
    write_items(tmp_path / "t.parquet", entries)
    assert list(read_items(tmp_path / "t.parquet")) == entries
    parts = [{"id": entry["id"], "files": entry["files"]} for entry in entries]
    assert list(read_items(tmp_path / "t.parquet", ("id", "files"))) == parts


def test_a_long_manifest_names_a_table_and_a_short_one_lists(tmp_path: Path) -> None:
    manifest = Manifest.create(tmp_path, {}, {})
    entries = [item(i) for i in range(MOST_LISTED + 1)]
    manifest.complete({}, entries, [])
    content = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert content["inputs"] == {"table": "items-0000.parquet", "items": MOST_LISTED + 1}
    assert (tmp_path / "manifest.json").stat().st_size < 3000
    again = read_manifest(tmp_path)
    assert (again.count, list(again.items())) == (MOST_LISTED + 1, entries)
    again.resume({})
    assert read_manifest(tmp_path).count == MOST_LISTED + 1
    again.complete({}, [*entries, item(5000)], [])
    assert [path.name for path in tmp_path.glob("items-*")] == ["items-0001.parquet"]
    again.complete({}, entries[:3], [])
    assert read_manifest(tmp_path).content["inputs"] == entries[:3]
    assert not list(tmp_path.glob("items-*"))


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    Manifest.create(tmp_path, {}, {}).complete({}, [item(i) for i in range(MOST_LISTED + 1)], [])
    (tmp_path / "items-0000.parquet").unlink()
    with pytest.raises(ValueError, match="items-0000.parquet, the table of the items of an export, cannot be read"):
        Ledger(tmp_path).finished()
