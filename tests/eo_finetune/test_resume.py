"""A run that goes on from a checkpoint has the losses of one that was never interrupted."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eo_data.dataset.sampler import ShuffleByEpoch
from eo_finetune import BestCheckpoint, SeedByEpoch

Make = Callable[..., Any]
KEPT = [
    {"class_path": "eo_finetune.BestCheckpoint", "init_args": {"monitor": "val/loss", "mode": "min"}},
    {"class_path": "eo_finetune.SeedByEpoch"},
]


def losses_in(folder: Path) -> list[float]:
    """Loss of every epoch, in order."""
    found: dict[int, float] = {}
    for file in sorted(folder.glob("**/metrics.csv")):
        with file.open(newline="") as handle:
            found |= {
                int(row["epoch"]): float(row["train/loss"]) for row in csv.DictReader(handle) if row["train/loss"]
            }
    return [found[epoch] for epoch in sorted(found)]


@pytest.mark.parametrize("workers", [0, 2])
def test_losses_go_on_as_if_nothing_had_happened(
    workers: int, chips: Make, recipe: Make, build: Make, tmp_path: Path
) -> None:
    """With flips, dropout in the head, and a backbone that trains."""
    config = recipe(chips(), data={"num_workers": workers}, task={"freeze_backbone": False})

    def run(epochs: int, **arguments: Any) -> Any:
        keep = BestCheckpoint("val/loss", "min", dirpath=str(tmp_path / "kept"))
        made = build(config, keep, SeedByEpoch(), max_epochs=epochs)
        made.trainer.fit(made.task, datamodule=made.data, **arguments)
        return made

    run(1)
    resumed = run(3, ckpt_path=str(tmp_path / "kept" / "last.ckpt"))
    whole = build(config, SeedByEpoch(), max_epochs=3)
    whole.trainer.fit(whole.task, datamodule=whole.data)
    assert {epoch for epoch, _ in resumed.losses.steps} == {1, 2}
    for key, value in resumed.losses.steps.items():
        assert value == pytest.approx(whole.losses.steps[key], abs=1e-6), key
    assert len(set(whole.losses.steps.values())) == 6


def test_the_command_line_resumes_too(chips: Make, recipe: Make, command: Make, tmp_path: Path) -> None:
    root = chips()
    seen = {}
    for name, epochs in (("whole", (3,)), ("parts", (1, 3))):
        config = recipe(root, data={"num_workers": 0})
        out = tmp_path / name
        logger = {"class_path": "CSVLogger", "init_args": {"save_dir": str(out), "name": "log"}}
        config["trainer"] |= {"default_root_dir": str(out), "callbacks": KEPT, "logger": [logger]}
        for i, count in enumerate(epochs):
            config["trainer"]["max_epochs"] = count
            command("fit", config, *(["--ckpt_path", str(out / "last.ckpt")] if i else []))
        seen[name] = losses_in(out)
    assert len(seen["whole"]) == len(set(seen["whole"])) == 3
    assert seen["parts"] == pytest.approx(seen["whole"], abs=1e-6)


def test_a_second_fit_in_one_process_takes_the_seed_of_the_run(chips: Make, recipe: Make, build: Make) -> None:
    """After the first epoch, torch has the seed of a step, which must not become that of the order."""
    made = build(recipe(chips()), SeedByEpoch(), max_epochs=1)
    made.trainer.fit(made.task, datamodule=made.data)
    order = made.data.train_dataloader().sampler
    assert isinstance(order, ShuffleByEpoch)
    order.set_epoch(0)
    assert list(order) == list(ShuffleByEpoch(4, 3))
