"""A command that would score or map random weights says so: its numbers look right, and mean nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Make = Callable[..., Any]


@pytest.fixture
def config(chips: Make, recipe: Make) -> dict[str, Any]:
    config = recipe(chips(), data={"train_transform": None})
    names = ("BestCheckpoint", "MetricsTable", "LabelMapWriter")
    config["trainer"] |= {"max_epochs": 1, "callbacks": [{"class_path": f"eo_finetune.{name}"} for name in names]}
    return config


@pytest.mark.parametrize("name", ["validate", "test", "predict"])
def test_a_command_without_checkpoint_does_not_score_random_weights(
    name: str, config: dict[str, Any], command: Make, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=f"{name} has no trained weights: .*--ckpt_path FILE .train first: fit writes"):
        command(name, config)
    assert not list(out.rglob("*_metrics.*"))
    assert not list(out.rglob("*.tif"))
    command("fit", config)
    with pytest.raises(ValueError, match="--ckpt_path FILE .*out/best.ckpt, .*out/last.ckpt"):
        command(name, config)
    command(name, config, "--ckpt_path", str(out / "best.ckpt"))
    wanted = {"validate": "val_metrics.md", "test": "test_metrics.md", "predict": "maps/*.tif"}
    assert list(out.glob(wanted[name]))


def test_random_weights_are_scored_where_they_are_asked_for(
    config: dict[str, Any], command: Make, tmp_path: Path
) -> None:
    """As the error says it, on the command line; and by a program, which may have loaded weights itself."""
    command("test", config, "--trainer.callbacks+=eo_finetune.RunGuard", "--trainer.callbacks.untrained=true")
    assert (tmp_path / "out" / "test_metrics.md").is_file()


def test_a_program_may_bring_weights_of_its_own(config: dict[str, Any], build: Make) -> None:
    from eo_finetune import RunGuard

    run = build(config, RunGuard())
    run.trainer.test(run.task, datamodule=run.data, verbose=False)


def test_what_a_command_has_fitted_is_tested_after_it(config: dict[str, Any], command: Make) -> None:
    cli = command("fit", config)
    cli.trainer.test(cli.model, datamodule=cli.datamodule, verbose=False)
