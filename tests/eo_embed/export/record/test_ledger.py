"""Finished means: all files are there, from the sources as they are, by the same settings; and nothing else is lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ledger_items import ledger_item, make_files

from eo_core.file_state import SMALL, written_state
from eo_embed.export.record import ledger as ledger_module
from eo_embed.export.record.ledger import Ledger
from eo_embed.export.record.manifest import Manifest, read_manifest


def test_an_item_is_finished_per_layer(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.record(
        [
            ledger_item(tmp_path, "a/t", "layer_3"),
            ledger_item(tmp_path, "a/t", "layer_11"),
            ledger_item(tmp_path, "b/t"),
        ]
    )
    assert Ledger(tmp_path, rank=3).finished() == {
        ("a/t", "layer_3"): ["grids/layer_3/a/t.tif"],
        ("a/t", "layer_11"): ["grids/layer_11/a/t.tif"],
        ("b/t", ""): ["grids/b/t.tif"],
    }


def test_an_item_with_a_lost_file_is_made_again(tmp_path: Path) -> None:
    make_files(tmp_path, "parts/part-0000-000000.parquet")
    ledger = Ledger(tmp_path)
    item = ledger_item(tmp_path, "a")
    item["files"].append("parts/part-0000-000000.parquet")
    ledger.record([item, ledger_item(tmp_path, "b")])
    assert set(ledger.finished()) == {("a", ""), ("b", "")}
    (tmp_path / "parts" / "part-0000-000000.parquet").unlink()
    assert set(ledger.finished()) == {("b", "")}


def test_an_item_whose_source_changed_is_made_again_and_the_manifest_knows_the_new_one(tmp_path: Path) -> None:
    source, out = tmp_path / "s.tif", tmp_path / "out"
    source.write_text("old")
    ledger = Ledger(out)
    ledger.record([ledger_item(out, "a", sources=(source,))])
    source.write_text("newer")
    finished, review = ledger.review()
    assert (len(finished), review.changed) == (0, ("a",))
    assert list(ledger.inputs()) == []
    ledger.record([ledger_item(out, "a", sources=(source,))])
    assert set(ledger.finished()) == {("a", "")}
    (entry,) = ledger.inputs()
    (recorded,) = entry["sources"]
    assert (recorded["path"], recorded["size"], recorded["mtime"]) == (str(source), 5, source.stat().st_mtime)


def test_another_process_that_makes_a_changed_item_again_wins(tmp_path: Path) -> None:
    """Ranks have numbers of their own, so that the run tells which entry is the later one."""
    source, out = tmp_path / "s.tif", tmp_path / "out"
    source.write_text("old")
    manifest = Manifest.create(out, {}, {})
    for name in ("x", "a"):
        Ledger(out, 1).record([ledger_item(out, name, sources=(source,))])
    source.write_text("newer")
    first = Ledger(out, 0)
    assert first.finished() == {}
    manifest.resume({})
    Ledger(out, 0).record([ledger_item(out, "a", sources=(source,))])
    assert [(entry["id"], entry["sources"][0]["size"]) for entry in first.inputs()] == [("a", 5)]
    assert set(Ledger(out).finished()) == {("a", "")}


def test_a_large_source_of_equal_size_but_another_time_has_changed(tmp_path: Path) -> None:
    source, out = tmp_path / "s.tif", tmp_path / "out"
    source.write_bytes(b"a" * (SMALL + 1))
    Ledger(out).record([ledger_item(out, "a", sources=(source,))])
    os.utime(source, (1.5e9, 1.5e9))
    assert Ledger(out).finished() == {}


def test_a_file_that_was_spoilt_is_made_again(tmp_path: Path) -> None:
    """Shared ones, too: then all of their items; after a merge that no manifest tells of yet, none."""
    make_files(tmp_path, "parts/part-0000-000000.parquet")
    ledger = Ledger(tmp_path)
    items = [ledger_item(tmp_path, name) for name in ("a", "b", "c")]
    for item in items[:2]:
        item["files"].append("parts/part-0000-000000.parquet")
    ledger.record(items)
    (tmp_path / "grids/c.tif").write_text("grids/c.tiF")
    finished, review = Ledger(tmp_path).review()
    assert (len(finished), ("a", "") in finished, ("b", "") in finished) == (2, True, True)
    assert review.damaged == ("c",)
    (tmp_path / "parts/part-0000-000000.parquet").write_text("cut off")
    assert Ledger(tmp_path).review()[1].damaged == ("a", "b", "c")


def test_a_merged_table_counts_before_and_after_the_manifest_knows_it(tmp_path: Path) -> None:
    make_files(tmp_path, "embeddings.parquet")
    written = {"embeddings.parquet": written_state(tmp_path / "embeddings.parquet")}
    entry = {"id": "a", "layer": "", "files": ["embeddings.parquet"], "sources": [], "stated_dates": {}}
    Manifest.create(tmp_path, {}, {}).complete({}, [entry], [], written=written)
    assert set(Ledger(tmp_path).finished()) == {("a", "")}
    (tmp_path / "new").write_text("more rows")
    Ledger(tmp_path).will_write("embeddings.parquet", tmp_path / "new")
    assert set(Ledger(tmp_path).finished()) == {("a", "")}
    (tmp_path / "new").replace(tmp_path / "embeddings.parquet")
    assert set(Ledger(tmp_path).finished()) == {("a", "")}
    (tmp_path / "embeddings.parquet").write_text("less")
    assert Ledger(tmp_path).finished() == {}


def test_a_source_that_was_moved_away_or_is_no_file_does_not_undo_an_item(tmp_path: Path) -> None:
    source, out = tmp_path / "s.tif", tmp_path / "out"
    source.write_text("old")
    item = ledger_item(out, "a", sources=(source, Path("/vsizip/x.zip/y.tif")))
    Ledger(out).record([item])
    source.unlink()
    assert set(Ledger(out).finished()) == {("a", "")}
    assert next(Ledger(out).inputs())["sources"][1] == {"path": "/vsizip/x.zip/y.tif"}


def test_numbers_are_never_used_again_and_ranks_have_their_own(tmp_path: Path) -> None:
    for rank in (0, 1, 10):
        ledger = Ledger(tmp_path, rank)
        ledger.record([ledger_item(tmp_path, f"r{rank}")])
    again = Ledger(tmp_path, 1)
    assert again.next_number == 1
    again.record([ledger_item(tmp_path, "x")])
    (tmp_path / "progress" / "1-000000.json").unlink()
    assert Ledger(tmp_path, 1).next_number == 2
    assert {path.name for path in (tmp_path / "progress").iterdir()} == {
        "0-000000.json",
        "10-000000.json",
        "1-000001.json",
    }


def test_a_second_run_in_the_same_folder_is_noticed(tmp_path: Path) -> None:
    one, other = Ledger(tmp_path), Ledger(tmp_path)
    one.record([ledger_item(tmp_path, "a")])
    with pytest.raises(ValueError, match="0-000000.json is there already: another run writes to"):
        other.record([ledger_item(tmp_path, "b")])
    assert set(Ledger(tmp_path).finished()) == {("a", "")}


def test_an_item_made_by_two_ranks_is_one_item(tmp_path: Path) -> None:
    for rank in (1, 0):
        Ledger(tmp_path, rank).record([ledger_item(tmp_path, "a")])
    assert list(Ledger(tmp_path).finished()) == [("a", "")]
    assert len(list(Ledger(tmp_path).inputs())) == 1


def test_an_empty_batch_leaves_no_entry(tmp_path: Path) -> None:
    Ledger(tmp_path).record([])
    assert not list(tmp_path.iterdir())


def test_an_item_twice_in_a_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds an item twice: \[\('a', ''\)\].*unique"):
        Ledger(tmp_path).record([ledger_item(tmp_path, "a"), ledger_item(tmp_path, "b"), ledger_item(tmp_path, "a")])


def test_an_item_without_its_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a: its files must be in place .*missing: \['grids/a.tif'\]"):
        Ledger(tmp_path).record([{"id": "a", "layer": "", "files": ["grids/a.tif"]}])
    with pytest.raises(ValueError, match="a: its files must be in place .*missing: all"):
        Ledger(tmp_path).record([{"id": "a", "layer": "", "files": []}])
    assert not (tmp_path / "progress").exists()


def test_a_spoilt_entry_is_named_with_the_remedy(tmp_path: Path) -> None:
    make_files(tmp_path, "progress/0-000000.json")
    with pytest.raises(ValueError, match="0-000000.json cannot be read: .*Remove this file; its items are then made"):
        Ledger(tmp_path).finished()


def test_a_foreign_file_among_the_entries_is_named(tmp_path: Path) -> None:
    make_files(tmp_path, "progress/0-backup.json")
    with pytest.raises(ValueError, match="0-backup.json is no file of an export, expected <rank>-<number>"):
        Ledger(tmp_path)


def test_vectors_are_said_to_be_in_the_merged_file(tmp_path: Path) -> None:
    make_files(tmp_path, "parts/part-0000-000000.parquet")
    ledger = Ledger(tmp_path)
    ledger.record([{"id": key, "files": ["parts/part-0000-000000.parquet"]} for key in ("b", "a")])
    make_files(tmp_path, "embeddings.parquet")
    assert [(e["id"], e["layer"], e["files"]) for e in ledger.inputs()] == [
        ("a", "", ["embeddings.parquet"]),
        ("b", "", ["embeddings.parquet"]),
    ]


@pytest.mark.parametrize("at_once", [1, 2, 50_000])
def test_which_entry_counts_does_not_depend_on_how_many_fit_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Of two runs the later, of two ranks the higher, and any before the manifest; in the order of id and layer."""
    monkeypatch.setattr(ledger_module, "_AT_ONCE", at_once)
    make_files(tmp_path, *(f"grids/{number}.tif" for number in range(9)))

    def entry(name: str, layer: str, number: int) -> dict[str, Any]:
        return {"id": name, "layer": layer, "files": [f"grids/{number}.tif"], "sources": []}

    manifest = Manifest.create(tmp_path, {}, {})
    manifest.complete({}, [entry("a", "x", 0), entry("a", "y", 1), entry("c", "", 2)], [])
    complete = read_manifest(tmp_path)
    manifest.resume({})
    Ledger(tmp_path, 1).record([entry("b", "", 3), entry("a", "y", 4)])
    assert not Ledger(tmp_path).is_covered_by(complete)
    manifest.resume({})
    Ledger(tmp_path, 0).record([entry("b", "", 5)])  # of a later run, though of a lower rank
    Ledger(tmp_path, 2).record([entry("b", "", 6), entry("0", "", 7)])
    found = [(item["id"], item["layer"], item["files"]) for item in Ledger(tmp_path).inputs()]
    assert found == [
        ("0", "", ["grids/7.tif"]),
        ("a", "x", ["grids/0.tif"]),
        ("a", "y", ["grids/4.tif"]),
        ("b", "", ["grids/6.tif"]),
        ("c", "", ["grids/2.tif"]),
    ]
    assert Ledger(tmp_path).is_whole()
    manifest.complete({}, Ledger(tmp_path).inputs(), [])
    assert Ledger(tmp_path).is_covered_by(read_manifest(tmp_path))
    (tmp_path / "grids" / "6.tif").write_text("cut")
    assert not Ledger(tmp_path).is_whole()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".partial")]
