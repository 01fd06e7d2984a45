"""A run whose numbers are none ends with an error that names the samples, and one that is told to stop says so."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import nn
from torch.utils.data import DataLoader

from eo_data.dataset.loading.split_loaders import explain_lost_worker
from eo_finetune.checkpoints import BestCheckpoint
from eo_finetune.guard import RunGuard, guard
from eo_models.weights.checkpoint_io import CheckedCheckpointIO

IDS = [f"chip{i}" for i in range(6)]


@dataclass
class Output:
    """What a model of TerraTorch returns."""

    output: torch.Tensor


class Model(nn.Module):
    """Two classes by pixel of the first channel."""

    def __init__(self, *, normed: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1) if normed else nn.Identity()
        self.head = nn.Conv2d(1, 2, 1)

    def forward(self, image: torch.Tensor) -> Output:
        return Output(self.head(self.norm(image)))


class Task(LightningModule):
    """As TerraTorch's: the class of the greatest logit, which is 0 for NaN."""

    def __init__(self, *, normed: bool = False) -> None:
        super().__init__()
        self.model = Model(normed=normed)
        self.shares: list[torch.Tensor] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        return self.model(batch["image"]).output.square().mean()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.log("val/loss", self.model(batch["image"]).output.mean(), batch_size=2)

    test_step = validation_step

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        return self.model(batch["image"]).output.argmax(1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.01)


def loader(spoilt: Sequence[int] = (), value: float = torch.nan, on_read: Callable[[int], None] = int) -> Any:
    """Batches of two samples; in the spoilt ones a pixel has a value that is no number."""

    def read(i: int) -> dict[str, Any]:
        on_read(i)
        image = torch.ones(1, 4, 4)
        image[0, 1, 1] = value if i in spoilt else 0.0
        return {"image": image, "id": IDS[i]}

    def both(indices: list[int]) -> dict[str, Any]:
        entries = [read(i) for i in indices]
        return {"image": torch.stack([e["image"] for e in entries]), "id": [e["id"] for e in entries]}

    return DataLoader(range(len(IDS)), batch_size=2, collate_fn=both)  # type: ignore[arg-type]


@pytest.fixture
def trainer(tmp_path: Path) -> Iterator[Callable[..., Trainer]]:
    handlers = {kind: signal.getsignal(kind) for kind in (signal.SIGTERM, signal.SIGINT)}

    def make(*callbacks: Any, **arguments: Any) -> Trainer:
        silent = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        silent |= {"max_epochs": 1, "default_root_dir": str(tmp_path), "num_sanity_val_steps": 0}
        keeps = any(isinstance(callback, BestCheckpoint) for callback in callbacks)
        return Trainer(**silent | {"enable_checkpointing": keeps} | arguments, callbacks=list(callbacks))

    yield make
    for kind, handler in handlers.items():
        signal.signal(kind, handler)


def test_a_loss_that_is_no_number_stops_training_before_it_changes_weights(trainer: Callable[..., Trainer]) -> None:
    task = Task()
    with pytest.raises(ValueError, match=r"loss is nan in epoch 0, step 1, with the samples chip2, chip3. The weights"):
        trainer(RunGuard()).fit(task, loader([3]))
    assert all(value.isfinite().all() for value in task.parameters())


def test_skip_leaves_out_the_step_and_goes_on(trainer: Callable[..., Trainer]) -> None:
    task = Task()
    run = trainer(RunGuard("skip"))
    with pytest.warns(UserWarning, match=r"Step 1 is left out: its gradients are not finite \(samples chip2, chip3\)"):
        run.fit(task, loader([3]))
    assert run.global_step == 3
    assert all(value.isfinite().all() for value in task.parameters())
    alone, others = Task(), Task()
    others.load_state_dict(alone.state_dict())
    with pytest.warns(UserWarning, match="left out"):
        trainer(RunGuard("skip"), accumulate_grad_batches=3).fit(alone, loader([0]))
    assert torch.equal(alone.model.head.weight, others.model.head.weight)
    with pytest.raises(ValueError, match="on_nan must be one of raise, skip, got 'warn'"):
        RunGuard("warn")  # type: ignore[arg-type]


def test_skip_does_not_hide_running_means_that_are_spoilt(trainer: Callable[..., Trainer]) -> None:
    """Every later validation would be NaN, and the checkpoint of no use."""
    with pytest.raises(ValueError, match=r"samples chip2, chip3 gave NaN or infinity, .* now in model.norm.running_me"):
        trainer(RunGuard("skip")).fit(Task(normed=True), loader([3]))


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_an_output_that_is_no_number_is_no_class_0(command: str, trainer: Callable[..., Trainer]) -> None:
    task = Task()
    run = trainer(RunGuard())
    with pytest.raises(ValueError, match=r"output is NaN or infinite for the samples chip3. The weights are finite"):
        getattr(run, command)(task, loader([3]))
    assert not task.model._forward_hooks
    with torch.no_grad():
        task.model.head.bias[1] = torch.inf
    with pytest.raises(ValueError, match=r"samples chip0, chip1. 1 weights are not finite either \(model.head.bias\)"):
        getattr(run, command)(task, loader())


def test_a_class_that_is_excluded_by_negative_infinity_is_fine(trainer: Callable[..., Trainer]) -> None:
    task = Task()
    with torch.no_grad():
        task.model.head.bias[1] = -torch.inf
    assert len(trainer(RunGuard()).predict(task, loader()) or []) == 3


def test_checkpoints_of_a_run_bring_the_guard_and_are_checked_when_they_are_loaded(
    trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    """NaN weights by --ckpt_path: four maps, all of class 0, and exit code 0."""
    run = trainer(BestCheckpoint("val/loss"))
    run.fit(Task(), loader(), loader())
    assert isinstance(run.strategy.checkpoint_io, CheckedCheckpointIO)
    assert [type(callback) for callback in run.callbacks].count(RunGuard) == 1  # type: ignore[attr-defined]
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    content["state_dict"]["model.head.bias"][0] = torch.nan
    torch.save(content, tmp_path / "nan.ckpt")
    for command in ("validate", "test", "predict"):
        with pytest.raises(ValueError, match="nan.ckpt is not loaded: 1 weights hold NaN or infinity: model.head.bias"):
            getattr(trainer(BestCheckpoint("val/loss")), command)(
                Task(), loader(), ckpt_path=str(tmp_path / "nan.ckpt")
            )


def test_what_a_killed_run_left_half_written_is_removed(trainer: Callable[..., Trainer], tmp_path: Path) -> None:
    (tmp_path / ".partial-0-last.ckpt").write_bytes(b"half")
    trainer(BestCheckpoint("val/loss")).fit(Task(), loader(), loader())
    assert {path.name for path in tmp_path.iterdir()} == {"best.ckpt", "last.ckpt"}


def test_an_own_guard_and_an_own_plugin_stay(trainer: Callable[..., Trainer]) -> None:
    class Own(CheckedCheckpointIO):
        pass

    run, task = trainer(RunGuard("skip")), Task()
    run.strategy.checkpoint_io = own = Own(task)
    guard(run, task)
    assert run.strategy.checkpoint_io is own
    assert [c.on_nan for c in run.callbacks if isinstance(c, RunGuard)] == ["skip"]  # type: ignore[attr-defined]


class Killed(LightningDataModule):
    """A data module of somebody else, of which a process that reads is killed."""

    num_workers, batch_size = 2, 16

    def train_dataloader(self) -> Any:
        def kill(i: int) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        given = loader(on_read=kill)
        return DataLoader(given.dataset, collate_fn=given.collate_fn, num_workers=1)


class KilledOfOurs(Killed):
    def on_exception(self, exception: BaseException) -> None:
        explain_lost_worker(exception, self)


@pytest.mark.parametrize("data", [Killed, KilledOfOurs])
def test_a_killed_process_that_reads_is_told_with_its_cause_once(
    data: type[Killed], trainer: Callable[..., Trainer]
) -> None:
    """With TerraTorch's data modules, the last line was all: "DataLoader worker is killed by signal"."""
    with pytest.raises(RuntimeError, match="DataLoader worker") as gone:
        trainer(BestCheckpoint("val/loss")).fit(Task(), datamodule=data())
    (note,) = gone.value.__notes__
    assert "memory ran out" in note
    assert r"Lower data.num_workers (2) or data.batch_size (16)," in note


def test_a_killed_process_of_a_bare_loader_is_told_without_numbers(trainer: Callable[..., Trainer]) -> None:
    with pytest.raises(RuntimeError, match="DataLoader worker") as gone:
        trainer(BestCheckpoint("val/loss")).fit(Task(), Killed().train_dataloader())
    assert "Lower num_workers or batch_size," in gone.value.__notes__[0]


@pytest.mark.parametrize("command", ["fit", "predict"])
def test_a_stop_signal_ends_a_run_with_a_code_that_says_so_and_a_checkpoint(
    command: str, trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    """Batch systems send SIGTERM; a fit ended with code 0, and a prediction went on to its end."""
    read: list[int] = []

    def stop(i: int) -> None:
        read.append(i)
        if len(read) == (9 if command == "fit" else 3):
            os.kill(os.getpid(), signal.SIGTERM)

    run = trainer(BestCheckpoint("val/loss"), max_epochs=5)
    with pytest.raises(SIGTERMException) as stopped:
        getattr(run, command)(Task(), *[loader(on_read=stop), loader()][: 2 if command == "fit" else 1])
    assert stopped.value.code == 143
    assert len(read) < 12
    if command == "fit":
        assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 0
