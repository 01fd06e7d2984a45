"""Training from stored features is the same training; whatever changes a feature makes the encoder run again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml
from lightning.pytorch import Callback

from eo_finetune import BestCheckpoint, FrozenFeatureCache, MatmulPrecision, PredictionPanels, SeedByEpoch

Make = Callable[..., Any]
#: AnySat tiny reads Sentinel-2 and Sentinel-1 with a date each.
_S2 = ["BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3", "NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"]


class Kill(Callback):
    """Ends a run in the middle of an epoch."""

    def on_train_batch_end(self, *_: Any) -> None:
        msg = "the power failed"
        raise RuntimeError(msg)


@pytest.fixture
def encodes(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[int]]:
    """Note the size of every batch that the encoder of a run encodes."""

    def watch(run: Any) -> list[int]:
        kind, sizes = type(run.task.model.encoder), []
        original = kind.forward

        def forward(self: Any, image: Any, *further: Any, **more: Any) -> Any:
            first = next(iter(image.values())) if isinstance(image, dict) else image
            if self is run.task.model.encoder:
                sizes.append(len(first))
            return original(self, image, *further, **more)

        monkeypatch.setattr(kind, "forward", forward)
        return sizes

    return watch


def fit(run: Any, **arguments: Any) -> Any:
    run.trainer.fit(run.task, datamodule=run.data, **arguments)
    return run.losses


def check_same(one: Any, other: Any, tolerance: float = 1e-6) -> None:
    assert one.steps.keys() == other.steps.keys()
    assert len(one.steps) >= 4
    for key, value in one.steps.items():
        assert other.steps[key] == pytest.approx(value, abs=tolerance), key
    assert one.metrics
    for before, after in zip(one.metrics, other.metrics, strict=True):
        for name, value in before.items():
            assert after[name] == pytest.approx(value, abs=tolerance, nan_ok=True), name


class Pair(NamedTuple):
    """An uncached run and a cached one."""

    plain: Any
    run: Any
    encoded: list[int]


@pytest.fixture
def both(build: Make, encodes: Make, tmp_path: Path) -> Callable[..., Pair]:
    """Train without and with the cache, and compare."""

    def train(config: dict[str, Any], *callbacks: Callback, epochs: int = 2, **arguments: Any) -> Pair:
        plain = fit(build(config, SeedByEpoch(), max_epochs=epochs))
        cache = FrozenFeatureCache(str(tmp_path / "cache"), **arguments)
        run = build(config, SeedByEpoch(), cache, *callbacks, max_epochs=epochs)
        encoded = encodes(run)
        fit(run)
        check_same(plain, run.losses, 1e-6 if not arguments else 2e-2)
        return Pair(plain, run, encoded)

    return train


def cached(build: Make, config: dict[str, Any], tmp_path: Path, *callbacks: Callback, **trainer: Any) -> Any:
    settings = {"max_epochs": 1} | trainer
    return build(config, SeedByEpoch(), FrozenFeatureCache(str(tmp_path / "cache")), *callbacks, **settings)


def count(run: Any, encodes: Make) -> int:
    """How many images a run encodes."""
    encoded = encodes(run)
    fit(run)
    return sum(encoded)


# The same training


@pytest.mark.parametrize("modalities", [("S2",), ("S2", "S1")])
def test_losses_and_metrics_are_those_of_uncached_training(
    modalities: tuple[str, ...], chips: Make, recipe: Make, both: Make, tmp_path: Path
) -> None:
    pair = both(recipe(chips(), modalities), epochs=3)
    assert len(set(pair.plain.steps.values())) == 6
    # 4 chips of 8 turns and 2 chips of one, in batches of 2; no epoch encodes anything.
    assert pair.encoded == [2] * 17
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 34


def test_the_same_with_workers_several_levels_and_rare_turns(chips: Make, recipe: Make, both: Make) -> None:
    """Turns that happen once in a hundred times have to be there, too."""
    rare = [{"class_path": f"albumentations.{n}", "init_args": {"p": 0.1}} for n in ("HorizontalFlip", "VerticalFlip")]
    rare += [{"class_path": "albumentations.RandomRotate90", "init_args": {"p": 0.1}}]
    model = {
        "backbone_out_indices": [0, 1, 2, 3],
        "necks": [{"name": "LearnedInterpolateToPyramidal"}],
        "decoder": "UNetDecoder",
        "decoder_channels": [16, 8, 8, 8],
    }
    config = recipe(chips(), data={"train_transform": rare, "num_workers": 2}, model=model)
    del config["model"]["init_args"]["model_args"]["decoder_num_convs"]
    assert sum(both(config).encoded) == 34


@pytest.mark.parametrize("dates_as", ["dict", "plane"])
def test_dated_series_of_anysat(dates_as: str, chips: Make, recipe: Make, both: Make) -> None:
    root = chips(side=40)
    rows = [f"{path.stem},2019-0{i + 1}-11" for i, path in enumerate(sorted((root / "S2").iterdir()))]
    (root / "dates.csv").write_text("\n".join(["id,date", *rows]))
    config = recipe(root, ("S2", "S1"))
    data, model = config["data"]["init_args"], config["model"]["init_args"]["model_args"]
    data |= {"dates_as": dates_as, "train_transform": [{"class_path": "albumentations.HorizontalFlip"}]}
    data["modalities"]["S2"]["bands"] = _S2
    for source in data["modalities"].values():
        source |= {"dated": True, "date_index": "dates.csv"}
    data["preprocess"] = {
        "class_path": "anysat_ext.AnySatPreprocess",
        "init_args": {"patch_size": 80, "image_size": None, "normalization": "dataset"}
        | {"means": {"S2": [0.1] * 10, "S1": [-12, -20]}, "stds": {"S2": [0.1] * 10, "S1": [5, 5]}},
    }
    date = ["DATE"] if dates_as == "plane" else []
    config["model"]["init_args"]["model_args"] = {
        "backbone": "anysat_tiny",
        "backbone_pretrained": False,
        "backbone_modalities": {"S2": "s2", "S1": "s1-asc"},
        "backbone_bands": {"S2": [*_S2, *date], "S1": ["VV", "VH", *date]},
        "backbone_patch_size": 80,
        "backbone_padding": None,
        "decoder": "FCNDecoder",
        "decoder_channels": 16,
        "decoder_num_convs": 3,
        "num_classes": model["num_classes"],
        "head_dropout": 0.2,
    }
    assert sum(both(config).encoded) == 10


def test_classification_and_a_label_that_changed_in_the_index(
    chips: Make, recipe: Make, both: Make, build: Make, encodes: Make, tmp_path: Path
) -> None:
    root = chips()
    names = [path.stem for path in sorted((root / "S2").iterdir())]

    def label(first: int) -> None:
        rows = [f"{n},S2/{n}.tif,{first if i == 0 else i % 3}" for i, n in enumerate(names)]
        (root / "index.csv").write_text("\n".join(["id,S2,label", *rows]))

    label(0)
    config = recipe(root, data={"index": "index.csv", "task": "classification", "label": {"classes": 3}})
    config["model"]["class_path"] = "terratorch.tasks.ClassificationTask"
    task = config["model"]["init_args"]
    task["class_names"] = ["a", "b", "c"]
    del task["ignore_index"], task["plot_on_val"]
    model = {k: v for k, v in task["model_args"].items() if not k.startswith(("decoder", "head"))}
    task["model_args"] = model | {"decoder": "IdentityDecoder", "head_linear_after_pool": True, "num_classes": 3}
    pair = both(config)
    label(2)
    changed = fit(build(config, SeedByEpoch(), max_epochs=2))
    again = cached(build, config, tmp_path, max_epochs=2)
    encoded = count(again, encodes)
    # With the old label the losses would be those of the first run, step by step.
    assert changed.steps.keys() == pair.plain.steps.keys()
    assert max(abs(changed.steps[key] - pair.plain.steps[key]) for key in changed.steps) > 1e-3
    check_same(changed, again.losses)
    assert encoded == 8


def test_regression_of_rasters_in_half_precision(chips: Make, recipe: Make, both: Make) -> None:
    """Stored as half, computed as float: close, not equal."""
    config = recipe(chips(), data={"task": "regression", "label": {"files": "label/{id}.tif"}})
    config["model"]["class_path"] = "terratorch.tasks.PixelwiseRegressionTask"
    task = config["model"]["init_args"]
    task |= {"loss": "rmse"}
    del task["class_names"], task["model_args"]["num_classes"]
    both(config)
    pair = both(config, dtype="float16")
    assert pair.run.losses.steps != pair.plain.steps


def test_tiled_validation_is_not_cached(chips: Make, recipe: Make, both: Make, tmp_path: Path) -> None:
    tiles = {"tiled_inference_parameters": {"crop": 48, "stride": 16}, "tiled_inference_on_validation": True}
    both(recipe(chips(), task=tiles, data={"train_transform": None}))
    assert {path.parent.name for path in (tmp_path / "cache").rglob("*.safetensors")} == {"train"}


def test_pictures_of_validation_samples_have_their_images(
    chips: Make, recipe: Make, build: Make, tmp_path: Path
) -> None:
    from lightning.pytorch.loggers import TensorBoardLogger
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shapes = []
    for name in ("plain", "cached"):
        callbacks = [] if name == "plain" else [FrozenFeatureCache(str(tmp_path / "cache"))]
        logger = TensorBoardLogger(str(tmp_path), name=name, version="0")
        config = recipe(chips(), ("S2", "S1"), data={"train_transform": None})
        fit(build(config, *callbacks, PredictionPanels(2), SeedByEpoch(), max_epochs=1, logger=logger))
        events = EventAccumulator(str(tmp_path / name / "0"), size_guidance={"images": 0}).Reload()
        images = [events.Images(tag)[-1].encoded_image_string for tag in sorted(events.Tags()["images"])]
        assert images
        shapes.append(images)
    assert shapes[0] == shapes[1]


@pytest.mark.filterwarnings("ignore:.*treespec:FutureWarning")
def test_the_same_under_ddp(chips: Make, recipe: Make, both: Make) -> None:
    """DistributedDataParallel looked for the buffers of an encoder that was not there."""
    config = recipe(chips())
    config["trainer"] |= {"strategy": "ddp", "devices": 1}
    assert sum(both(config).encoded) == 34


# What is encoded again


def test_a_second_run_encodes_nothing_and_every_change_encodes_again(
    chips: Make, recipe: Make, build: Make, encodes: Make, tmp_path: Path
) -> None:
    root = chips()
    config = recipe(root, data={"train_transform": None})

    def encoded(*callbacks: Callback, **model: Any) -> int:
        config["model"]["init_args"]["model_args"] |= model
        return count(cached(build, config, tmp_path, *callbacks), encodes)

    assert encoded() == 6
    assert encoded(decoder_channels=8) == 0
    assert encoded(MatmulPrecision("highest")) == 0
    assert encoded(MatmulPrecision("medium")) == 6  # TF32 or bfloat16 where the hardware has it
    data = config["data"]["init_args"]
    # One image, then one label.
    for kind in ("S2", "label"):
        file = root / kind / "Spain_SYN01.tif"
        os.utime(file, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns + 1_000))
        assert encoded() == 1, kind
    data["label"]["remap"] = {0: 1, 1: 0, -1: -1}
    assert encoded() == 6
    data["preprocess"]["init_args"]["missing"] = "zero"
    assert encoded() == 6
    config["seed_everything"] = 4  # other random weights
    assert encoded() == 6
    assert encoded(backbone_out_indices=[2]) == 6
    assert encoded() == 0


def test_other_dates_in_the_index_are_other_features(chips: Make, recipe: Make, build: Make, tmp_path: Path) -> None:
    root = chips()
    config = recipe(root, data={"train_transform": None})
    config["data"]["init_args"]["modalities"]["S2"] |= {"dated": True, "date_index": "dates.csv"}
    folders = []
    for day in ("2019-01-01", "2019-07-01"):
        (root / "dates.csv").write_text("\n".join(["id,date", *[f"{p.stem},{day}" for p in (root / "S2").iterdir()]]))
        fit(cached(build, config, tmp_path))
        folders.append(len(list((tmp_path / "cache").iterdir())))
    assert folders == [1, 2]


# Checkpoints, exceptions, restarts


def test_a_checkpoint_of_cached_training_is_whole_and_resumes_with_its_own_weights(
    chips: Make, recipe: Make, build: Make, encodes: Make, tmp_path: Path
) -> None:
    """When training goes on, the model is built with random weights first; those must not be encoded with."""
    config = recipe(chips())
    keep = lambda: BestCheckpoint(dirpath=str(tmp_path / "kept"))  # noqa: E731
    whole = cached(build, config, tmp_path, BestCheckpoint(dirpath=str(tmp_path / "whole")), max_epochs=3)
    fit(whole)
    fit(cached(build, config, tmp_path, keep(), max_epochs=2))
    last = tmp_path / "kept" / "last.ckpt"

    other = config | {"seed_everything": 99}
    plain = build(other, max_epochs=3)
    metrics = plain.trainer.test(plain.task, datamodule=plain.data, ckpt_path=str(last), verbose=False)
    assert metrics[0]["test/loss"] > 0
    state = torch.load(last, weights_only=True)["state_dict"]
    for key, value in whole.task.model.encoder.state_dict().items():
        assert torch.equal(state[f"model.encoder.{key}"], value), key

    resumed = cached(build, other, tmp_path, keep(), max_epochs=3)
    resumed.data._seed = 3  # the order of the run that goes on; the weights are those of the checkpoint
    _seeds_of(resumed)._seed = _seeds_of(whole)._seed
    encoded = encodes(resumed)
    fit(resumed, ckpt_path=str(last))
    assert encoded == []
    assert resumed.losses.steps
    for key, value in resumed.losses.steps.items():
        assert value == pytest.approx(whole.losses.steps[key], abs=1e-6)


def _seeds_of(run: Any) -> Any:
    return next(callback for callback in run.trainer.callbacks if isinstance(callback, SeedByEpoch))


def test_an_exception_leaves_the_encoder_as_it_was(chips: Make, recipe: Make, build: Make, tmp_path: Path) -> None:
    run = cached(build, recipe(chips(), data={"train_transform": None}), tmp_path, Kill())
    encoder = run.task.model.encoder
    with pytest.raises(RuntimeError, match="the power failed"):
        fit(run)
    assert run.task.model.encoder is encoder


def test_a_run_that_died_while_encoding_goes_on_where_it_was(
    chips: Make, recipe: Make, build: Make, encodes: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import eo_finetune.cache.dataset as stored

    config = recipe(chips(), data={"train_transform": None})
    save, written = stored.save_file, []

    def dying(tensors: Any, file: Path, notes: Any) -> None:
        if len(written) == 3:
            Path(file).write_bytes(b"half of a file")
            msg = "killed"
            raise KeyboardInterrupt(msg)
        written.append(file)
        save(tensors, file, notes)

    monkeypatch.setattr(stored, "save_file", dying)
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        fit(cached(build, config, tmp_path))
    monkeypatch.setattr(stored, "save_file", save)
    plain = fit(build(config, SeedByEpoch(), max_epochs=2))
    run = cached(build, config, tmp_path, max_epochs=2)
    assert count(run, encodes) == 3
    check_same(plain, run.losses)


def test_a_lost_file_is_named(chips: Make, recipe: Make, build: Make, tmp_path: Path) -> None:
    class Lose(Callback):
        def on_train_start(self, *_: Any) -> None:
            shutil.rmtree(tmp_path / "cache")

    run = cached(build, recipe(chips(), data={"train_transform": None}), tmp_path, Lose(), num_sanity_val_steps=0)
    with pytest.raises(ValueError, match="has lost .*safetensors of sample .*_SYN.*Start the run again"):
        fit(run)


def test_the_callback_is_found_by_its_path(chips: Make, recipe: Make, command: Make, tmp_path: Path) -> None:
    config = recipe(chips(), data={"train_transform": None})
    config["trainer"] |= {"max_epochs": 1, "enable_checkpointing": False}
    path = str(tmp_path / "cache")
    config["trainer"]["callbacks"] = [{"class_path": "eo_finetune.FrozenFeatureCache", "init_args": {"folder": path}}]
    command("fit", yaml.safe_load(yaml.safe_dump(config)))
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 6
