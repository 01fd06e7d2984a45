"""One object exports, whatever drives it: a plain loop and Lightning must leave the same folder."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from eo_embed import Exporter, ExportSettings, open_embeddings
from eo_embed.export.facts import encoder_facts, export_facts, run_provenance
from eo_embed.export.flow.background import Background
from eo_embed.export.flow.summary import Counts
from eo_embed.export.writing import ItemWriter
from eo_models.features import Features
from eo_models.precision.numbers import Arithmetic
from eo_models.weights.checkpoints import sha256_of_weights

GEOTRANSFORM = (500_000.0, 10.0, 0.0, 4_000_000.0, 0.0, -10.0)


class StandIn(nn.Module):
    """Two layers of a pointwise encoder on cells of 8 pixels: means of the pixels, and their doubles."""

    def __init__(self, layers: int = 1) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(3, 5, 1)
        self.seen: list[set[str]] = []
        for parameter, value in zip(self.parameters(), (0.25, -1.0), strict=True):
            nn.init.constant_(parameter, value)
        self.layers = layers

    def forward(self, image: torch.Tensor, **extras: Any) -> list[Features]:
        self.seen.append(set(extras))
        grid = self.backbone(F.avg_pool2d(image, 8)) + torch.arange(5.0)[:, None, None]
        return [Features(g.flatten(2).transpose(1, 2), None, g) for g in (grid, 2 * grid)[: self.layers]]


def _batches(count: int = 3, size: int = 2) -> list[dict[str, Any]]:
    """``count`` batches of ``size`` samples of 16 x 16 pixels, one beside the other."""
    pixels = torch.randn(count, size, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    found = []
    for b in range(count):
        names = [f"a/{b * size + i}" for i in range(size)]
        places = [(GEOTRANSFORM[0] + 160 * (b * size + i), *GEOTRANSFORM[1:]) for i in range(size)]
        found.append(
            {
                "image": pixels[b],
                "filename": [f"{name}.tif" for name in names],
                "id": names,
                "crs": ["EPSG:32631"] * size,
                "geotransform": torch.tensor(places, dtype=torch.float64),
                "acquired": ["s2 2021-03-04 (file name)"] * size,
                "dates": torch.zeros(size),
            }
        )
    return found


def _exporter(folder: Path, encoder: Any = None, rank: int = 0, **settings: Any) -> Exporter:
    chosen = ExportSettings(**({"output": "both"} | settings))
    facts = {"encoder": "stand-in", **chosen.facts()}
    return Exporter(folder, encoder or StandIn(len(chosen.layers)), chosen, facts, rank=rank)


def _plain_manifest(folder: Path) -> dict[str, Any]:
    """Without times."""
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    for run in (content["provenance"], *content["earlier_runs"]):
        run.pop("start")
        run.pop("end", None)
    content.pop("processing:datetime", None)
    return content


def _grids(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in (folder / "grids").rglob("*.tif")}


def test_masks_of_samples_that_wait_to_be_written_count_as_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch of vectors is small, and what is known of its samples is not: without them, all of a run could wait."""
    sizes: list[int] = []
    submit = Background.submit

    def noted(own: Background, work: Any, size: int) -> None:
        sizes.append(size)
        submit(own, work, size)

    monkeypatch.setattr(Background, "submit", noted)
    _exporter(tmp_path, output="pooled").run(_batches(1, size=7))
    assert sizes[0] > 7 * 16 * 16


def test_a_plain_loop_leaves_the_folder_that_the_task_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Same rows, same grids, same facts and fingerprint: so that the one may resume what the other began."""
    from lightning.pytorch import LightningDataModule, Trainer

    import eo_embed.task

    class Data(LightningDataModule):
        root = Path("somewhere")
        skipped = (("predict", "a/9", "truncated"),)

        def predict_dataloader(self) -> Any:
            return DataLoader(_batches(), batch_size=None)  # type: ignore[arg-type]

    monkeypatch.setattr(eo_embed.task, "FeatureExtractor", lambda *_: StandIn(2))
    arguments = {"bands": ["RED", "GREEN", "BLUE"], "ckpt": None}
    chosen: dict[str, Any] = {"layers": [-1, -2], "output": "both", "on_error": "skip", "l2_normalise": True}
    task = eo_embed.EmbeddingTask("stand_in", arguments, str(tmp_path / "task"), **chosen)
    quiet: dict[str, Any] = {"enable_progress_bar": False, "logger": False, "enable_checkpointing": False}
    trainer = Trainer(accelerator="cpu", default_root_dir=tmp_path, **quiet)
    trainer.predict(task, Data())
    printed = capsys.readouterr().out

    settings = ExportSettings(**(chosen | {"layers": tuple(chosen["layers"])}))
    encoder, data = StandIn(2), Data()
    facts = export_facts(
        encoder_facts("stand_in", arguments, settings), sha256_of_weights(encoder.backbone), "32-true", data
    )
    numbers = Arithmetic("32-true", "highest", torch.device("cpu")).described
    provenance = run_provenance(None, None, data.root, numbers=numbers)
    exporter = Exporter(tmp_path / "loop", encoder, settings, facts, provenance)
    exporter.open(3, data.skipped)
    for batch in data.predict_dataloader():
        exporter.add(batch)
    summary = exporter.complete(exporter.close())

    one, other = tmp_path / "loop", tmp_path / "task"
    assert _plain_manifest(one) == _plain_manifest(other)
    assert json.dumps(_plain_manifest(one)) == json.dumps(_plain_manifest(other))  # the order of keys too
    assert len(_grids(one)) == 12
    assert _grids(one) == _grids(other)
    assert pq.read_table(one / "embeddings.parquet").equals(pq.read_table(other / "embeddings.parquet"))
    assert (one / "failures.csv").read_text() == (other / "failures.csv").read_text()
    assert {p.name for p in one.iterdir()} == {p.name for p in other.iterdir()}
    times = ("time", "items/s", "km2/s", "failures ", "manifest ", "-")
    shown = [line for line in summary.splitlines() if not line.startswith(times)]
    assert shown == [line for line in printed.splitlines() if line in shown]


def test_values_and_places_are_those_of_the_encoder(tmp_path: Path) -> None:
    encoder = StandIn()
    summary = _exporter(tmp_path, encoder).run(_batches())
    export = open_embeddings(tmp_path)
    assert export.ids == tuple(f"a/{i}" for i in range(6))
    grid = export.grid("a/3")
    pixels = _batches()[1]["image"][1]
    expected = pixels.unflatten(2, (2, 8)).unflatten(1, (2, 8)).mean(dim=(2, 4)).sum(0) * 0.25 - 1
    np.testing.assert_allclose(grid.values[0], expected, rtol=1e-5)
    np.testing.assert_allclose(grid.values[4], expected + 4, rtol=1e-5)
    assert grid["x"].values.tolist() == [500_000 + 480 + 40, 500_000 + 480 + 120]
    assert grid.attrs["dates"] == ("2021-03-04",)
    row = export.pooled.set_index("id").loc["a/3"]  # type: ignore[union-attr]
    np.testing.assert_allclose(np.stack(row.embedding), grid.values.mean(axis=(1, 2)), rtol=1e-5)
    assert row.datetime.date() == date(2021, 3, 4)
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.suffix in (".tif", ".parquet"))
    assert export.manifest["counts"] == {"done": 6, "skipped": 0, "failed": 0, "cells": 24, "bytes": size}
    assert "items exported" in summary
    assert encoder.seen[0] == {"dates"}  # neither names nor places go to the encoder


def test_a_run_that_broke_off_goes_on_without_encoding_anew(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    first = _exporter(broken)
    first.open()
    first.add(_batches()[0])
    first.release()  # as a run that ends with an error does: what is encoded is written
    assert open_embeddings(broken, allow_incomplete=True).ids == ("a/0", "a/1")
    encoder = StandIn()
    _exporter(broken, encoder).run(_batches())
    assert len(encoder.seen) == 2
    _exporter(whole).run(_batches())
    assert _grids(whole) == _grids(broken)
    assert pq.read_table(whole / "embeddings.parquet").equals(pq.read_table(broken / "embeddings.parquet"))


def test_a_batch_that_cannot_be_written_stops_the_run_and_is_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread writes: its error must not be lost, and what comes after it must not be written."""
    exporter = _exporter(tmp_path / "out")
    whole, calls = ItemWriter.write, []

    def write(self: ItemWriter, *arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device", "x.tif")
        return whole(self, *arguments)

    monkeypatch.setattr(ItemWriter, "write", write)
    with pytest.raises(OSError, match="No space left on device"):
        exporter.run(_batches() * 3)
    assert len(calls) == 2
    assert open_embeddings(tmp_path / "out", allow_incomplete=True).ids == ("a/0", "a/1")
    monkeypatch.undo()
    _exporter(tmp_path / "out").run(_batches())
    _exporter(tmp_path / "one").run(_batches())
    assert _grids(tmp_path / "out") == _grids(tmp_path / "one")


def test_two_ranks_leave_the_rows_of_one(tmp_path: Path) -> None:
    """Each writes its own batches; rank 0 alone completes, with the counts of both."""
    ranks = [_exporter(tmp_path / "two", rank=rank) for rank in (0, 1)]
    for exporter in ranks:
        exporter.open()
    for i, batch in enumerate(_batches()):
        ranks[i % 2].add(batch)
    counts = [exporter.close() for exporter in ranks]
    assert [count.done for count in counts] == [4, 2]
    ranks[0].complete(counts[0] + counts[1])
    _exporter(tmp_path / "one").run(_batches())
    assert _grids(tmp_path / "two") == _grids(tmp_path / "one")
    tables = [pq.read_table(tmp_path / name / "embeddings.parquet") for name in ("one", "two")]
    assert tables[0].equals(tables[1])
    assert _plain_manifest(tmp_path / "two")["counts"] == _plain_manifest(tmp_path / "one")["counts"]
    assert _plain_manifest(tmp_path / "two")["inputs"] == _plain_manifest(tmp_path / "one")["inputs"]


def test_counts_add_up_and_come_back_from_numbers() -> None:
    total = Counts(3, 1, 12, 0.5) + Counts(2, 0, 8, 0.25)
    assert total == Counts(5, 1, 20, 0.75)
    assert Counts.of(total.numbers()) == total


def test_failures_of_the_data_module_end_the_run_unless_they_may_be_skipped(tmp_path: Path) -> None:
    skipped = [("predict", "a/9", "truncated")]
    with pytest.raises(ValueError, match="1 items could not be exported: a/9: truncated"):
        _exporter(tmp_path).run(_batches(), skipped)
    _exporter(tmp_path, on_error="skip").run(_batches(), skipped)
    assert open_embeddings(tmp_path).manifest["failures"] == [{"id": "a/9", "reason": "truncated", "file": ""}]


def test_items_that_could_not_be_read_are_listed_and_tried_again_and_the_rest_of_their_batch_is_kept(
    tmp_path: Path,
) -> None:
    whole, broken = _batches(2)
    half = {key: value[:1] for key, value in broken.items()}
    _exporter(tmp_path, on_error="skip").run([whole, half | {"faults": {"a/3": "the server answers 503"}}])
    export = open_embeddings(tmp_path)
    assert (export.ids, export.failures) == (("a/0", "a/1", "a/2"), {"a/3": "the server answers 503"})
    _exporter(tmp_path, on_error="skip").run([{"id": ["a/0", "a/1"]}, broken])
    export = open_embeddings(tmp_path)
    assert (export.ids, export.failures) == (("a/0", "a/1", "a/2", "a/3"), {})


def test_an_export_of_nothing_but_failures_is_an_error(tmp_path: Path) -> None:
    """A catalogue that is down would leave an empty export, and the exit code 0."""
    with pytest.raises(ValueError, match="No item could be exported.*a/0: the server answers 503"):
        _exporter(tmp_path, on_error="skip").run([{"id": [], "faults": {"a/0": "the server answers 503"}}])


def test_other_settings_are_refused_and_overwrite_starts_again(tmp_path: Path) -> None:
    _exporter(tmp_path).run(_batches())
    with pytest.raises(ValueError, match=r"(?s)pooling: 'mean' -> 'max'.*overwrite: true"):
        _exporter(tmp_path, pooling="max").open()
    _exporter(tmp_path, pooling="max", overwrite=True).run(_batches(1))
    assert open_embeddings(tmp_path).ids == ("a/0", "a/1")


def test_tokens_without_a_grid_are_refused_before_anything_is_recorded(tmp_path: Path) -> None:
    def tokens_only(image: torch.Tensor, **_: Any) -> list[Features]:
        return [Features(torch.zeros(len(image), 7, 5), None, None)]

    with pytest.raises(ValueError, match=r"tokens \(2, 7, 5\) form no grid. Export output: pooled"):
        _exporter(tmp_path, tokens_only).run(_batches())
    _exporter(tmp_path / "pooled", tokens_only, output="pooled").run(_batches())
    assert len(open_embeddings(tmp_path / "pooled").ids) == 6


def test_batches_may_come_from_a_generator(tmp_path: Path) -> None:
    def generated() -> Iterator[Mapping[str, Any]]:
        yield from _batches()

    _exporter(tmp_path).run(generated())
    assert len(open_embeddings(tmp_path).ids) == 6


def test_a_batch_before_the_export_is_open_says_what_to_call(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not open. Call Exporter.open before the first batch"):
        _exporter(tmp_path).add(_batches()[0])


def test_exporting_needs_neither_lightning_nor_terratorch() -> None:
    """Ray workers and deployments import the exporter; TerraTorch alone takes 20 s."""
    code = (
        "import sys\n"
        "from eo_embed.export import exporter, facts, opening\n"
        "heavy = {'lightning', 'pytorch_lightning', 'torchgeo', 'terratorch'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603  (our own)
    assert found.stdout.strip() == "[]"
