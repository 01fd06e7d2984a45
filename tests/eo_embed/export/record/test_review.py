"""A rerun keeps what would come out the same, and only that: never numbers of another file, date or data set."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from eo_core.file_state import SMALL
from eo_core.locks import FolderLock
from eo_data.raster.sample import SampleError
from eo_embed import open_embeddings
from eo_models.features import Features
from tests.faults.runs.export import (
    CHIPS,
    INDEX,
    Plan,
    StandIn,
    begun,
    export,
    make_data,
    pixels_of,
    read_rows,
    write_chip,
    write_rows,
)


class Counting(StandIn):
    """Counts what it encodes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, image: Any, **extras: Any) -> list[Features]:
        self.seen += len(image["S2"])
        return super().forward(image, **extras)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A data set of eight chips and its export."""
    made = Plan(make_data(tmp_path / "chips"), tmp_path / "out")
    export(made)
    return made


def rerun(plan: Plan) -> int:
    """Export again; return how many samples were encoded."""
    encoder = Counting()
    export(plan, encoder)
    return encoder.seen


def manifest_of(plan: Plan) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((plan.out / "manifest.json").read_text(encoding="utf-8"))
    return content


def vectors(out: Path) -> dict[str, list[float]]:
    table = open_embeddings(out).pooled
    assert table is not None
    return {name: vector.tolist() for name, vector in zip(table["id"], table["embedding"], strict=True)}


def assert_as_if_new(plan: Plan, tmp_path: Path) -> None:
    fresh = Plan(plan.root, tmp_path / "fresh")
    export(fresh)
    assert vectors(plan.out) == vectors(fresh.out)
    for name in vectors(fresh.out):
        np.testing.assert_array_equal(open_embeddings(plan.out).grid(name), open_embeddings(fresh.out).grid(name))


def replaced_with_the_same_size_and_time(root: Path) -> None:
    path = root / "s2" / "3.tif"
    before = path.stat()
    write_chip(path, pixels_of(99), 3)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def two_rows_change_their_files(root: Path) -> None:
    rows = read_rows(root / INDEX)
    rows[2]["S2"], rows[3]["S2"] = rows[3]["S2"], rows[2]["S2"]
    write_rows(root / INDEX, rows)


def another_date(root: Path) -> None:
    rows = read_rows(root / INDEX)
    rows[2]["S2_dates"] = "2021-08-15"
    write_rows(root / INDEX, rows)


def a_mask_appears(root: Path) -> None:
    shutil.copy(root / "s2" / "0.tif.msk", root / "s2" / "5.tif.msk")


def a_world_file_appears(root: Path) -> None:
    (root / "s2" / "5.tif.aux.xml").write_text(
        "<PAMDataset><GeoTransform>5e5, 10, 0, 5e6, 0, -10</GeoTransform></PAMDataset>"
    )


@pytest.mark.parametrize(
    ("change", "made_again"),
    [
        (lambda _: None, 0),
        (replaced_with_the_same_size_and_time, 2),
        (two_rows_change_their_files, 2),
        (another_date, 2),
        (a_mask_appears, 2),
        (a_world_file_appears, 2),
    ],
)
def test_what_would_come_out_otherwise_is_made_again_with_its_batch(
    plan: Plan, tmp_path: Path, change: Callable[[Path], None], made_again: int
) -> None:
    change(plan.root)
    assert rerun(plan) == made_again
    assert_as_if_new(plan, tmp_path)


def test_a_rerun_of_a_complete_export_reads_no_pixel_and_changes_no_byte(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in plan.out.rglob("*") if path.is_file()}

    def refuse(*_: object) -> None:
        pytest.fail("a file was read")

    monkeypatch.setattr("eo_data.dataset.sample_reader.SampleReader.read", refuse)
    assert rerun(plan) == 0
    assert {path: path.read_bytes() for path in plan.out.rglob("*") if path.is_file()} == before


def test_another_data_set_with_the_same_ids_is_refused(plan: Plan, tmp_path: Path) -> None:
    other = Plan(make_data(tmp_path / "others", seed=7), plan.out)
    with pytest.raises(ValueError, match="begun with root 'chips', and of 8 samples .* 8 have other.*overwrite: true"):
        export(other)
    assert rerun(plan) == 0


def test_a_data_set_that_moved_is_the_same_and_its_changes_are_seen(plan: Plan, tmp_path: Path) -> None:
    moved = Plan(Path(shutil.move(plan.root, tmp_path / "elsewhere")), plan.out)
    assert rerun(moved) == 0
    write_chip(moved.root / "s2" / "3.tif", pixels_of(99), 3)
    assert rerun(moved) == 2
    assert_as_if_new(moved, tmp_path)


def large(root: Path, seed: int) -> Path:
    """Write a data set of chips that are too large to be read just for their state, all changed at one time."""
    make_data(root, seed=seed)
    for path in (root / "s2").glob("*.tif"):
        with path.open("ab") as file:
            file.write(b"\0" * (SMALL + 1))
        os.utime(path, (1.6e9, 1.6e9))
    return root


def test_large_chips_of_another_data_set_with_the_same_sizes_and_times_are_others(tmp_path: Path) -> None:
    plan = Plan(large(tmp_path / "chips", 0), tmp_path / "out")
    export(plan)
    with pytest.raises(ValueError, match="holds an export of another data set"):
        export(Plan(large(tmp_path / "others", 7), plan.out))


def test_after_a_move_changes_are_seen_as_before(tmp_path: Path) -> None:
    """A copy has other times than the file system's own; the ones of the copy count from then on."""
    plan = Plan(large(tmp_path / "chips", 0), tmp_path / "out")
    export(plan)
    copied = Plan(Path(shutil.copytree(plan.root, tmp_path / "copy")), plan.out)
    assert rerun(copied) == 0
    assert manifest_of(copied)["data_set"]["root"] == "copy"
    path = copied.root / "s2" / "3.tif"
    content = bytearray(path.read_bytes())
    content[400:402] = b"\x7f\x07"
    path.write_bytes(content)
    os.utime(path, (1.6e9, 1.6e9))
    assert rerun(copied) == 2
    assert_as_if_new(copied, tmp_path)
    assert rerun(copied) == 0


def test_with_whole_paths_a_data_set_may_move_too(tmp_path: Path) -> None:
    plan = Plan(make_data(tmp_path / "chips"), tmp_path / "out")

    def run(root: Path) -> int:
        encoder = Counting()
        exporter, batches = begun(Plan(root, plan.out), encoder=encoder)
        exporter.settings = replace(exporter.settings, absolute_paths=True)
        exporter.run(batches)
        return encoder.seen

    assert run(plan.root) == CHIPS
    assert manifest_of(plan)["inputs"][1]["sources"][0]["path"] == f"{tmp_path}/chips/s2/1.tif"
    assert run(Path(shutil.move(plan.root, tmp_path / "elsewhere"))) == 0


def test_an_interrupted_export_does_not_mix_two_states_of_its_inputs(tmp_path: Path) -> None:
    plan = Plan(make_data(tmp_path / "chips"), tmp_path / "out")
    exporter, batches = begun(plan)
    exporter.open(dataset=batches.dataset)  # type: ignore[arg-type]
    for batch in list(batches)[:2]:
        exporter.add(batch)
    exporter.release()
    write_chip(plan.root / "s2" / "1.tif", pixels_of(99), 1)
    assert rerun(plan) == CHIPS - 2
    assert_as_if_new(plan, tmp_path)


def test_what_cannot_be_made_again_does_not_stay_as_it_was(plan: Plan) -> None:
    (plan.root / "s2" / "3.tif").write_bytes(b"no raster")
    with pytest.raises(SampleError, match="3.tif cannot be read"):
        export(plan)
    exporter, batches = begun(plan)
    dataset: Any = batches.dataset
    exporter.open(dataset=dataset)
    assert dataset.finished == {f"a/{i}" for i in range(CHIPS)} - {"a/3"}
    exporter.complete(exporter.close())
    assert "a/3" not in open_embeddings(plan.out).ids
    assert [entry["id"] for entry in manifest_of(plan)["inputs"]] == sorted(dataset.finished)


def test_samples_that_are_gone_are_reported_and_stay(plan: Plan, caplog: pytest.LogCaptureFixture) -> None:
    write_rows(plan.root / INDEX, read_rows(plan.root / INDEX)[1:])
    assert rerun(plan) == 0
    assert "1 of the finished items will stay as made, though not among the samples of this run" in caplog.text
    assert "a/0" in vectors(plan.out)


@pytest.mark.parametrize(
    ("spoil", "made_again"),
    [
        (lambda out: _flip(out / "grids" / "a" / "3.tif"), 2),
        (lambda out: (out / "grids" / "a" / "3.tif").unlink(), 2),
        (lambda out: _flip(out / "embeddings.parquet"), CHIPS),
        (lambda out: (out / "embeddings.parquet").write_bytes(b"PAR1"), CHIPS),
        (lambda out: pq.write_table(pq.read_table(out / "embeddings.parquet")[2:], out / "embeddings.parquet"), CHIPS),
    ],
)
def test_what_was_damaged_is_made_again(
    plan: Plan, tmp_path: Path, spoil: Callable[[Path], object], made_again: int
) -> None:
    spoil(plan.out)
    assert rerun(plan) == made_again
    assert_as_if_new(plan, tmp_path)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def test_rows_of_another_run_do_not_come_back(plan: Plan, tmp_path: Path) -> None:
    """As they did when one run cleared the folder while another was writing."""
    foreign = Plan(make_data(tmp_path / "foreign", seed=3), tmp_path / "other")
    exporter, batches = begun(foreign)
    exporter.open()
    exporter.add(next(iter(batches)))
    exporter.close()
    shutil.copytree(foreign.out / "parts", plan.out / "parts")
    write_chip(plan.root / "s2" / "7.tif", pixels_of(99), 7)
    assert rerun(plan) == 2
    assert_as_if_new(plan, tmp_path)


def test_an_item_without_a_row_keeps_an_export_from_being_complete(tmp_path: Path) -> None:
    plan = Plan(make_data(tmp_path / "chips"), tmp_path / "out")
    exporter, batches = begun(plan)
    exporter.open()
    for batch in batches:
        exporter.add(batch)
    counts = exporter.close()
    part = next((plan.out / "parts").glob("*.parquet"))
    pq.write_table(pq.read_table(part)[1:], part)
    with pytest.raises(ValueError, match="1 rows are recorded and are not in part-"):
        exporter.complete(counts)
    assert manifest_of(plan)["state"] == "running"


def test_a_second_run_is_refused_while_the_first_one_writes(plan: Plan) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with FolderLock(plan.out).held():
            os.write(writer, b"held")
            time.sleep(30)
        os._exit(0)
    try:
        assert os.read(reader, 4) == b"held"
        with pytest.raises(ValueError, match=f"in use: process {child} on"):
            export(plan)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert rerun(plan) == 0
    assert not (plan.out / ".lock").exists()


class NotANumber(StandIn):
    """Spoils one token of the second sample of each batch."""

    def forward(self, image: Any, **extras: Any) -> list[Features]:
        (found,) = super().forward(image, **extras)
        assert found.grid is not None
        grid = found.grid.clone()
        grid[1, 0, 3, 3] = torch.nan
        return [Features(grid.flatten(2).transpose(1, 2), None, grid)]


def test_an_embedding_that_is_no_number_is_a_failure_not_an_item(tmp_path: Path) -> None:
    plan = Plan(make_data(tmp_path / "chips"), tmp_path / "out")
    with pytest.raises(ValueError, match=r"4 items could not be exported: a/1: the encoder's vector is not finite"):
        export(plan, NotANumber())
    assert sorted(vectors(plan.out)) == ["a/0", "a/2", "a/4", "a/6"]
    assert manifest_of(plan)["counts"]["done"] == 4
    assert rerun(plan) == CHIPS
    assert_as_if_new(plan, tmp_path)


def test_manifests_tags_and_tables_tell_nothing_of_the_folders_above_the_data(plan: Plan, tmp_path: Path) -> None:
    for path in plan.out.rglob("*"):
        if path.is_file():
            assert str(tmp_path).encode() not in path.read_bytes(), path
    assert manifest_of(plan)["data_set"]["root"] == "chips"
    assert [source["path"] for source in manifest_of(plan)["inputs"][0]["sources"]] == ["s2/0.tif", "s2/0.tif.msk"]
    assert open_embeddings(plan.out).grid("a/1").attrs["sources"] == ("s2/1.tif",)
