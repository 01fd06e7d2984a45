"""A trace of the backbone computes what the backbone computes, also for values that it has not seen."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from thor_terratorch_ext import build_thor
from thor_terratorch_ext.backbone import ThorBackbone

S2 = ["BLUE", "GREEN", "RED", "RED_EDGE_1", "SWIR_1"]
S1 = ["VV", "VH"]
Features = list[torch.Tensor]


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    """Graphs of one test are no candidates for the next."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def build(bands: Any = None, **arguments: Any) -> ThorBackbone:
    fixed = {"pretrained": False, "model_bands": bands or S2, "input_gsd": 10.0, "out_indices": [1]}
    return build_thor("tiny", **(fixed | arguments))


def plain(seed: int, batch: int = 2, side: int = 48) -> torch.Tensor:
    return torch.randn(batch, len(S2), side, side, generator=torch.Generator().manual_seed(seed))


def both(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(2, n, 48, 48, generator=generator) for name, n in (("S2", len(S2)), ("S1", len(S1)))}


def exported(backbone: ThorBackbone, example: Any) -> Callable[[Any], Any]:
    return torch.export.export(backbone, (example,)).module()


def compiled(backbone: ThorBackbone, example: Any) -> Callable[[Any], Any]:
    traced = torch.compile(backbone, fullgraph=True, backend="eager")  # the trace is under test, not a compiler
    traced(example)
    return traced


def check(actual: Features, expected: Features) -> None:
    for mine, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("trace", [exported, compiled])
@pytest.mark.parametrize("frozen", [True, False])
def test_a_trace_of_a_tensor_equals_eager_on_other_values(trace: Any, frozen: bool) -> None:
    backbone = build()
    if frozen:
        backbone.freeze()
    backbone(plain(9))  # what eager mode keeps is no part of the trace
    traced = trace(backbone, plain(0))
    check(traced(plain(1)), backbone(plain(1)))


@pytest.mark.parametrize("trace", [exported, compiled])
def test_a_trace_of_several_modalities_equals_eager_on_other_values(trace: Any) -> None:
    backbone = build({"S2": S2, "S1": S1}, merge_method="concat")
    backbone.freeze()
    check(trace(backbone, both(0))(both(1)), backbone(both(1)))


@pytest.mark.parametrize("trace", [exported, compiled])
def test_a_trace_returns_the_channel_parameters_for_the_neck(trace: Any) -> None:
    backbone = build(return_channel_params=True)
    backbone.freeze()
    features, params = trace(backbone, plain(0))(plain(1))
    expected, expected_params = backbone(plain(1))
    check(features, expected)
    assert params == expected_params


@pytest.mark.parametrize("attention", ["distance", "chunked", "flex"])
def test_every_attention_backend_can_be_exported(attention: str) -> None:
    backbone = build(attention=attention, out_indices=[0])
    backbone.freeze()
    check(exported(backbone, plain(0))(plain(1)), backbone(plain(1)))


def test_an_exported_backbone_takes_other_batch_sizes() -> None:
    backbone = build(merge_method="mean")
    backbone.freeze()
    batch = torch.export.Dim("batch")
    program = torch.export.export(backbone, (plain(0),), dynamic_shapes=({0: batch},)).module()
    check(program(plain(1, batch=5)), backbone(plain(1, batch=5)))


def test_gradients_of_a_compiled_backbone_are_those_of_eager() -> None:
    backbone = build(out_indices=[0])
    kernel = backbone.model.ind_patch_embed.patch_embed["S2:Red"].weight
    traced = compiled(backbone, plain(0))
    gradients = [torch.autograd.grad(run(plain(1))[0].square().sum(), kernel)[0] for run in (traced, backbone)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)


def test_a_trace_still_masks_nan_when_told_to_and_does_not_look_for_it_otherwise() -> None:
    spoilt = plain(1)
    spoilt[0, 0, :5, :5] = float("nan")
    masking, strict = build(on_nan="mask").eval(), build().eval()
    check(exported(masking, plain(0))(spoilt), masking(spoilt))
    assert exported(strict, plain(0))(spoilt)[0].isnan().any()
    with pytest.raises(ValueError, match="NaN or infinity in the image"):
        strict(spoilt)  # a trace in between does not switch the check off


def test_a_trace_warns_of_nothing_and_eager_mode_still_does() -> None:
    backbone = build(input_gsd=None, input_params={"ground_covers": [640]}).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        program = exported(backbone, plain(0))
    with pytest.warns(UserWarning, match="resizes the input from 48 x 48 px to 64 x 64 px"):
        expected = backbone(plain(1))
    check(program(plain(1)), expected)


def test_shapes_are_still_checked_in_a_trace() -> None:
    with pytest.raises(ValueError, match="Expected 5 channels in the image"):
        exported(build(), plain(0)[:, :4])
