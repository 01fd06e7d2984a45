"""LoRA around both encoders: no adapter is passed over in silence, and a fresh or merged one changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from anysat_ext import build_anysat
from eo_data.catalog.sources import ImageSource
from eo_data.dataset.consistency import check_bands
from eo_models.weights.checkpoints import CheckpointError
from thor_terratorch_ext import build_thor
from thor_terratorch_ext.model import attention

#: The documented targets; AnySat's last block has ``wk`` and ``wv`` in place of ``qkv``.
ALL = {"thor": ["qkv", "proj", "fc1", "fc2"], "anysat": ["qkv", "wk", "wv", "proj", "fc1", "fc2"]}
#: With ``replace_qkv``.
QUERY_AND_VALUE = {"thor": ["q_linear", "v_linear"], "anysat": ["q_linear", "v_linear", "wv"]}
#: The passes with and without gradients sum in another order.
ROUNDING = 5e-6
S2 = ["BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3", "NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"]


def build(kind: str, **more: Any) -> nn.Module:
    torch.manual_seed(0)
    if kind == "thor":
        return build_thor("tiny", pretrained=False, model_bands=S2, input_gsd=10, merge_method="mean", **more)
    bands = {"s2": [*S2, "DATE"]}
    return build_anysat("tiny", pretrained=False, modalities=["s2"], bands=bands, patch_size=40, **more)


def adapt(backbone: nn.Module, targets: list[str], **more: Any) -> nn.Module:
    """As TerraTorch's factory does it."""
    from terratorch.models.peft_utils import get_peft_backbone

    replaced = "qkv" if "q_linear" in targets else None
    settings = {"target_modules": targets, "r": 4, "lora_alpha": 8} | more
    return get_peft_backbone({"method": "LORA", "replace_qkv": replaced, "peft_config_kwargs": settings}, backbone)


def adapters(model: nn.Module, part: str = "lora_B") -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, parameter) for name, parameter in model.named_parameters() if part in name)


def train_by_hand(model: nn.Module) -> None:
    """Move all adapters away from zero."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _, parameter in adapters(model):
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)


def features(model: nn.Module, image: torch.Tensor, *, gradient: bool = False) -> torch.Tensor:
    with torch.set_grad_enabled(gradient):
        return model(image)[-1].detach()


def relative(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual - expected).abs().max() / expected.abs().max())


@pytest.fixture
def short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """THOR's paths for long sequences from 32 tokens on, in several chunks."""
    for name, value in {"LONG_SEQUENCE": 32, "QUERY_CHUNK": 24, "MLP_CHUNK": 40}.items():
        monkeypatch.setattr(attention, name, value)


CASES = [
    pytest.param("thor", {"attention": "distance"}, ALL, id="thor-distance"),
    pytest.param("anysat", {"output": "patch"}, ALL, id="anysat-patch"),
    pytest.param("anysat", {"output": "patch"}, QUERY_AND_VALUE, id="anysat-patch-replaced"),
    pytest.param("anysat", {"output": "tile", "attention": "math"}, ALL, id="anysat-tile-math"),
    pytest.param("anysat", {"output": "dense", "memory_budget": 1_000_000}, ALL, id="anysat-dense-chunks"),
]
#: More ways to attend, for which one comparison of all layers will do.
ATTENTIONS = [
    pytest.param("thor", {"attention": "shared_bias"}, ALL, id="thor-shared_bias"),
    pytest.param("thor", {"attention": "chunked"}, QUERY_AND_VALUE, id="thor-chunked-replaced"),
    pytest.param("thor", {"attention": "auto"}, QUERY_AND_VALUE, id="thor-auto-replaced"),
    pytest.param("thor", {"attention": "flex"}, ALL, id="thor-flex"),
]


@pytest.mark.usefixtures("peft", "short_chunks")
@pytest.mark.parametrize(("kind", "arguments", "targets"), CASES + ATTENTIONS)
def test_a_fresh_adapter_changes_nothing_and_a_trained_one_all_paths_alike(
    kind: str, arguments: dict[str, Any], targets: dict[str, list[str]], images: Any
) -> None:
    image = images(kind)
    plain = build(kind, **arguments)
    expected = features(plain, image)
    model = adapt(plain, targets[kind])
    # Of gradient and mode; FlexAttention has no backward pass on a CPU.
    passes = [(False, False)] if arguments.get("attention") == "flex" else [(False, False), (True, True)]
    for gradient, training in passes:
        assert relative(features(model.train(training), image, gradient=gradient), expected) < ROUNDING
    train_by_hand(model)
    trained = features(model, image)
    assert relative(trained, expected) > 0.01
    for gradient, training in passes:
        assert relative(features(model.train(training), image, gradient=gradient), trained) < 1e-5
    merged = model.merge_and_unload()
    assert relative(features(merged, image), trained) < 1e-5


@pytest.mark.usefixtures("peft", "short_chunks")
@pytest.mark.parametrize(("kind", "arguments", "targets"), CASES)
def test_every_adapted_layer_learns_and_counts(
    kind: str, arguments: dict[str, Any], targets: dict[str, list[str]], images: Any
) -> None:
    """A layer whose weights are read instead of called would run on, without its adapter."""
    image = images(kind, batch=1)
    model = adapt(build(kind, **arguments), targets[kind])
    train_by_hand(model)
    model(image)[-1].square().mean().backward()
    for part in ("lora_A", "lora_B"):
        found = dict(adapters(model, part))
        assert found
        silent = [name for name, p in found.items() if p.grad is None or not p.grad.abs().max() > 0]
        assert silent == []
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {
        name for name, _ in model.named_parameters() if "lora_" in name
    }
    together = features(model, image)
    for name, parameter in adapters(model):
        own = parameter.detach().clone()
        parameter.data.zero_()
        assert relative(features(model, image), together) > 1e-5, name
        parameter.data.copy_(own)


@pytest.mark.usefixtures("peft")
def test_anysats_temporal_attention_can_be_adapted(images: Any) -> None:
    """Its key layer is folded into the queries as long as it is a plain layer."""
    image = images("anysat")
    plain = build("anysat")
    expected = features(plain, image)
    model = adapt(plain, ["fc1_k"])
    assert relative(features(model, image), expected) < ROUNDING
    train_by_hand(model)
    trained = features(model, image)
    assert relative(trained, expected) > 1e-5
    assert relative(features(model.merge_and_unload(), image), trained) < 1e-5


@pytest.mark.usefixtures("peft")
def test_thors_patch_embedding_refuses_an_adapter_and_can_be_trained_whole(images: Any) -> None:
    image = images("thor")
    model = adapt(build("thor"), ["qkv", "S2:Blue"])
    with pytest.raises(ValueError, match=r"PEFT adapter in their place would have no effect.*modules_to_save: "):
        model(image)
    model = adapt(build("thor"), ["qkv"], modules_to_save=["ind_patch_embed"])
    before = features(model, image)
    model(image)[-1].square().mean().backward()
    trained = [name for name, p in model.named_parameters() if p.grad is not None and "ind_patch_embed" in name]
    assert len(trained) == 2 * len(S2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in trained:
                parameter.add_(0.1)
    assert relative(features(model, image), before) > 0.01


@pytest.mark.usefixtures("peft")
@pytest.mark.parametrize("kind", ["thor", "anysat"])
def test_the_host_still_sees_the_backbone_behind_peft(kind: str, images: Any) -> None:
    plain = build(kind)
    model = adapt(plain, ALL[kind])
    assert model.out_channels == plain.out_channels
    assert model.input_bands == plain.input_bands
    assert model.patch_size is None
    name = None if kind == "thor" else "s2"
    good = ImageSource("{id}.tif", S2, sensor="sentinel2_l2a")
    swapped = ImageSource("{id}.tif", S2[::-1], sensor="sentinel2_l2a")
    check_bands(model, {name or "image": good})
    with pytest.raises(ValueError, match="do not agree"):
        check_bands(model, {name or "image": swapped})
    assert model.train().training
    assert plain.training
    assert not model.eval().training
    assert not plain.training
    # TerraTorch looks for `peft_config` in the wrong place and does not refuse this: the adapters are frozen, too.
    model.freeze()
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not model.train().base_model.model.training


@pytest.mark.usefixtures("peft")
def test_dates_beside_the_image_go_through_peft() -> None:
    plain = build_anysat("tiny", pretrained=False, modalities=["s2"], patch_size=40)
    image = torch.randn(1, 10, 2, 8, 8)
    early, late = (plain(image, s2_dates=torch.tensor([[day, day + 5]]))[0].detach() for day in (20, 200))
    model = adapt(plain, ALL["anysat"])
    again = model(image, s2_dates=torch.tensor([[200, 205]]), filename=["a"])[0]
    assert relative(again.detach(), late) < ROUNDING
    assert relative(early, late) > 1e-4


@pytest.mark.usefixtures("peft")
@pytest.mark.parametrize("kind", ["thor", "anysat"])
def test_merged_weights_feed_a_plain_backbone_and_unmerged_ones_say_so(kind: str, images: Any, tmp_path: Path) -> None:
    model = adapt(build(kind), ALL[kind])
    train_by_hand(model)
    image = images(kind)
    expected = features(model, image)
    file = tmp_path / "encoder.pt"
    torch.save({f"model.encoder.{key}": value for key, value in model.state_dict().items()}, file)
    with pytest.raises(CheckpointError, match=r"holds adapters but not their alpha.*merge_and_unload"):
        build(kind, ckpt=file)
    torch.save(model.merge_and_unload().state_dict(), file)
    assert relative(features(build(kind, ckpt=file), image), expected) < 1e-5


def checkpoint(model: nn.Module, targets: list[str], file: Path, **more: Any) -> Path:
    """As TerraTorch's task saves it."""
    settings = {"target_modules": targets, "r": 4, "lora_alpha": 8} | more
    config = {"method": "LORA", "replace_qkv": None, "peft_config_kwargs": settings}
    state = {f"model.encoder.{key}": value for key, value in model.state_dict().items()}
    torch.save({"state_dict": state, "hyper_parameters": {"model_args": {"peft_config": config}}}, file)
    return file


@pytest.mark.usefixtures("peft")
@pytest.mark.parametrize("more", [{}, {"lora_alpha": 3}, {"use_rslora": True}, {"bias": "all"}], ids=str)
@pytest.mark.parametrize(
    ("kind", "targets"), [("thor", ALL), ("anysat", ALL), ("thor", QUERY_AND_VALUE), ("anysat", QUERY_AND_VALUE)]
)
def test_a_checkpoint_of_lora_is_merged_as_peft_merges_it(
    kind: str, targets: dict[str, list[str]], more: dict[str, Any], images: Any, tmp_path: Path
) -> None:
    """Weights of which the adapters were left out would load without a warning, and be those of before the training."""
    model = adapt(build(kind), targets[kind], **more)
    train_by_hand(model)
    if more.get("bias"):
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith("base_layer.bias"):
                    parameter.add_(0.05)
    image = images(kind)
    expected = features(model, image)
    loaded = build(kind, ckpt=checkpoint(model, targets[kind], tmp_path / "best.ckpt", **more))
    assert relative(features(loaded, image), expected) < 1e-5
    if targets is ALL:
        own = model.merge_and_unload().state_dict()
        for name, value in loaded.state_dict().items():
            torch.testing.assert_close(value, own[name], msg=name)


@pytest.mark.usefixtures("peft")
def test_layers_that_were_trained_whole_come_along(images: Any, tmp_path: Path) -> None:
    more = {"modules_to_save": ["ind_patch_embed"]}
    model = adapt(build("thor"), ["qkv"], **more)
    train_by_hand(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "modules_to_save" in name:
                parameter.add_(0.1)
    expected = features(model, images("thor"))
    loaded = build("thor", ckpt=checkpoint(model, ["qkv"], tmp_path / "best.ckpt", **more))
    assert relative(features(loaded, images("thor")), expected) < 1e-5


@pytest.mark.usefixtures("peft")
def test_adapters_that_are_no_plain_lora_are_refused(tmp_path: Path) -> None:
    model = adapt(build("thor"), ["qkv"], use_dora=True)
    file = checkpoint(model, ["qkv"], tmp_path / "best.ckpt", use_dora=True)
    with pytest.raises(CheckpointError, match="only plain LORA can be merged, got LORA, use_dora"):
        build("thor", ckpt=file)
    file = checkpoint(model, ["qkv"], tmp_path / "best.ckpt")
    with pytest.raises(CheckpointError, match="weights are of other adapters than LoRA on linear layers .*magnitude"):
        build("thor", ckpt=file)


def test_peft_is_an_extra(peft: ModuleType, root: Path) -> None:
    assert 'peft = ["peft>=0.15"]' in (root / "pyproject.toml").read_text()
    assert peft.__version__


@pytest.mark.usefixtures("peft")
def test_lora_around_several_encoders_adapts_each_and_dates_still_reach_anysat(tmp_path: Path) -> None:
    from terratorch.registry import BACKBONE_REGISTRY

    def both() -> nn.Module:
        torch.manual_seed(0)
        thor = {"model_bands": {"S1": ["VV", "VH"]}, "input_gsd": 10, "merge_method": "mean", "out_indices": [11]}
        anysat = {"modalities": {"S2": "s2"}, "patch_size": 80, "pretrained": False}
        first = {"backbone": "thor_v1_tiny", "pretrained": False, "images": ["S1"], **thor}
        second = {"backbone": "anysat_tiny", "images": ["S2"], **anysat}
        return BACKBONE_REGISTRY.build("MultiBackboneWrapper", encoders=[first, second], rescale_features="up")

    generator = torch.Generator().manual_seed(2)
    image = {
        "S1": torch.randn(1, 2, 64, 64, generator=generator),
        "S2": torch.randn(1, 10, 2, 64, 64, generator=generator),
    }

    def run(model: nn.Module, *days: float) -> torch.Tensor:
        return model(image, S2_dates=torch.tensor([days]))[-1].detach()

    plain = both()
    expected = run(plain, 20, 40)
    model = adapt(plain, ALL["anysat"])
    names = [name for name, _ in adapters(model)]
    assert {name.split("encoders.")[1].split(".")[0] for name in names} == {"0", "1"}
    assert relative(run(model, 20, 40), expected) < ROUNDING
    train_by_hand(model)
    trained = run(model, 20, 40)
    assert relative(trained, expected) > 0.01
    assert relative(run(model, 200, 220), trained) > 1e-4
    file = checkpoint(model, ALL["anysat"], tmp_path / "best.ckpt")
    torch.manual_seed(5)
    alone = build_anysat("tiny", pretrained=False, modalities={"S2": "s2"}, patch_size=80, ckpt=file)
    merged = dict(model.merge_and_unload().named_parameters())
    for name, value in alone.state_dict().items():
        matching = [known for known in merged if known.startswith("encoders.1.") and known.endswith(f".{name}")]
        assert len(matching) == 1, name
        torch.testing.assert_close(value, merged[matching[0]].detach(), msg=name)
