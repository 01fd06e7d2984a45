"""An export that feeds a fine-tuned encoder other bands than its training did would run and mean nothing."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from eo_data.catalog.sources import ImageSource
from eo_data.dataset.facts import describe_inputs
from eo_embed.export.facts import check_same_inputs_as_training
from eo_models.weights.checkpoints import CheckpointError


def _data(*bands: str, allowed: bool = False) -> Any:
    source = ImageSource("{id}.tif", bands, "sentinel2_l2a", unit="digital_number")
    return SimpleNamespace(modalities={"s2": source}, allow_other_preprocess=allowed)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """As TerraTorch's task and our data module leave it: trained up to block 9, on red and blue."""
    content = {
        "state_dict": {"model.weight": torch.zeros(1)},
        "hyper_parameters": {"model_args": {"backbone_out_indices": [3, 9]}, "freeze_backbone": False},
        "ChipDataModule": {"facts": describe_inputs(_data("RED", "BLUE"))},
    }
    torch.save(content, tmp_path / "best.ckpt")
    return tmp_path / "best.ckpt"


@pytest.fixture(autouse=True)
def _no_other_warning() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_the_inputs_of_the_training_pass(checkpoint: Path) -> None:
    check_same_inputs_as_training(checkpoint, [9], _data("RED", "BLUE"))


def test_bands_in_another_order_are_refused_unless_allowed(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="trained on other numbers .*'RED' -> 'BLUE'.*allow_other_preprocess"):
        check_same_inputs_as_training(checkpoint, [9], _data("BLUE", "RED"))
    with pytest.warns(UserWarning, match="trained on other numbers"):
        check_same_inputs_as_training(checkpoint, [9], _data("BLUE", "RED", allowed=True))


def test_a_data_module_of_somebody_else_is_not_compared(checkpoint: Path) -> None:
    check_same_inputs_as_training(checkpoint, [9], object())


def test_blocks_that_were_not_trained_are_named(checkpoint: Path) -> None:
    with pytest.warns(UserWarning, match=r"takes block 11, but .*up to block 9 .*Export `layers: \[9\]`"):
        check_same_inputs_as_training(checkpoint, [3, 11], _data("RED", "BLUE"))


@pytest.mark.parametrize(
    "task",
    [
        {"model_args": {"backbone_out_indices": [3, 9]}, "freeze_backbone": True},
        {"model_args": {"backbone_out_indices": [-1]}},
        {"model_args": {}},
        {},
        None,
    ],
)
def test_nothing_is_said_of_blocks_where_none_was_trained_or_none_is_stated(task: object, tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "hyper_parameters": task}, tmp_path / "x.ckpt")
    check_same_inputs_as_training(tmp_path / "x.ckpt", [11], _data("BLUE"))


def test_weights_alone_know_no_training(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, tmp_path / "published.pt")
    check_same_inputs_as_training(tmp_path / "published.pt", [11], _data("BLUE"))


def test_a_broken_checkpoint_is_an_error_and_no_pass(tmp_path: Path) -> None:
    (tmp_path / "x.ckpt").write_bytes(b"half")
    with pytest.raises(CheckpointError, match="x.ckpt"):
        check_same_inputs_as_training(tmp_path / "x.ckpt", None, _data("BLUE"))
