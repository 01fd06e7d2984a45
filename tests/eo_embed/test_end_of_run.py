"""SIGTERM, as batch systems send it, ends an export like Ctrl-C: not with code 0, and nothing is lost."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

import eo_embed
from eo_data.datamodules import ChipDataModule
from tests.faults.runs.export import CHIPS, Plan, StandIn, data_of, make_data


class Encoder(StandIn):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(1, 1)
        nn.init.zeros_(self.backbone.weight)
        nn.init.zeros_(self.backbone.bias)


class StopAfter(Callback):
    """Sends the signal after a batch, and keeps on sending, as nothing may happen twice."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_predict_batch_end(self, trainer: Trainer, pl_module: LightningModule, *arguments: Any) -> None:
        if arguments[2] == self.batch:
            os.kill(os.getpid(), signal.SIGTERM)


def predict(plan: Plan, *callbacks: Callback, workers: int = 0) -> None:
    plain = data_of(plan.root)
    data = ChipDataModule(
        str(plan.root), plain.modalities, plain.preprocess, index="index.csv", batch_size=2, num_workers=workers
    )
    task = eo_embed.EmbeddingTask("stand_in", {}, str(plan.out), output="both")
    quiet: dict[str, Any] = {"enable_progress_bar": False, "logger": False, "enable_checkpointing": False}
    Trainer(accelerator="cpu", callbacks=list(callbacks), default_root_dir=plan.root, **quiet).predict(task, data)


@pytest.mark.parametrize("workers", [0, 1])
def test_sigterm_stops_a_run_and_the_next_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr("eo_embed.task.FeatureExtractor", lambda *_: Encoder())
    plan = Plan(make_data(tmp_path / "chips"), tmp_path / "out")
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        predict(plan, StopAfter(1), workers=workers)
    assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == before
    assert not (plan.out / ".lock").exists()
    with pytest.raises(ValueError, match="incomplete"):
        eo_embed.open_embeddings(plan.out)
    assert len(eo_embed.open_embeddings(plan.out, allow_incomplete=True).ids) == 4
    predict(plan, workers=workers)
    export = eo_embed.open_embeddings(plan.out)
    assert len(export.ids) == CHIPS
    assert (export.manifest["counts"]["done"], export.manifest["counts"]["skipped"]) == (4, 4)


def test_an_error_gives_the_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eo_embed.task.FeatureExtractor", lambda *_: Encoder())
    plan = Plan(make_data(tmp_path / "chips"), tmp_path / "out")

    class Broken(Callback):
        def on_predict_batch_end(self, *_: Any) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        predict(plan, Broken())
    assert not (plan.out / ".lock").exists()
    predict(plan)
