"""Checkpoints know how they were made, ask for nothing again, and refuse data that are prepared otherwise."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from eo_data.preprocess.statistics import BandStatistics
from eo_finetune.checkpoints import BestCheckpoint, with_own_weights

Make = Callable[..., Any]


@pytest.fixture
def trained(chips: Make, recipe: Make, command: Make, tmp_path: Path) -> tuple[dict[str, Any], Path]:
    """A config and the checkpoint of its run."""
    config = recipe(chips(), data={"train_transform": None})
    config["trainer"]["max_epochs"] = 1
    config["trainer"]["callbacks"] = [{"class_path": "eo_finetune.BestCheckpoint"}]
    command("fit", config)
    return config, tmp_path / "out" / "best.ckpt"


def test_it_holds_the_config_in_plain_types_and_no_wish_for_other_weights(
    trained: tuple[dict[str, Any], Path],
) -> None:
    config, best = trained
    content = torch.load(best, weights_only=True)
    kept = yaml.safe_load(content["config"])
    assert kept["data"]["init_args"]["modalities"]["S2"]["bands"] == ["BLUE", "GREEN", "RED", "NIR_BROAD"]
    model = kept["model"]["init_args"]["model_args"]
    assert model["backbone_model_bands"] == config["model"]["init_args"]["model_args"]["backbone_model_bands"]
    assert content["hyper_parameters"]["model_args"]["backbone_pretrained"] is False
    assert not set(content["hyper_parameters"]) & {"tiled_inference_parameters", "output_on_inference", "plot_on_val"}
    assert (best.parent / "last.ckpt").is_file()


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "bands": ({"bands": ["GREEN", "BLUE", "RED", "NIR_BROAD"]}, r"modalities.S2.bands\[0\]: 'BLUE' -> 'GREEN'"),
    "statistics": (
        {"preprocess": {"means": {"S2": [0.1] * 4}, "stds": {"S2": [0.2] * 4}}},
        r"preprocess._dataset: .*",
    ),
    "normalisation": ({"preprocess": {"normalization": "unit_scale"}}, "normalization: 'thor_stats' -> 'unit_scale'"),
    "what stands for missing pixels": ({"preprocess": {"missing": "zero"}}, "missing: 'mean' -> 'zero'"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_data_that_are_prepared_otherwise_are_refused_by_name(
    name: str, trained: tuple[dict[str, Any], Path], build: Make
) -> None:
    """Fine-tuned on one normalisation and predicted with another: numbers come out, and they are wrong."""
    change, message = CHANGES[name]
    config, best = trained
    data = config["data"]["init_args"]
    if "bands" in change:
        data["modalities"]["S2"]["bands"] = change["bands"]
        config["model"]["init_args"]["model_args"]["backbone_model_bands"] = change["bands"]
    data["preprocess"]["init_args"] |= change.get("preprocess", {})
    for command in ("test", "predict"):
        run = build(config)
        with pytest.raises(ValueError, match=f"(?s)trained on other numbers than .*{message}.*allow_other_preprocess"):
            getattr(run.trainer, command)(run.task, datamodule=run.data, ckpt_path=str(best))
    data["allow_other_preprocess"] = True
    run = build(config)
    with pytest.warns(UserWarning, match="trained on other numbers"):
        run.trainer.test(run.task, datamodule=run.data, ckpt_path=str(best), verbose=False)


def test_other_files_and_the_same_statistics_elsewhere_are_no_difference(
    chips: Make, recipe: Make, build: Make, tmp_path: Path
) -> None:
    root = chips()
    accumulated = BandStatistics(("BLUE", "GREEN", "RED", "NIR_BROAD"), "reflectance")
    accumulated.update(np.random.default_rng(0).random((4, 8, 8), dtype=np.float32))
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        accumulated.write_yaml(tmp_path / folder / "statistics.yaml")
    config = recipe(root, data={"train_transform": None})
    data = config["data"]["init_args"]
    data["preprocess"]["init_args"]["statistics"] = str(tmp_path / "one" / "statistics.yaml")
    run = build(config, BestCheckpoint(dirpath=str(tmp_path)), max_epochs=1)
    run.trainer.fit(run.task, datamodule=run.data)

    (root.parent / "elsewhere").mkdir()
    for kind in ("S2", "S1", "label"):
        (root / kind).rename(root.parent / "elsewhere" / f"my_{kind}")
    for name in ("train.txt", "val.txt"):
        (root / name).rename(root.parent / "elsewhere" / name)
    data |= {"root": str(root.parent / "elsewhere"), "label": {"files": "my_label/{id}.tif", "classes": 2}}
    data["modalities"]["S2"]["files"] = "my_S2/{id}.tif"
    data["preprocess"]["init_args"]["statistics"] = str(tmp_path / "two" / "statistics.yaml")
    again = build(config)
    tested = again.trainer.test(again.task, datamodule=again.data, ckpt_path=str(tmp_path / "best.ckpt"), verbose=False)
    assert tested[0]["test/loss"] > 0


@pytest.mark.parametrize("stated", [True, None])
def test_published_weights_are_not_asked_for_again(
    stated: bool | None, chips: Make, recipe: Make, command: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained with `pretrained: true`, or with no word about it, which means the same; then there is no network."""
    import thor_terratorch_ext.backbone as thor

    asked = []
    config = recipe(chips(), data={"train_transform": None})
    model = config["model"]["init_args"]["model_args"]
    del model["backbone_pretrained"]
    model |= {} if stated is None else {"backbone_pretrained": stated}
    config["trainer"] |= {"max_epochs": 1, "callbacks": [{"class_path": "eo_finetune.BestCheckpoint"}]}
    monkeypatch.setattr(thor, "load_checkpoint", lambda *_: asked.append(1))
    command("fit", config)
    assert asked == [1]
    for name in ("validate", "test"):
        command(name, config, "--ckpt_path", str(tmp_path / "out" / "best.ckpt"))
    assert asked == [1]


def test_arguments_of_models_that_name_weights() -> None:
    entries = [{"backbone": "thor_v1_tiny", "ckpt": "a.pt"}, {"backbone": "timm_resnet18", "pretrained": True}]
    model = {"backbone": "MultiBackboneWrapper", "backbone_encoders": entries, "num_classes": 2}
    task = {"model_factory": "EncoderDecoderFactory", "model_args": model, "lr": 0.1}
    assert with_own_weights(task) == {
        "model_factory": "EncoderDecoderFactory",
        "lr": 0.1,
        "model_args": {
            "backbone": "MultiBackboneWrapper",
            "backbone_encoders": [
                {"backbone": "thor_v1_tiny", "ckpt": None},
                {"backbone": "timm_resnet18", "pretrained": False},
            ],
            "num_classes": 2,
            "backbone_pretrained": False,
        },
    }
    assert entries[1]["pretrained"] is True  # the task itself keeps its own
    unet = {"model_factory": "SMPModelFactory", "model_args": {"backbone": "resnet34"}}
    assert with_own_weights(unet)["model_args"] == {"backbone": "resnet34", "pretrained": False}
    other = {"model_factory": "EncoderDecoderFactory", "model_args": {"backbone": "my_own", "backbone_ckpt": "x"}}
    assert with_own_weights(other)["model_args"] == {"backbone": "my_own", "backbone_ckpt": None}
    assert with_own_weights({"backbone": "x"}) == {"backbone": "x"}


@pytest.mark.parametrize(
    "name",
    ["thor_v1_base", "terratorch_thor_v1_base", "thor_vit_base_encoder_alibi_patch_size_embed_v1", "terratorch_anysat"],
)
def test_no_name_of_a_backbone_makes_a_reloaded_checkpoint_ask_for_published_weights(name: str) -> None:
    """The long published names did: they load weights unless they are told not to, and nothing told them."""
    import anysat_ext
    import thor_terratorch_ext  # noqa: F401

    assert anysat_ext.AnySatBackbone.pretrained_by_default
    task = {"model_factory": "EncoderDecoderFactory", "model_args": {"backbone": name}}
    assert with_own_weights(task)["model_args"] == {"backbone": name, "backbone_pretrained": False}


def test_how_to_infer_is_said_by_the_config_of_the_day(
    trained: tuple[dict[str, Any], Path], command: Make, tmp_path: Path
) -> None:
    config, best = trained
    config["model"]["init_args"] |= {
        "output_on_inference": "probabilities",
        "tiled_inference_parameters": {"crop": 48, "stride": 16},
    }
    config["trainer"]["callbacks"] = [{"class_path": "eo_finetune.LabelMapWriter"}]
    cli = command("predict", config, "--ckpt_path", str(best), "--predict_output_dir", str(tmp_path / "maps"))
    assert cli.model.tiled_inference_parameters["crop"] == 48
    assert {path.name.rpartition("_")[2] for path in (tmp_path / "maps").rglob("*.tif")} == {"probabilities.tif"}


def test_weights_that_are_no_numbers_give_no_maps(
    trained: tuple[dict[str, Any], Path], command: Make, tmp_path: Path
) -> None:
    """They gave class 0 everywhere, and exit code 0. A logit may also become infinite by itself."""
    config, best = trained
    config["trainer"]["callbacks"] = [{"class_path": "eo_finetune.LabelMapWriter"}]
    content = torch.load(best, weights_only=True)
    name = next(name for name in content["state_dict"] if name.startswith("model.head.") and name.endswith("bias"))
    for value, message in (
        (torch.nan, f"best.ckpt is not loaded: 1 weights hold NaN or infinity: {name}"),
        (3e38, "output is NaN or infinite for the samples India_SYN06, Mekong_SYN07. The weights are finite"),
    ):
        content["state_dict"][name][:] = value
        if value == 3e38:
            content["state_dict"][name.replace("bias", "weight")][:] = value
        torch.save(content, best)
        with pytest.raises(ValueError, match=message):
            command("predict", config, "--ckpt_path", str(best), "--predict_output_dir", str(tmp_path / "maps"))
        assert not list((tmp_path / "maps").rglob("*.tif"))


def test_checkpoints_of_another_config_are_kept_and_those_of_the_same_replaced(
    trained: tuple[dict[str, Any], Path], command: Make
) -> None:
    """A run with a tenth of the labels must not overwrite the one with all of them."""
    config, best = trained
    before = best.read_bytes()

    def there() -> list[str]:
        return sorted(path.name for path in best.parent.glob("*.ckpt"))

    command("fit", config)
    assert there() == ["best.ckpt", "last.ckpt"]
    config["data"]["init_args"]["train_fraction"] = 0.5
    command("fit", config, "--trainer.fast_dev_run", "1")
    assert there() == ["best.ckpt", "last.ckpt"]
    with pytest.warns(UserWarning, match=r"held checkpoints of another config. .* called best-1.ckpt, last-1.ckpt"):
        command("fit", config)
    assert there() == ["best-1.ckpt", "best.ckpt", "last-1.ckpt", "last.ckpt"]
    assert len((best.parent / "best-1.ckpt").read_bytes()) == len(before)
    config["trainer"]["max_epochs"] = 2
    command("fit", config, "--ckpt_path", str(best.parent / "last.ckpt"))
    assert there() == ["best-1.ckpt", "best.ckpt", "last-1.ckpt", "last.ckpt"]
    best.write_bytes(b"not a checkpoint")
    command("fit", config)
    assert there() == ["best-1.ckpt", "best-2.ckpt", "best.ckpt", "last-1.ckpt", "last-2.ckpt", "last.ckpt"]
    assert (best.parent / "best-2.ckpt").read_bytes() == b"not a checkpoint"


def test_classes_plots_and_frozen_adapters_are_looked_at_before_a_run(
    chips: Make, recipe: Make, build: Make, tmp_path: Path
) -> None:
    from lightning.pytorch.loggers import TensorBoardLogger

    config = recipe(chips(), model={"num_classes": 3}, task={"class_names": None})
    run = build(config)
    with pytest.raises(ValueError, match="label.classes of the data 2, num_classes of the model 3"):
        run.trainer.fit(run.task, datamodule=run.data)
    # TerraTorch asks the data module for a picture in `test`, unless it is told otherwise.
    run = build(recipe(chips(), task={"plot_on_val": 1}), logger=TensorBoardLogger(str(tmp_path)))
    run.trainer.test(run.task, datamodule=run.data, verbose=False)


@pytest.mark.filterwarnings("ignore:This export takes block")  # behind those that were trained, on purpose
def test_an_export_takes_the_encoder_of_a_fine_tuned_checkpoint_and_not_its_task(
    chips: Make, recipe: Make, command: Make, tmp_path: Path
) -> None:
    from eo_embed import EmbeddingTask, open_embeddings

    config = recipe(chips(), data={"train_transform": None}, task={"freeze_backbone": False})
    config["trainer"] |= {"max_epochs": 1, "callbacks": [{"class_path": "eo_finetune.BestCheckpoint"}]}
    command("fit", config)
    best = tmp_path / "out" / "best.ckpt"
    model = config["model"]["init_args"]["model_args"]
    arguments = {"pretrained": False, "input_gsd": 10} | {
        name: model[f"backbone_{name}"] for name in ("model_bands", "input_params")
    }
    config["model"] = {
        "class_path": "eo_embed.EmbeddingTask",
        "init_args": {"backbone": "thor_v1_tiny", "backbone_args": arguments, "out": str(tmp_path / "export")},
    }
    config["trainer"]["callbacks"] = [{"class_path": "eo_embed.ExpectEmbeddings"}]
    with pytest.raises(ValueError, match="the task is SemanticSegmentationTask: --ckpt_path brings the task of its"):
        command("predict", config, "--ckpt_path", str(best))
    assert not (tmp_path / "export").exists()

    arguments["ckpt"] = str(best)
    cli = command("predict", config)
    assert isinstance(cli.model, EmbeddingTask)
    tuned = torch.load(best, weights_only=True)["state_dict"]
    exported = cli.model._extractor().backbone.state_dict()
    assert exported.keys() == {k.removeprefix("model.encoder.") for k in tuned if k.startswith("model.encoder.")}
    for key, value in exported.items():
        assert torch.equal(value, tuned[f"model.encoder.{key}"]), key
    assert len(open_embeddings(tmp_path / "export").ids) == 2


def test_an_export_gets_the_numbers_that_its_checkpoint_was_trained_on(
    trained: tuple[dict[str, Any], Path], command: Make, tmp_path: Path
) -> None:
    """Other bands, another normalisation, or blocks behind the trained ones: the vectors mean nothing."""
    config, best = trained
    content = torch.load(best, weights_only=True)
    content["hyper_parameters"]["freeze_backbone"] = False
    torch.save(content, best)
    model = config["model"]["init_args"]["model_args"]
    names = ("model_bands", "input_params", "input_gsd")
    arguments = {"pretrained": False, "ckpt": str(best)} | {name: model[f"backbone_{name}"] for name in names}
    task = {"backbone": "thor_v1_tiny", "backbone_args": arguments, "out": str(tmp_path / "export"), "layers": [3]}
    config["model"] = {"class_path": "eo_embed.EmbeddingTask", "init_args": task}
    config["trainer"]["callbacks"] = []
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*fine-tuned up to block.*")
        command("predict", config)
    task |= {"layers": [-1], "out": str(tmp_path / "last")}
    with pytest.warns(UserWarning, match=r"takes block 11, but .*best.ckpt was fine-tuned up to block 3 .*layers: .3."):
        command("predict", config)
    task |= {"layers": [3], "out": str(tmp_path / "other")}
    data = config["data"]["init_args"]
    data["preprocess"]["init_args"]["normalization"] = "unit_scale"
    with pytest.raises(ValueError, match="trained on other numbers than .*normalization: 'thor_stats' -> 'unit_scale'"):
        command("predict", config)
    assert not (tmp_path / "other").exists()
    data["allow_other_preprocess"] = True
    with pytest.warns(UserWarning, match="trained on other numbers"):
        command("predict", config)
