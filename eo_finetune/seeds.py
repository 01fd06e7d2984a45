"""Random numbers of a run that goes on from a checkpoint."""

from __future__ import annotations

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class SeedByEpoch(Callback):
    """Seed torch at the start of each epoch, from the seed of the run, the epoch and the process.

    Dropout then draws the same numbers in a run that goes on from a checkpoint as in one that was never interrupted.
    The order of the samples and their transforms follow the epoch by themselves (`eo_data.sampler.ShuffleByEpoch`).
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Note the seed of the run."""
        if stage == "fit":
            self._seed = torch.initial_seed()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed the epoch."""
        torch.manual_seed((self._seed * 1_000_003 + trainer.current_epoch * 1_009 + trainer.global_rank) % 2**63)
