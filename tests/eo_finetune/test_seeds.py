"""Random numbers of a step follow from the seed of the run, the epoch, the step and the process alone."""

from __future__ import annotations

import torch

from eo_finetune import SeedByEpoch


def test_every_step_epoch_and_process_has_a_seed_of_its_own() -> None:
    class Trainer:
        current_epoch, global_rank = 0, 0

    callback, trainer = SeedByEpoch(), Trainer()
    torch.manual_seed(5)
    callback.setup(trainer, None, "fit")  # type: ignore[arg-type]
    seeds = []
    for trainer.current_epoch in range(3):
        for trainer.global_rank in range(3):
            for step in range(3):
                callback.on_train_batch_start(trainer, None, None, step)  # type: ignore[arg-type]
                seeds.append(torch.initial_seed())
    assert len(set(seeds)) == 27
    callback.setup(trainer, None, "fit")  # type: ignore[arg-type]
    trainer.current_epoch = trainer.global_rank = 0
    callback.on_train_batch_start(trainer, None, None, 0)  # type: ignore[arg-type]
    assert torch.initial_seed() == seeds[0]
