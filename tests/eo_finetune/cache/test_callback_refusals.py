"""What cannot be cached is refused before anything is encoded, with what to do instead."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from eo_finetune import FrozenFeatureCache

Make = Callable[..., Any]


def fit(run: Any) -> None:
    run.trainer.fit(run.task, datamodule=run.data)


def cached(build: Make, config: dict[str, Any], tmp_path: Path) -> Any:
    return build(config, FrozenFeatureCache(str(tmp_path / "cache")), max_epochs=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"data": {"train_transform": [{"class_path": "albumentations.RandomCrop", "init_args": {"height": 32}}]}},
            "the transforms have RandomCrop, which makes ever new images. Valid: .*D4",
        ),
        ({"task": {"freeze_backbone": False}}, "needs a frozen backbone, but [0-9]+ of its parameters train"),
    ],
)
def test_what_cannot_be_cached_is_refused(
    chips: Make, recipe: Make, build: Make, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    for step in change.get("data", {}).get("train_transform", []):
        step["init_args"]["width"] = 32
    with pytest.raises(ValueError, match=message):
        fit(cached(build, recipe(chips(), **change), tmp_path))


def test_a_model_without_encoder_or_known_backbone_is_refused(
    chips: Make, recipe: Make, build: Make, tmp_path: Path
) -> None:
    run = cached(build, recipe(chips()), tmp_path)
    run.task.hparams["model_args"].clear()
    with pytest.raises(ValueError, match="names its files by the arguments of the backbone"):
        fit(run)
    run = cached(build, recipe(chips()), tmp_path)
    run.task.model.encoder = None
    with pytest.raises(ValueError, match="needs a model with an encoder and a decoder"):
        fit(run)
    with pytest.raises(ValueError, match="dtype must be one of float32, float16, bfloat16, got 'int8'"):
        FrozenFeatureCache(dtype="int8")


def test_another_kind_of_data_is_refused(chips: Make, recipe: Make, build: Make, tmp_path: Path) -> None:
    run = cached(build, recipe(chips()), tmp_path)
    run.data.setup("fit")
    from lightning.pytorch import LightningDataModule

    class Other(LightningDataModule):
        def train_dataloader(self) -> Any:
            return run.data.train_dataloader()

        def val_dataloader(self) -> Any:
            return run.data.val_dataloader()

    with pytest.raises(ValueError, match="needs a data module of eo_data .*, got Other"):
        run.trainer.fit(run.task, datamodule=Other())


def test_tokens_that_are_no_list_of_tensors_are_refused(chips: Make, recipe: Make, build: Make, tmp_path: Path) -> None:
    run = cached(build, recipe(chips()), tmp_path)
    encoder = run.task.model.encoder
    encoder.register_forward_hook(lambda *call: tuple(call[-1]), prepend=True)
    with pytest.raises(ValueError, match="stores a list of tensors, but the backbone returns tuple"):
        fit(run)


def test_a_full_disk_is_refused_before_it_is_full(
    chips: Make, recipe: Make, build: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1_000_000))
    run = cached(build, recipe(chips()), tmp_path)
    with pytest.raises(ValueError, match=r"would need .* GB more in .*, where 0.0 GB are free \(31 images of"):
        fit(run)


def test_features_that_are_no_numbers_are_not_stored(chips: Make, recipe: Make, build: Make, tmp_path: Path) -> None:
    """A float16 ends at 65504: every epoch would train on infinity."""
    run = build(recipe(chips()), FrozenFeatureCache(str(tmp_path / "cache"), dtype="float16"), max_epochs=1)
    run.task.model.encoder.register_forward_hook(lambda *call: [level * 1e6 for level in call[-1]], prepend=True)
    with pytest.raises(
        ValueError, match="features of sample Ghana_SYN03 are NaN or infinite as torch.float16.*float32"
    ):
        fit(run)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
