"""A folder is new, interrupted or complete; nothing of another export, and no file of somebody else, is lost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ledger_items import ledger_item, make_files

from eo_embed.export.folder import checked, open_export
from eo_embed.export.record.failures import Failures
from eo_embed.export.record.manifest import Manifest, read_manifest
from eo_embed.export.settings import ExportSettings

FACTS = {"model": "thor_v1_base", "data": {"bands": ["RED", "NIR"]}}


def _names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def _complete(folder: Path, *names: str, facts: Mapping[str, object] = FACTS) -> None:
    manifest, ledger = open_export(folder, facts)
    ledger.record([ledger_item(folder, name) for name in names])
    manifest.complete({"done": len(names)}, ledger.inputs(), [])
    ledger.close()


def test_a_new_folder_begins_with_a_manifest(tmp_path: Path) -> None:
    manifest, ledger = open_export(tmp_path / "a" / "b", FACTS, provenance={"config": "x"}, stac={"gsd": 10})
    assert _names(tmp_path / "a" / "b") == {"manifest.json"}
    assert (manifest.content["state"], manifest.content["gsd"]) == ("running", 10)
    assert ledger.finished() == {}


def test_a_resume_keeps_what_is_finished_and_removes_what_a_crash_left(tmp_path: Path) -> None:
    _, ledger = open_export(tmp_path, FACTS)
    make_files(tmp_path, "parts/part-0000-000000.parquet", "parts/part-0000-000001.parquet")
    item = ledger_item(tmp_path, "a")
    item["files"].append("parts/part-0000-000000.parquet")
    ledger.record([item])
    make_files(tmp_path, "grids/.partial-12-b.tif", "progress/.partial-12-0-000001.json", ".partial-1-manifest.json")
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
    ledger.record([ledger_item(tmp_path, "b")])
    manifest.complete({}, ledger.inputs(), [])
    ledger.close()
    assert [entry["id"] for entry in read_manifest(tmp_path).content["inputs"]] == ["a", "b"]


def test_a_crash_while_a_complete_export_grows_loses_nothing(tmp_path: Path) -> None:
    _complete(tmp_path, "a")
    _, ledger = open_export(tmp_path, FACTS)
    ledger.record([ledger_item(tmp_path, "b")])  # killed before the manifest says that it runs again
    manifest, ledger = open_export(tmp_path, FACTS)
    assert not manifest.is_complete
    assert set(ledger.finished()) == {("a", ""), ("b", "")}


def test_a_crash_after_the_last_manifest_leaves_no_entries(tmp_path: Path) -> None:
    manifest, ledger = open_export(tmp_path, FACTS)
    ledger.record([ledger_item(tmp_path, "a")])
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


def test_a_run_that_ended_before_its_first_item_does_not_hold_on_to_its_settings(tmp_path: Path) -> None:
    open_export(tmp_path, FACTS)
    make_files(tmp_path, "grids/a.tif", "parts/part-0000-000000.parquet", "notes.txt")
    manifest, _ = open_export(tmp_path, {"model": "another"})
    assert manifest.facts == {"model": "another"}
    assert _names(tmp_path) == {"manifest.json", "notes.txt"}


def test_many_differences_are_cut(tmp_path: Path) -> None:
    _complete(tmp_path, "a", facts={str(i): i for i in range(100)})
    with pytest.raises(ValueError, match=r"\.\.\. and 80 more\n") as error:
        open_export(tmp_path, {str(i): -i - 1 for i in range(100)})
    assert len(str(error.value).splitlines()) == 23


def test_a_folder_with_files_but_no_export_is_refused_even_with_overwrite(tmp_path: Path) -> None:
    make_files(tmp_path, "pictures/holiday.png", "notes.txt")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="holds files but no manifest.json.*: notes.txt, pictures. Give a new"):
            open_export(tmp_path, FACTS, overwrite=overwrite)
    assert (tmp_path / "pictures" / "holiday.png").exists()


def test_the_manifest_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "web app"}')
    with pytest.raises(ValueError, match="is no manifest of this version"):
        open_export(tmp_path, FACTS, overwrite=True)
    assert (tmp_path / "manifest.json").read_text() == '{"name": "web app"}'


def test_a_manifest_that_was_cut_off_is_refused_and_overwritten_on_request(tmp_path: Path) -> None:
    _complete(tmp_path, "a")
    content = (tmp_path / "manifest.json").read_text(encoding="utf-8")
    (tmp_path / "manifest.json").write_text(content[: len(content) // 2], encoding="utf-8")
    with pytest.raises(ValueError, match="cannot be read as JSON.*overwrite: true"):
        open_export(tmp_path, FACTS)
    open_export(tmp_path, FACTS, overwrite=True)
    assert _names(tmp_path) == {"manifest.json"}


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    make_files(tmp_path, "out")
    with pytest.raises(ValueError, match="out is a file. Give a folder"):
        open_export(tmp_path / "out", FACTS)


def test_a_crash_before_the_first_manifest_is_a_new_export(tmp_path: Path) -> None:
    make_files(tmp_path, ".partial-12-manifest.json")
    open_export(tmp_path, FACTS)
    assert _names(tmp_path) == {"manifest.json"}


def test_another_process_does_not_begin_before_the_first(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no manifest.json"):
        open_export(tmp_path, FACTS, rank=1)
    open_export(tmp_path, FACTS)
    before = (tmp_path / "manifest.json").read_bytes()
    make_files(tmp_path, "grids/.partial-12-of-rank-0.tif")
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
    make_files(tmp_path, *made, *own)
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


@pytest.mark.parametrize(
    ("rows", "items", "wrong"),
    [
        ("abc", "abc", 0),
        ("", "", 0),
        ("abcd", "bd", 2),  # rows before and between the items
        ("bd", "abcd", 2),  # items before and between the rows
        ("abz", "abc", 2),  # the last of both
        ("ab", "", 2),
    ],
)
def test_rows_and_items_that_do_not_agree_are_counted_wherever_they_stand(
    tmp_path: Path, rows: str, items: str, wrong: int
) -> None:
    if rows:
        keys = {"id": list(rows), "layer": [""] * len(rows)}
        pq.write_table(pa.table(keys), tmp_path / "embeddings.parquet")
    entries = [{"id": name, "layer": "", "files": ["embeddings.parquet"]} for name in items]
    if not wrong:
        assert list(checked(tmp_path, ExportSettings(), entries)) == entries
        return
    with pytest.raises(ValueError, match=f"is not complete: {wrong} items differ between embeddings.parquet"):
        list(checked(tmp_path, ExportSettings(), entries))


def test_items_without_a_grid_are_not_complete(tmp_path: Path) -> None:
    entries = [{"id": "a", "layer": "", "files": ["grids/a.tif"]}, {"id": "b", "layer": "", "files": []}]
    with pytest.raises(ValueError, match=r"1 items differ .*first: \('b', ''\)"):
        list(checked(tmp_path, ExportSettings(output="grid"), entries))
