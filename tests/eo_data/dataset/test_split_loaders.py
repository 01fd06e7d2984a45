"""Batches hold what belongs together, also when Lightning makes the loaders anew; uneven ones do not hang a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_files import two_modalities

from eo_data.datamodules import ChipDataModule

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
    import lightning.pytorch as pl

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


def test_unequal_batches_of_several_processes_are_refused(chips: Chips, chip_module: Make, write_tif: WriteTif) -> None:
    root = chips()
    module = chip_module(root, modalities=two_modalities(root, write_tif, "bd"))
    module.setup("fit")

    class Trainer:
        world_size = 2

    module.trainer = Trainer()  # type: ignore[assignment]
    with pytest.raises(ValueError, match="With several processes.*missing_modality: zeros"):
        module.train_dataloader()
