"""Random numbers of a run that goes on from a checkpoint."""

from __future__ import annotations

import hashlib

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class SeedByEpoch(Callback):
    """Seed torch at every training step, from the seed of the run, the epoch, the step and the process.

    Dropout then draws the same numbers in a run that goes on from a checkpoint as in one that was never interrupted,
    whatever else draws numbers in between (data loaders do when they start).
    The order of the samples and their transforms follow the epoch by themselves
    (`eo_data.dataset.sampler.ShuffleByEpoch`).
    """

    def __init__(self) -> None:
        self._seed: int | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Note the seed of the run, once: afterwards torch has that of a step."""
        if self._seed is None:
            self._seed = torch.initial_seed()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int) -> None:
        """Seed the step."""
        place = f"{self._seed} {trainer.current_epoch} {batch_idx} {trainer.global_rank}"
        torch.manual_seed(int.from_bytes(hashlib.sha256(place.encode()).digest()[:7]))
