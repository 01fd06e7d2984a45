"""Batches hold what belongs together, also when Lightning makes the loaders anew; uneven ones do not hang a run."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from small_files import two_modalities
from torch import nn

from eo_data.datamodules import ChipDataModule
from eo_data.dataset.loading.split_loaders import Run, SplitLoaders

Make = Callable[..., ChipDataModule]


Chips = Callable[..., Path]


WriteTif = Callable[..., Path]


def test_a_loader_before_setup_is_refused(chip_module: Make) -> None:
    for split in ("train", "val", "test", "predict"):
        with pytest.raises(ValueError, match=f"Call setup before the data loader of '{split}'"):
            getattr(chip_module(Path("x")), f"{split}_dataloader")()
    with pytest.raises(ValueError, match="split must be one of train, val, test, predict, got 'all'"):
        chip_module(Path("x")).dataset("all")


def test_batches_leave_a_missing_modality_out(chips: Chips, chip_module: Make, write_tif: WriteTif) -> None:
    root = chips(["a", "b", "c", "d", "e"])
    module = chip_module(root, modalities=two_modalities(root, write_tif, "bd"))
    module.setup("predict")
    batches = list(module.predict_dataloader())
    found = sorted(
        (sorted(batch["image"]), "".join(Path(name).name[0] for name in batch["filename"])) for batch in batches
    )
    assert found == [(["S1", "S2"], "bd"), (["S2"], "ac"), (["S2"], "e")]
    assert len(module.predict_dataloader()) == 3


def test_lightning_predicts_with_batches_of_equal_modalities(
    chips: Chips, chip_module: Make, write_tif: WriteTif
) -> None:
    """To predict, Lightning makes the batch sampler anew, with arguments of its own choice."""

    class Names(pl.LightningModule):
        def predict_step(self, batch: dict[str, Any], _: int) -> list[str]:
            return [Path(name).name[0] for name in batch["filename"]]

    root = chips(["a", "b", "c", "d", "e"])
    module = chip_module(root, modalities=two_modalities(root, write_tif, "bd"))
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    assert sorted(trainer.predict(Names(), datamodule=module) or []) == [["a", "c"], ["b", "d"], ["e"]]
    direct = trainer.predict(Names(), dataloaders=module.predict_dataloader())
    assert sorted(direct or []) == [["a", "c"], ["b", "d"], ["e"]]


def test_batches_of_an_export_are_as_large_as_their_memory_lets_them_be(chips: Chips, chip_module: Make) -> None:
    class Plain(pl.LightningModule):
        def predict_step(self, batch: dict[str, Any], _: int) -> int:
            return len(batch["filename"])

    class Sizes(Plain):
        def encode(self, batch: dict[str, Any]) -> Any:
            return batch["image"] + 1

    root = chips(["a", "b", "c", "d", "e"])
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(accelerator="cpu", enable_model_summary=False, **quiet)
    module = chip_module(root, batch_size=1, num_workers=0, batch_memory="1 GB")
    assert trainer.predict(Sizes(), datamodule=module) == [5]
    batch = next(iter(module.predict_dataloader()))
    # A chip, what is made of it, and the masks and places that go along.
    each = sum(own.nbytes for own in (*batch.values(), batch["image"]) if isinstance(own, torch.Tensor)) // 5
    module = chip_module(root, batch_size=1, num_workers=0, batch_memory=2 * each + each // 2)
    assert trainer.predict(Sizes(), datamodule=module) == [2, 2, 1]
    with pytest.raises(ValueError, match="batch_memory is .*, and the encoder takes .* for a single sample"):
        trainer.predict(Sizes(), datamodule=chip_module(root, batch_memory=each // 2))
    with pytest.raises(ValueError, match=r"batch_memory \(1 GB\) is for exports by eo_embed.EmbeddingTask"):
        trainer.predict(Plain(), datamodule=chip_module(root, batch_memory="1 GB"))
    with pytest.raises(ValueError, match="batch_memory must be a number of bytes"):
        chip_module(root, batch_memory="plenty")


def test_tiles_are_blended_by_tasks_that_export_embeddings_alone(chips: Chips, chip_module: Make) -> None:
    """Classes cannot be averaged, and a writer of label maps would take the cores and say nothing."""

    class Maps(pl.LightningModule):
        def predict_step(self, batch: dict[str, Any], _: int) -> None:
            pass

    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(accelerator="cpu", enable_model_summary=False, **quiet)
    module = chip_module(chips(["a"]), tile=64, tile_align=16, halo=16, blend="feather")
    with pytest.raises(ValueError, match="blend: feather is for exports by eo_embed.EmbeddingTask, and this is Maps"):
        trainer.predict(Maps(), datamodule=module)


def test_unequal_batches_of_several_processes_are_refused(chips: Chips, chip_module: Make, write_tif: WriteTif) -> None:
    root = chips()
    module = chip_module(root, modalities=two_modalities(root, write_tif, "bd"))
    module.setup("fit")

    class Trainer:
        world_size = 2

    module.trainer = Trainer()  # type: ignore[assignment]
    with pytest.raises(ValueError, match="With several processes.*missing_modality: zeros"):
        module.train_dataloader()


# The run


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


@pytest.mark.parametrize("end", ["is killed by signal: Killed.", "exited unexpectedly"])
def test_a_killed_process_that_reads_is_told_with_its_cause(end: str) -> None:
    """PyTorch names the number of the process alone, and neither memory nor num_workers."""
    error = RuntimeError(f"DataLoader worker (pid(s) 21155) {end}")
    loaders = SplitLoaders()
    loaders.num_workers, loaders.batch_size = 6, 32
    loaders.on_exception(error)
    assert re.search(r"memory ran out.* Lower data.num_workers \(6\) or data.batch_size \(32\)", error.__notes__[0])
    other = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    loaders.on_exception(other)
    assert not hasattr(other, "__notes__")
