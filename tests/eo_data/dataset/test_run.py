"""What a run says is asked of the trainer in one place, and a data module without one gets along."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest
from torch import nn

from eo_data.dataset.run import Run


class _Strict(nn.Module):
    def forward(self, image: Any) -> Any:
        return image


class _Lenient(nn.Module):
    def forward(self, image: Any, **_: Any) -> Any:
        return image


class _Task(pl.LightningModule):
    def __init__(self, model: nn.Module, tiled: object = None) -> None:
        super().__init__()
        self.model, self.tiled_inference_parameters = model, tiled


class _Keeps(pl.Callback):
    keeps_georeference = True


def _run(task: _Task, *callbacks: pl.Callback) -> Run:
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, callbacks=[*callbacks]
    )
    trainer.strategy.connect(task)
    return Run(trainer)


def test_without_a_trainer_nothing_is_known() -> None:
    run = Run(None)
    assert (run.task, run.processes, run.epoch, run.infers_by_tiles) == (None, 1, 0, False)
    assert run.takes_georeference


@pytest.mark.parametrize(
    ("model", "kept", "expected"), [(_Strict, False, False), (_Lenient, False, True), (_Strict, True, True)]
)
def test_the_georeference_goes_along_only_where_it_does_no_harm(
    model: type[nn.Module], kept: bool, expected: bool
) -> None:
    assert _run(_Task(model()), *([_Keeps()] if kept else [])).takes_georeference is expected


def test_the_task_the_tiles_and_the_epoch_are_those_of_the_trainer() -> None:
    task = _Task(_Lenient(), SimpleNamespace(h_crop=64))
    run = _run(task)
    assert run.task is task
    assert run.infers_by_tiles
    assert not _run(_Task(_Lenient())).infers_by_tiles
    assert (run.processes, run.epoch) == (1, 0)
    assert run.trainer is not None
    run.trainer.fit_loop.epoch_progress.current.processed = 3  # type: ignore[attr-defined]
    assert run.epoch == 3
