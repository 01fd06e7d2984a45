"""A command that would score or map random weights says so: its numbers look right, and mean nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Make = Callable[..., Any]


def _told(run: Callable[[], object]) -> list[str]:
    """What a run says of random weights."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        run()
    return [text for one in seen if "trained weights" in (text := str(one.message)) or "random decoder" in text]


@pytest.fixture
def config(chips: Make, recipe: Make) -> dict[str, Any]:
    config = recipe(chips(), data={"train_transform": None})
    names = ("BestCheckpoint", "MetricsTable", "LabelMapWriter")
    config["trainer"] |= {"max_epochs": 1, "callbacks": [{"class_path": f"eo_finetune.{name}"} for name in names]}
    return config


@pytest.mark.parametrize("name", ["validate", "test", "predict"])
def test_a_command_without_checkpoint_says_that_its_results_are_of_random_weights(
    name: str, config: dict[str, Any], command: Make, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = f"{name} has no trained weights: .*--ckpt_path FILE .train first: fit writes"
    with pytest.warns(UserWarning, match="results are of a random decoder"), pytest.warns(UserWarning, match=first):
        command(name, config)
    command("fit", config)
    with pytest.warns(UserWarning, match="--ckpt_path FILE .*out/best.ckpt, .*out/last.ckpt"):
        command(name, config)
    assert _told(lambda: command(name, config, "--ckpt_path", str(out / "best.ckpt"))) == []
    wanted = {"validate": "val_metrics.md", "test": "test_metrics.md", "predict": "maps/*.tif"}
    assert list(out.glob(wanted[name]))


def test_nothing_is_said_where_random_weights_are_meant(config: dict[str, Any], command: Make, tmp_path: Path) -> None:
    """As the warning says it, on the command line."""
    meant = ("--trainer.callbacks+=eo_finetune.RunGuard", "--trainer.callbacks.untrained=true")
    assert _told(lambda: command("test", config, *meant)) == []
    assert (tmp_path / "out" / "test_metrics.md").is_file()


def test_a_program_may_bring_weights_of_its_own(config: dict[str, Any], build: Make) -> None:
    from eo_finetune import RunGuard

    run = build(config, RunGuard())
    assert _told(lambda: run.trainer.test(run.task, datamodule=run.data, verbose=False)) == []


def test_what_a_command_has_fitted_is_tested_after_it(config: dict[str, Any], command: Make) -> None:
    cli = command("fit", config)
    assert _told(lambda: cli.trainer.test(cli.model, datamodule=cli.datamodule, verbose=False)) == []
