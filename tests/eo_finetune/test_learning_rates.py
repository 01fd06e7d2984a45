"""Layer-wise learning rates: each parameter in one group, with the rate of its depth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from eo_finetune.learning_rates import LayerwiseLearningRates, depths, layerwise_rates

RATE, DECAY = 1e-3, 0.5
S2 = ["BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3", "NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"]
DECODER = {"decoder": "FCNDecoder", "decoder_channels": 8, "decoder_num_convs": 1, "num_classes": 2}

#: By hand: how many layers from the decoder the first parameter of each part is. n layers: n + 1 before the first.
TWELVE_BLOCKS = {f"blocks.{k}.": 12 - k for k in range(12)}
STEPS = {
    "thor": {"ind_patch_embed.": 13, "band_embed.": 13, **TWELVE_BLOCKS, "norm.": 1},
    # Two blocks of the spatial encoder, two of the tile and the one that merges.
    "anysat": {
        "model.cls_token": 6,
        "projector_s2.": 6,
        "spatial_encoder.cls_token": 6,
        "predictor_blocks.0.": 5,
        "predictor_blocks.1.": 4,
        "predictor_norm.": 4,
        "model.blocks.0.": 3,
        "model.blocks.1.": 2,
        "model.blocks.2.": 1,
    },
    "timm_resnet18": {"encoder.conv1.": 5, "encoder.bn1.": 5, "layer1.": 4, "layer2.": 3, "layer3.": 2, "layer4.": 1},
    "timm_vit": {"cls_token": 13, "pos_embed": 13, "patch_embed.": 13, **TWELVE_BLOCKS},
}


@pytest.fixture
def named(model_args: dict[str, dict[str, Any]]) -> Callable[..., list[str]]:
    """Names of the parameters of a task with a model."""

    def make(kind: str, **more: Any) -> list[str]:
        from terratorch.models import EncoderDecoderFactory

        import anysat_ext
        import thor_terratorch_ext

        thor_terratorch_ext.register()
        anysat_ext.register()
        timm = {
            "timm_resnet18": {"backbone": "timm_resnet18", "backbone_pretrained": False},
            "timm_vit": {"backbone": "timm_vit_tiny_patch16_224", "backbone_pretrained": False},
        }
        arguments = (model_args[kind] if kind in model_args else timm.get(kind, {}) | DECODER) | more
        model = EncoderDecoderFactory().build_model("segmentation", **arguments)
        return [f"model.{name}" for name, _ in model.named_parameters()]

    return make


def groups(names: list[str], rates: dict[str, float]) -> dict[str, float]:
    """Rates as TerraTorch gives them: a parameter belongs to each key that is part of its name."""
    found = {}
    for name in names:
        keys = [key for key in rates if key in name]
        assert len(keys) == (1 if name.startswith("model.encoder.") else 0), name
        found[name] = rates[keys[0]] if keys else RATE
    return found


@pytest.mark.parametrize("kind", STEPS)
def test_rates_are_those_of_a_table_made_by_hand(kind: str, named: Callable[..., list[str]]) -> None:
    names = named(kind)
    found = groups(names, layerwise_rates(names, RATE, DECAY))
    encoder = [name for name in names if name.startswith("model.encoder.")]
    for name in encoder:
        (steps,) = (count for part, count in STEPS[kind].items() if part in name)
        assert found[name] == pytest.approx(RATE * DECAY**steps, rel=1e-12), name
    assert {found[name] for name in names if name not in encoder} == {RATE}
    assert len(names) > len(encoder) > 10


def test_decay_of_one_is_the_plain_rate(named: Callable[..., list[str]]) -> None:
    names = named("anysat")
    assert set(groups(names, layerwise_rates(names, RATE, 1.0)).values()) == {RATE}


@pytest.mark.usefixtures("peft")
@pytest.mark.parametrize("kind", ["thor", "anysat"])
def test_peft_around_the_encoder_moves_no_layer(kind: str, named: Callable[..., list[str]]) -> None:
    names = named(kind)
    plain = groups(names, layerwise_rates(names, RATE, DECAY))
    config = {"method": "LORA", "replace_qkv": "qkv", "peft_config_kwargs": {"target_modules": ["q_linear", "proj"]}}
    adapted = named(kind, peft_config=config)
    found = groups(adapted, layerwise_rates(adapted, RATE, DECAY))
    lora = [name for name in adapted if "lora_" in name]
    assert lora
    for name in lora:
        block = name[: name.index(".attn.")].replace("encoder.base_model.model.", "encoder.")
        assert found[name] == plain[f"{block}.norm1.weight"], name


def test_encoders_side_by_side_have_layers_of_their_own(named: Callable[..., list[str]]) -> None:
    """The second encoder's first layers are not taken for the first one's last."""
    thor = {"backbone": "thor_v1_tiny", "pretrained": False, "model_bands": S2, "input_gsd": 10}
    entries = [
        thor | {"merge_method": "mean", "out_indices": [11]},
        {"backbone": "timm_resnet18", "pretrained": False, "bands": ["RED", "GREEN", "BLUE"], "out_indices": [4]},
    ]
    names = named(
        "several",
        backbone="MultiBackboneWrapper",
        backbone_bands=S2,
        backbone_encoders=entries,
        backbone_merge_features="concat",
        backbone_rescale_features=0,
        backbone_necks=[{"name": "AddBottleneckLayer"}],
    )
    found = groups(names, layerwise_rates(names, RATE, DECAY))
    expected = {
        "encoders.0.model.ind_patch_embed.": 13,
        "encoders.0.model.blocks.0.": 12,
        "encoders.0.model.blocks.11.": 1,
        "encoders.1.conv1.": 5,
        "encoders.1.layer1.": 4,
        "encoders.1.layer4.": 1,
        "encoder.necks.": 1,
    }
    for part, steps in expected.items():
        (mine,) = {found[name] for name in names if part in name}
        assert mine == pytest.approx(RATE * DECAY**steps), part


def test_layers_within_layers_are_told_apart() -> None:
    names = ["features.conv0.weight", "features.denseblock1.denselayer1.w", "features.denseblock1.denselayer2.w"]
    names += ["features.denseblock2.denselayer1.w", "features.norm5.weight"]
    assert list(depths(names).values()) == [0, 1, 2, 3, 3]
    assert list(depths(["stages_0.blocks.0.w", "stages_0.blocks.1.w", "stages_1.blocks.0.w"]).values()) == [1, 1, 2]


@pytest.mark.parametrize("names", [[], ["model.decoder.blocks.0.w"], ["model.encoder.conv.weight"]])
def test_an_encoder_without_layers_is_refused(names: list[str]) -> None:
    with pytest.raises(ValueError, match=r"numbered layers .*Use lr_overrides instead"):
        layerwise_rates(names, RATE, DECAY)


@pytest.mark.parametrize("decay", [0.0, -1.0, 1.1])
def test_an_impossible_decay_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=f"above 0 and at most 1, got {decay}"):
        LayerwiseLearningRates(decay)


@pytest.fixture
def task(model_args: dict[str, dict[str, Any]]) -> Callable[..., Any]:
    def make(**more: Any) -> Any:
        from terratorch.tasks import SemanticSegmentationTask

        import anysat_ext

        anysat_ext.register()
        arguments = {"lr": RATE, "optimizer": "AdamW", "ignore_index": -1, "plot_on_val": False}
        return SemanticSegmentationTask(model_args["anysat"], "EncoderDecoderFactory", loss="ce", **(arguments | more))

    return make


@pytest.fixture
def loader(images: Callable[..., torch.Tensor]) -> DataLoader[Any]:
    image = images("anysat", 1)[0]
    sample = {"image": image, "mask": torch.arange(24 * 24).view(24, 24) % 2}
    return DataLoader([sample, sample], batch_size=2)


def trainer(folder: Path, *callbacks: Any, **more: Any) -> Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    settings = quiet | {"max_epochs": 1, "default_root_dir": str(folder), "enable_checkpointing": False} | more
    return Trainer(callbacks=list(callbacks), **settings)


def optimizer_rates(run: Trainer, model: Any) -> dict[str, float]:
    name_of = {id(parameter): name for name, parameter in model.named_parameters()}
    found: dict[str, float] = {}
    for group in run.optimizers[0].param_groups:
        for parameter in group["params"]:
            assert name_of[id(parameter)] not in found
            found[name_of[id(parameter)]] = group["lr"]
    return found


def test_a_fit_has_the_rates_and_goes_on_from_a_checkpoint_with_them(
    task: Callable[..., Any], loader: DataLoader[Any], tmp_path: Path
) -> None:
    model = task()
    first = trainer(tmp_path, LayerwiseLearningRates(DECAY))
    first.fit(model, loader)
    found = optimizer_rates(first, model)
    names = [name for name, _ in model.named_parameters()]
    assert found == pytest.approx(groups(names, layerwise_rates(names, RATE, DECAY)))
    assert found["model.encoder.model.projector_s2.pad_parameter"] == RATE / 64
    assert found["model.head.head.2.bias"] == RATE
    file = tmp_path / "last.ckpt"
    first.save_checkpoint(file)
    # As the command line does it: the arguments of the checkpoint come before those of the config.
    again = type(model).load_from_checkpoint(file)
    assert again.hparams["lr_overrides"] == model.hparams["lr_overrides"]
    second = trainer(tmp_path, LayerwiseLearningRates(DECAY), max_epochs=2)
    second.fit(again, loader, ckpt_path=str(file))
    assert second.global_step == 2
    assert optimizer_rates(second, again) == pytest.approx(found)
    with pytest.raises(ValueError, match=r"decay=0.9\) and other lr_overrides .*rates of the checkpoint"):
        trainer(tmp_path, LayerwiseLearningRates(0.9)).fit(again, loader)


@pytest.mark.parametrize("lora", [False, True])
def test_blocks_that_never_run_are_no_layers(
    lora: bool, model_args: dict[str, dict[str, Any]], images: Callable[..., torch.Tensor], tmp_path: Path, peft: Any
) -> None:
    """Of twelve blocks the fourth is the last that runs: it comes right before the decoder."""
    from terratorch.tasks import SemanticSegmentationTask

    import thor_terratorch_ext

    thor_terratorch_ext.register()
    config = {"method": "LORA", "peft_config_kwargs": {"target_modules": ["qkv"]}} if lora else None
    arguments = model_args["thor"] | {"backbone_out_indices": [1, 3], "peft_config": config}
    arguments |= {"necks": [{"name": "SelectIndices", "indices": [1]}]}
    model = SemanticSegmentationTask(arguments, "EncoderDecoderFactory", loss="ce", lr=RATE, ignore_index=-1)
    sample = {"image": images("thor", 1)[0], "mask": torch.arange(64 * 64).view(64, 64) % 2}
    run = trainer(tmp_path, LayerwiseLearningRates(DECAY))
    run.fit(model, DataLoader([sample, sample], batch_size=2))
    found = optimizer_rates(run, model)
    for block, steps in enumerate([4, 3, 2, 1]):
        rates = {rate for name, rate in found.items() if f"blocks.{block}." in name}
        assert rates == {RATE * DECAY**steps}, block
    if not lora:
        assert {rate for name, rate in found.items() if "ind_patch_embed" in name} == {RATE * DECAY**5}


def test_rates_of_another_hand_are_not_overwritten(
    task: Callable[..., Any], loader: DataLoader[Any], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"other lr_overrides are set: {'encoder': 0.1}"):
        trainer(tmp_path, LayerwiseLearningRates()).fit(task(lr_overrides={"encoder": 0.1}), loader)


def test_an_optimizer_of_another_hand_is_refused(
    task: Callable[..., Any], loader: DataLoader[Any], tmp_path: Path
) -> None:
    """A section `optimizer` of a config replaces the task's own, and with it the groups."""
    model = task()
    model.configure_optimizers = lambda: torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"has 1 groups of parameters, expected 10 by layer.*not in a section"):
        trainer(tmp_path, LayerwiseLearningRates()).fit(model, loader)


def test_only_fitting_needs_layers(task: Callable[..., Any], tmp_path: Path) -> None:
    model = task()
    LayerwiseLearningRates().setup(trainer(tmp_path), model, "test")
    assert model.hparams["lr_overrides"] is None


def test_the_command_line_resumes(chips: Any, recipe: Any, command: Any, tmp_path: Path) -> None:
    """Through jsonargparse, whose namespaces split keys at dots: the rates have dots in theirs."""
    config = recipe(chips(), task={"freeze_backbone": False})
    config["trainer"] |= {"max_epochs": 1, "limit_val_batches": 0, "limit_train_batches": 2}
    config["trainer"]["callbacks"] = [
        {"class_path": "eo_finetune.LayerwiseLearningRates", "init_args": {"decay": DECAY}},
        {"class_path": "eo_finetune.BestCheckpoint", "init_args": {"monitor": None, "dirpath": str(tmp_path / "c")}},
    ]
    first = command("fit", config)
    file = tmp_path / "c" / "last.ckpt"
    assert torch.load(file, weights_only=True)["hyper_parameters"]["lr_overrides"]
    config["trainer"]["max_epochs"] = 2
    second = command("fit", config, "--ckpt_path", str(file))
    assert second.trainer.global_step == 2 * first.trainer.global_step
    rates = optimizer_rates(second.trainer, second.model)
    assert rates == optimizer_rates(first.trainer, first.model)
    assert rates["model.encoder.model.blocks.0.norm1.weight"] == pytest.approx(3e-3 * DECAY**4)  # of blocks 0 to 3
