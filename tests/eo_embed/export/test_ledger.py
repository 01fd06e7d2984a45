"""Finished means: all files are there, from the sources as they are, by the same settings; and nothing else is lost."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from eo_embed.export.failures import Failures
from eo_embed.export.folder import open_export
from eo_embed.export.ledger import Ledger
from eo_embed.export.manifest import Manifest, read_manifest

FACTS = {"model": "thor_v1_base", "data": {"bands": ["RED", "NIR"]}}


def _make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def _item(folder: Path, name: str, layer: str = "", sources: tuple[Path, ...] = ()) -> dict[str, Any]:
    file = "/".join(["grids", *([layer] if layer else []), f"{name}.tif"])
    _make(folder, file)
    return {"id": name, "layer": layer, "files": [file], "sources": sources, "dates": ["2020-01-01"]}


def _names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def _complete(folder: Path, *names: str) -> None:
    manifest, ledger = open_export(folder, FACTS)
    ledger.record([_item(folder, name) for name in names])
    manifest.complete({"done": len(names)}, ledger.inputs(), [])
    ledger.close()


def test_an_item_is_finished_per_layer(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.record([_item(tmp_path, "a/t", "layer_3"), _item(tmp_path, "a/t", "layer_11"), _item(tmp_path, "b/t")])
    assert Ledger(tmp_path, rank=3).finished() == {
        ("a/t", "layer_3"): ["grids/layer_3/a/t.tif"],
        ("a/t", "layer_11"): ["grids/layer_11/a/t.tif"],
        ("b/t", ""): ["grids/b/t.tif"],
    }


def test_an_item_with_a_lost_file_is_made_again(tmp_path: Path) -> None:
    _make(tmp_path, "parts/part-0000-000000.parquet")
    ledger = Ledger(tmp_path)
    item = _item(tmp_path, "a")
    item["files"].append("parts/part-0000-000000.parquet")
    ledger.record([item, _item(tmp_path, "b")])
    assert set(ledger.finished()) == {("a", ""), ("b", "")}
    (tmp_path / "parts" / "part-0000-000000.parquet").unlink()
    assert set(ledger.finished()) == {("b", "")}


def test_an_item_whose_source_changed_is_made_again_and_the_manifest_knows_the_new_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, out = tmp_path / "s.tif", tmp_path / "out"
    source.write_text("old")
    ledger = Ledger(out)
    ledger.record([_item(out, "a", sources=(source,))])
    source.write_text("newer")
    assert ledger.finished() == {}
    assert "1 finished items are made again because their sources changed" in caplog.text
    ledger.record([_item(out, "a", sources=(source,))])
    assert set(ledger.finished()) == {("a", "")}
    (entry,) = ledger.inputs()
    assert entry["sources"] == [{"path": str(source), "size": 5, "mtime": source.stat().st_mtime}]


def test_a_source_of_equal_size_but_another_time_has_changed(tmp_path: Path) -> None:
    source, out = tmp_path / "s.tif", tmp_path / "out"
    source.write_text("old")
    Ledger(out).record([_item(out, "a", sources=(source,))])
    os.utime(source, (1.5e9, 1.5e9))
    assert Ledger(out).finished() == {}


def test_a_source_that_was_moved_away_or_is_no_file_does_not_undo_an_item(tmp_path: Path) -> None:
    source, out = tmp_path / "s.tif", tmp_path / "out"
    source.write_text("old")
    item = _item(out, "a", sources=(source, Path("/vsizip/x.zip/y.tif")))
    Ledger(out).record([item])
    source.unlink()
    assert set(Ledger(out).finished()) == {("a", "")}
    assert Ledger(out).inputs()[0]["sources"][1] == {"path": "/vsizip/x.zip/y.tif"}


def test_numbers_are_never_used_again_and_ranks_have_their_own(tmp_path: Path) -> None:
    for rank in (0, 1, 10):
        ledger = Ledger(tmp_path, rank)
        ledger.record([_item(tmp_path, f"r{rank}")])
    again = Ledger(tmp_path, 1)
    assert again.next_number == 1
    again.record([_item(tmp_path, "x")])
    (tmp_path / "progress" / "1-000000.json").unlink()
    assert Ledger(tmp_path, 1).next_number == 2
    assert {path.name for path in (tmp_path / "progress").iterdir()} == {
        "0-000000.json",
        "10-000000.json",
        "1-000001.json",
    }


def test_a_second_run_in_the_same_folder_is_noticed(tmp_path: Path) -> None:
    one, other = Ledger(tmp_path), Ledger(tmp_path)
    one.record([_item(tmp_path, "a")])
    with pytest.raises(ValueError, match="0-000000.json is there already: another run writes to"):
        other.record([_item(tmp_path, "b")])
    assert set(Ledger(tmp_path).finished()) == {("a", "")}


def test_an_item_made_by_two_ranks_is_one_item(tmp_path: Path) -> None:
    for rank in (1, 0):
        Ledger(tmp_path, rank).record([_item(tmp_path, "a")])
    assert list(Ledger(tmp_path).finished()) == [("a", "")]
    assert len(Ledger(tmp_path).inputs()) == 1


def test_an_empty_batch_leaves_no_entry(tmp_path: Path) -> None:
    Ledger(tmp_path).record([])
    assert not list(tmp_path.iterdir())


def test_an_item_twice_in_a_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds an item twice: \[\('a', ''\)\].*unique"):
        Ledger(tmp_path).record([_item(tmp_path, "a"), _item(tmp_path, "b"), _item(tmp_path, "a")])


def test_an_item_without_its_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a: its files must be in place .*missing: \['grids/a.tif'\]"):
        Ledger(tmp_path).record([{"id": "a", "layer": "", "files": ["grids/a.tif"]}])
    with pytest.raises(ValueError, match="a: its files must be in place .*missing: all"):
        Ledger(tmp_path).record([{"id": "a", "layer": "", "files": []}])
    assert not (tmp_path / "progress").exists()


def test_a_spoilt_entry_is_named_with_the_remedy(tmp_path: Path) -> None:
    _make(tmp_path, "progress/0-000000.json")
    with pytest.raises(ValueError, match="0-000000.json cannot be read: .*Remove this file; its items are then made"):
        Ledger(tmp_path).finished()


def test_a_foreign_file_among_the_entries_is_named(tmp_path: Path) -> None:
    _make(tmp_path, "progress/0-backup.json")
    with pytest.raises(ValueError, match="0-backup.json is no file of an export, expected <rank>-<number>"):
        Ledger(tmp_path)


def test_vectors_are_said_to_be_in_the_merged_file(tmp_path: Path) -> None:
    _make(tmp_path, "parts/part-0000-000000.parquet")
    ledger = Ledger(tmp_path)
    ledger.record([{"id": key, "files": ["parts/part-0000-000000.parquet"]} for key in ("b", "a")])
    _make(tmp_path, "embeddings.parquet")
    assert [(e["id"], e["layer"], e["files"]) for e in ledger.inputs()] == [
        ("a", "", ["embeddings.parquet"]),
        ("b", "", ["embeddings.parquet"]),
    ]


def test_a_new_folder_begins_with_a_manifest(tmp_path: Path) -> None:
    manifest, ledger = open_export(tmp_path / "a" / "b", FACTS, provenance={"config": "x"}, stac={"gsd": 10})
    assert _names(tmp_path / "a" / "b") == {"manifest.json"}
    assert (manifest.content["state"], manifest.content["gsd"]) == ("running", 10)
    assert ledger.finished() == {}


def test_a_resume_keeps_what_is_finished_and_removes_what_a_crash_left(tmp_path: Path) -> None:
    _, ledger = open_export(tmp_path, FACTS)
    _make(tmp_path, "parts/part-0000-000000.parquet", "parts/part-0000-000001.parquet")
    item = _item(tmp_path, "a")
    item["files"].append("parts/part-0000-000000.parquet")
    ledger.record([item])
    _make(tmp_path, "grids/.partial-12-b.tif", "progress/.partial-12-0-000001.json", ".partial-1-manifest.json")
    failures = Failures(tmp_path, 1)
    failures.add("b", "bad")
    failures.write()
    manifest, ledger = open_export(tmp_path, {"data": {"bands": ("RED", "NIR")}, "model": "thor_v1_base"})
    assert set(ledger.finished()) == {("a", "")}
    assert len(manifest.content["earlier_runs"]) == 1
    assert _names(tmp_path) == {
        "manifest.json",
        "grids",
        "grids/a.tif",
        "parts",
        "parts/part-0000-000000.parquet",
        "progress",
        "progress/0-000000.json",
    }


def test_a_complete_export_has_nothing_to_do(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _complete(tmp_path, "a", "b")
    before = (tmp_path / "manifest.json").read_bytes()
    with caplog.at_level("INFO"):
        manifest, ledger = open_export(tmp_path, FACTS)
    assert manifest.is_complete
    assert set(ledger.finished()) == {("a", ""), ("b", "")}
    assert "holds a complete export of 2 items" in caplog.text
    assert (tmp_path / "manifest.json").read_bytes() == before


def test_a_complete_export_can_grow(tmp_path: Path) -> None:
    _complete(tmp_path, "a")
    manifest, ledger = open_export(tmp_path, FACTS)
    manifest.resume({})
    ledger.record([_item(tmp_path, "b")])
    manifest.complete({}, ledger.inputs(), [])
    ledger.close()
    assert [entry["id"] for entry in read_manifest(tmp_path).content["inputs"]] == ["a", "b"]


def test_a_crash_while_a_complete_export_grows_loses_nothing(tmp_path: Path) -> None:
    _complete(tmp_path, "a")
    _, ledger = open_export(tmp_path, FACTS)
    ledger.record([_item(tmp_path, "b")])  # killed before the manifest says that it runs again
    manifest, ledger = open_export(tmp_path, FACTS)
    assert not manifest.is_complete
    assert set(ledger.finished()) == {("a", ""), ("b", "")}


def test_a_crash_after_the_last_manifest_leaves_no_entries(tmp_path: Path) -> None:
    manifest, ledger = open_export(tmp_path, FACTS)
    ledger.record([_item(tmp_path, "a")])
    manifest.complete({}, ledger.inputs(), [])  # killed before ledger.close()
    manifest, ledger = open_export(tmp_path, FACTS)
    assert manifest.is_complete
    assert not (tmp_path / "progress").exists()
    assert set(ledger.finished()) == {("a", "")}


def test_other_settings_are_refused_with_the_difference(tmp_path: Path) -> None:
    _complete(tmp_path, "a")
    before = _names(tmp_path)
    other = {"model": "thor_v1_base", "data": {"bands": ["RED", "SWIR"]}}
    message = (
        r"made in another way \(there -> now\):\n  data.bands\[1\]: 'NIR' -> 'SWIR'\n.*another folder.*overwrite: true"
    )
    for rank in (0, 1):
        with pytest.raises(ValueError, match=message):
            open_export(tmp_path, other, rank=rank)
    assert _names(tmp_path) == before


def test_many_differences_are_cut(tmp_path: Path) -> None:
    open_export(tmp_path, {str(i): i for i in range(100)})
    with pytest.raises(ValueError, match=r"\.\.\. and 80 more\n") as error:
        open_export(tmp_path, {str(i): -i - 1 for i in range(100)})
    assert len(str(error.value).splitlines()) == 23


def test_a_folder_with_files_but_no_export_is_refused_even_with_overwrite(tmp_path: Path) -> None:
    _make(tmp_path, "pictures/holiday.png", "notes.txt")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="holds files but no manifest.json.*: notes.txt, pictures. Give a new"):
            open_export(tmp_path, FACTS, overwrite=overwrite)
    assert (tmp_path / "pictures" / "holiday.png").exists()


def test_the_manifest_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "web app"}')
    with pytest.raises(ValueError, match="is no manifest of this version"):
        open_export(tmp_path, FACTS, overwrite=True)
    assert (tmp_path / "manifest.json").read_text() == '{"name": "web app"}'


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    _make(tmp_path, "out")
    with pytest.raises(ValueError, match="out is a file. Give a folder"):
        open_export(tmp_path / "out", FACTS)


def test_a_crash_before_the_first_manifest_is_a_new_export(tmp_path: Path) -> None:
    _make(tmp_path, ".partial-12-manifest.json")
    open_export(tmp_path, FACTS)
    assert _names(tmp_path) == {"manifest.json"}


def test_another_process_does_not_begin_before_the_first(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no manifest.json"):
        open_export(tmp_path, FACTS, rank=1)
    open_export(tmp_path, FACTS)
    before = (tmp_path / "manifest.json").read_bytes()
    _make(tmp_path, "grids/.partial-12-of-rank-0.tif")
    manifest, ledger = open_export(tmp_path, FACTS, rank=1, overwrite=True)
    assert (ledger.rank, manifest.fingerprint) == (1, read_manifest(tmp_path).fingerprint)
    assert (tmp_path / "manifest.json").read_bytes() == before
    assert (tmp_path / "grids" / ".partial-12-of-rank-0.tif").exists()


def test_overwrite_removes_what_an_export_makes_and_nothing_else(tmp_path: Path) -> None:
    _complete(tmp_path, "a", "deep/er/b")
    made = [
        "embeddings.parquet", "failures.csv", "parts/part-0001-000002.parquet", "progress/1-000002.json",
        "progress/failures-1-000000.csv", "grids/c.npz", "grids/layer_3/d.nc", "grids.zarr/zarr.json",
        "pictures/a.png", "pictures/x/a.tif", "grids/.partial-1-a.tif",
    ]  # fmt: skip
    own = ["notes.txt", "grids/a.qgz", "pictures/talk.pptx", "parts/mine.parquet", "labels/a.tif"]
    _make(tmp_path, *made, *own)
    manifest, ledger = open_export(tmp_path, {"model": "other"}, overwrite=True)
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {*own, "manifest.json"}
    assert not (tmp_path / "grids" / "deep").exists()
    assert not (tmp_path / "progress").exists()
    assert manifest.facts == {"model": "other"}
    assert ledger.finished() == {}


def test_a_crash_while_overwriting_leaves_an_export_that_can_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _complete(tmp_path, "a", "b")

    def killed(*_: object) -> Manifest:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Manifest, "create", killed)
        with pytest.raises(KeyboardInterrupt):
            open_export(tmp_path, FACTS, overwrite=True)
    _, ledger = open_export(tmp_path, FACTS)
    assert ledger.finished() == {}
    assert json.loads((tmp_path / "manifest.json").read_text())["format"] == "eo_embed.manifest/1"
