"""Full fine-tuning, a frozen encoder, LoRA: each changes the parameters that it should, and no others.

Every named parameter and buffer is compared before and after three steps, and the number of trainable parameters with
one made from the sizes of the layers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader

RANK = 4
#: Width of a token, by encoder.
DIM = {"thor": 192, "anysat": 256}
#: Targets of LoRA on everything, and on queries and values only.
ALL = {"thor": ["qkv", "proj", "fc1", "fc2"], "anysat": ["qkv", "wk", "wv", "proj", "fc1", "fc2"]}
QUERY_AND_VALUE = {"thor": ["q_linear", "v_linear"], "anysat": ["q_linear", "v_linear", "wv"]}
#: Parts of names that stay as they are in full fine-tuning, too.
UNUSED = {
    # Bands that the data do not have; the sinusoids of the groups; the final norm, which published features lack.
    "thor": ("S1:", "S2:CoastAerosal", "S2:WaterVapor", "S3:", "band_embed.", "model.norm."),
    # For values of a masked pixel; a constant for the softmax over frames; the last block of a patch computes its
    # class token only, which has the same position bias for all keys.
    "anysat": ("pad_parameter", "fc1_k.bias", "predictor_blocks.1.attn.rpe_k."),
}


def linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def block(d: int) -> int:
    """Two norms, qkv, proj, and an MLP four times as wide."""
    return 2 * 2 * d + linear(d, 3 * d) + linear(d, d) + linear(d, 4 * d) + linear(4 * d, d)


def thor_size() -> int:
    """46 kernels of 16 x 16 pixels, 12 blocks, a norm; the embeddings of the groups never train."""
    d = DIM["thor"]
    return 46 * (16 * 16 * d + d) + 12 * block(d) + 2 * d


def anysat_size() -> int:
    """The projector of Sentinel-2, two blocks with a position table for a patch, two and the merging one for a tile."""
    d, table = DIM["anysat"], 64 * 8
    widths = [10, d // 8, d // 2, d, 2 * d, d]
    token_mlp = sum(linear(a, b) + 2 * b for a, b in itertools.pairwise(widths))
    temporal = 16 * 8 + linear(d, 16 * 8) + linear(d, d) + 2 * d
    norms = 2 * d + 2 * d  # over frames, and the last
    merging = 2 * 2 * d + d + 3 * linear(d, d) + table + linear(d, 4 * d) + linear(4 * d, d)
    patch = d + 2 * (block(d) + table) + 2 * d
    return 1 + token_mlp + temporal + norms + patch + d + 2 * block(d) + merging


ENCODER = {"thor": thor_size(), "anysat": anysat_size()}


def decoder_size(kind: str) -> int:
    """FCN with one step: a transposed and a plain convolution to 8 channels, and a norm."""
    return (DIM[kind] * 8 * 4 + 8) + (8 * 8 * 9 + 8) + 2 * 8


HEAD = 8 * 2 + 2


def lora_size(kind: str, targets: dict[str, list[str]]) -> int:
    """Rank times inputs and outputs of each layer; THOR has 12 blocks, AnySat 2 + 2 and the merging one."""
    d = DIM[kind]
    qkv, wide, square = RANK * (d + 3 * d), RANK * (d + 4 * d), RANK * (d + d)
    if targets is ALL:
        every = qkv + square + 2 * wide
        merging = 3 * square + 2 * wide
        return 12 * every if kind == "thor" else 4 * every + merging
    return 12 * 2 * square if kind == "thor" else 4 * 2 * square + square


def lora(kind: str, targets: dict[str, list[str]]) -> dict[str, Any]:
    return {
        "method": "LORA",
        "replace_qkv": "qkv" if "q_linear" in targets[kind] else None,
        "peft_config_kwargs": {"target_modules": targets[kind], "r": RANK, "lora_alpha": 8},
    }


def trainer(folder: Path, **more: Any) -> Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return Trainer(**(quiet | {"max_steps": 3, "default_root_dir": str(folder), "enable_checkpointing": False} | more))


@pytest.fixture
def make(model_args: dict[str, dict[str, Any]]) -> Callable[..., Any]:
    """Make a segmentation task."""

    def build(kind: str, model: dict[str, Any] | None = None, **task: Any) -> Any:
        from terratorch.tasks import SemanticSegmentationTask

        import anysat_ext
        import thor_terratorch_ext

        thor_terratorch_ext.register()
        anysat_ext.register()
        torch.manual_seed(0)
        given = model_args[kind] | (model or {})
        if given["decoder"] != "FCNDecoder":
            del given["decoder_num_convs"]
        arguments = {"loss": "ce", "lr": 1e-2, "optimizer": "AdamW", "ignore_index": -1, "plot_on_val": False} | task
        return SemanticSegmentationTask(given, "EncoderDecoderFactory", **arguments)

    return build


@pytest.fixture
def loader(images: Callable[..., torch.Tensor]) -> Callable[[str], DataLoader[Any]]:
    """Three batches of two samples; a corner of each label is not to be learned."""

    def load(kind: str) -> DataLoader[Any]:
        samples = []
        for image in images(kind).repeat(3, *[1] * (images(kind).ndim - 1)):
            mask = (image[0] if kind == "thor" else image[0, 0]).gt(0).long()
            mask[:4, :4] = -1
            samples.append({"image": image, "mask": mask})
        return DataLoader(samples, batch_size=2)

    return load


def trained(task: nn.Module, folder: Path, data: DataLoader[Any]) -> tuple[set[str], set[str]]:
    """Fit, and return names of the parameters and of the buffers that changed."""
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    run = trainer(folder)
    run.fit(task, data)
    run.save_checkpoint(folder / "last.ckpt")
    after = task.model.state_dict()
    assert before.keys() == after.keys()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    names = {name for name, _ in task.model.named_parameters()}
    return changed & names, changed - names


def parameters(task: nn.Module, *parts: str) -> set[str]:
    """Names of the parameters of some parts of the model, or of all."""
    return {name for name, _ in task.model.named_parameters() if not parts or name.split(".")[0] in parts}


def count(task: nn.Module) -> int:
    return sum(parameter.numel() for parameter in task.model.parameters() if parameter.requires_grad)


@pytest.mark.parametrize("kind", ["thor", "anysat"])
def test_full_fine_tuning_changes_all_that_is_used(kind: str, make: Any, loader: Any, tmp_path: Path) -> None:
    task = make(kind)
    unused = {name for name in parameters(task) if any(part in name for part in UNUSED[kind])}
    frozen = sum(
        value.numel() for name, value in task.model.named_parameters() if name in unused and "band_embed." not in name
    )
    assert count(task) == ENCODER[kind] + decoder_size(kind) + HEAD - frozen
    changed, buffers = trained(task, tmp_path, loader(kind))
    assert changed == parameters(task) - unused
    assert buffers == set()
    assert task.model.encoder.training


@pytest.mark.parametrize("kind", ["thor", "anysat"])
def test_a_frozen_encoder_stays_as_it_is(kind: str, make: Any, loader: Any, tmp_path: Path) -> None:
    task = make(kind, freeze_backbone=True)
    assert count(task) == decoder_size(kind) + HEAD
    changed, buffers = trained(task, tmp_path, loader(kind))
    assert changed == parameters(task, "decoder", "head")
    assert buffers == set()
    assert not any(module.training for module in task.model.encoder.modules())


@pytest.mark.usefixtures("peft")
@pytest.mark.parametrize("targets", [ALL, QUERY_AND_VALUE], ids=["all", "query-and-value"])
@pytest.mark.parametrize("kind", ["thor", "anysat"])
def test_lora_changes_adapters_decoder_and_head(
    kind: str, targets: dict[str, list[str]], make: Any, loader: Any, tmp_path: Path
) -> None:
    task = make(kind, {"peft_config": lora(kind, targets)})
    assert count(task) == lora_size(kind, targets) + decoder_size(kind) + HEAD
    changed, buffers = trained(task, tmp_path, loader(kind))
    adapters = {name for name in parameters(task, "encoder") if "lora_" in name}
    assert changed == adapters | parameters(task, "decoder", "head")
    assert buffers == set()
    # What was trained is what a checkpoint of the run brings back.
    image = next(iter(loader(kind)))["image"]
    again = type(task).load_from_checkpoint(tmp_path / "last.ckpt", weights_only=True)
    assert torch.equal(again.eval()(image).output, task.eval()(image).output)


@pytest.mark.usefixtures("peft")
def test_a_frozen_backbone_freezes_its_adapters_too(make: Any, loader: Any, tmp_path: Path) -> None:
    """TerraTorch means to refuse this and looks for `peft_config` in the wrong place: no freeze_backbone with LoRA."""
    task = make("thor", {"peft_config": lora("thor", ALL)}, freeze_backbone=True)
    assert count(task) == decoder_size("thor") + HEAD
    assert trained(task, tmp_path, loader("thor"))[0] == parameters(task, "decoder", "head")


@pytest.mark.parametrize("kind", ["thor", "anysat"])
def test_decoder_and_head_can_be_frozen(kind: str, make: Any, loader: Any, tmp_path: Path) -> None:
    task = make(kind, freeze_backbone=True, freeze_decoder=True)
    assert count(task) == HEAD
    assert trained(task, tmp_path, loader(kind))[0] == parameters(task, "head")
    task = make(kind, freeze_backbone=True, freeze_head=True)
    assert count(task) == decoder_size(kind)
    assert trained(task, tmp_path, loader(kind))[0] == parameters(task, "decoder")


def test_a_frozen_decoder_still_takes_statistics(make: Any, loader: Any, tmp_path: Path) -> None:
    """TerraTorch leaves it in training mode: batch norms of UPerNet go on counting, though no parameter trains."""
    model = {
        "backbone_out_indices": [2, 5, 8, 11],
        "necks": [{"name": "LearnedInterpolateToPyramidal"}],
        "decoder": "UperNetDecoder",
    }
    task = make("thor", model, freeze_backbone=True, freeze_decoder=True)
    changed, buffers = trained(task, tmp_path, loader("thor"))
    assert changed == parameters(task, "neck", "head")
    assert {name.rsplit(".", 1)[1] for name in buffers} == {"running_mean", "running_var", "num_batches_tracked"}
    assert {name.split(".", 1)[0] for name in buffers} == {"neck", "decoder"}
