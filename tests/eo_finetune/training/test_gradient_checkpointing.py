"""``backbone_gradient_checkpointing`` gives the same gradients, and no block keeps more than its input."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from anysat_ext import build_anysat
from thor_terratorch_ext import build_thor

S2 = ["BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3", "NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"]
#: Arguments of a backbone, and the classes of its parts that are computed again.
CASES = [
    pytest.param("thor", {}, ["Block"], id="thor"),
    pytest.param("thor", {"attention": "chunked", "out_indices": [2, 5]}, ["Block"], id="thor-chunked"),
    pytest.param("anysat", {}, ["Block", "MergingBlock", "TemporalEncoder"], id="anysat"),
    pytest.param(
        "anysat",
        {"output": "dense", "memory_budget": 1_000_000},
        ["Block", "MergingBlock", "TemporalEncoder"],
        id="anysat-dense-chunks",
    ),
    pytest.param("anysat", {"output": "tile"}, ["MergingBlock", "TemporalEncoder"], id="anysat-tile"),
]

pytestmark = pytest.mark.usefixtures("float32")


def build(kind: str, **more: Any) -> nn.Module:
    torch.manual_seed(0)
    if kind == "thor":
        return build_thor("tiny", pretrained=False, model_bands=S2, input_gsd=10, merge_method="mean", **more)
    bands = {"s2": [*S2, "DATE"]}
    return build_anysat("tiny", pretrained=False, modalities=["s2"], bands=bands, patch_size=40, **more)


def gradients(model: nn.Module, image: torch.Tensor) -> dict[str, torch.Tensor]:
    sum(feature.square().mean() for feature in model.train()(image)).backward()  # type: ignore[union-attr]
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


class _Kept:
    """Bytes that the forward pass keeps for the backward pass, outside of what is computed again."""

    def __init__(self) -> None:
        self.bytes = 0

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        self.bytes += tensor.nbytes
        return tensor


@pytest.mark.parametrize(("kind", "arguments", "parts"), CASES)
def test_gradients_are_those_without_it_and_every_part_runs_twice(
    kind: str, arguments: dict[str, Any], parts: list[str], images: Any
) -> None:
    image = images(kind)
    expected = gradients(build(kind, **arguments), image)
    model = build(kind, gradient_checkpointing=True, **arguments)
    calls: dict[nn.Module, int] = {}
    for module in model.modules():
        if type(module).__name__ in parts:
            module.register_forward_pre_hook(lambda module, _: calls.update({module: calls.get(module, 0) + 1}))
    model.train()(image)
    once = dict(calls)
    calls.clear()
    found = gradients(model, image)
    assert {type(module).__name__ for module in calls} == set(parts)
    assert calls == {module: 2 * count for module, count in once.items()}
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-5, atol=1e-7 + 1e-6 * float(gradient.abs().max()))


@pytest.mark.parametrize("kind", ["thor", "anysat"])
def test_most_of_what_a_step_keeps_is_not_kept(kind: str, images: Any) -> None:
    image = images(kind)
    kept = []
    for wanted in (False, True):
        hooks = _Kept()
        with torch.autograd.graph.saved_tensors_hooks(hooks.pack, lambda tensor: tensor):
            build(kind, gradient_checkpointing=wanted).train()(image)
        kept.append(hooks.bytes)
    assert kept[1] < 0.2 * kept[0]


@pytest.mark.usefixtures("peft")
@pytest.mark.parametrize("kind", ["thor", "anysat"])
def test_adapters_learn_the_same(kind: str, images: Any) -> None:
    from terratorch.models.peft_utils import get_peft_backbone

    image = images(kind)
    targets = {"target_modules": ["qkv", "proj", "fc1", "fc2"], "r": 4, "lora_dropout": 0.2}
    found = []
    for wanted in (False, True):
        backbone = build(kind, gradient_checkpointing=wanted)
        model = get_peft_backbone({"method": "LORA", "replace_qkv": None, "peft_config_kwargs": targets}, backbone)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.fill_(0.01)
        torch.manual_seed(1)
        found.append(gradients(model, image))
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[1].items():
        torch.testing.assert_close(gradient, found[0][name], rtol=1e-4, atol=1e-7 + 1e-5 * float(gradient.abs().max()))


@pytest.mark.parametrize("kind", ["thor", "anysat"])
def test_a_frozen_encoder_computes_once(kind: str, images: Any) -> None:
    image = images(kind)
    model = build(kind, gradient_checkpointing=True)
    model.requires_grad_(False)
    calls = []
    for module in model.modules():
        if type(module).__name__ == "Block":
            module.register_forward_pre_hook(lambda module, _: calls.append(module))
    features = model.train()(image)
    assert not any(feature.requires_grad for feature in features)
    assert len(calls) == len(set(calls))


@pytest.mark.parametrize("kind", ["thor", "anysat"])
def test_a_wrong_value_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="gradient_checkpointing must be true or false"):
        build(kind, gradient_checkpointing="sometimes")
