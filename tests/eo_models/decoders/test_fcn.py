"""The quick decoder is TerraTorch's: the same weights, results and gradients, at the edges of the map, too."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import nn

from eo_models.decoders.fcn import NAME, QuickFCNDecoder
from eo_models.decoders.upsampling import pays, upsampled

pytestmark = pytest.mark.usefixtures("float32")


def layers(channels: int, between: int, out: int) -> tuple[nn.ConvTranspose2d, nn.Conv2d]:
    torch.manual_seed(0)
    return nn.ConvTranspose2d(channels, between, 2, stride=2).double(), nn.Conv2d(between, out, 3, padding=1).double()


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (1, 3, 1, 1), (1, 3, 1, 6), (1, 3, 2, 2)])
@pytest.mark.parametrize("channels_last", [False, True])
def test_one_step_is_both_convolutions_at_every_edge(shape: tuple[int, ...], channels_last: bool) -> None:
    double, mix = layers(3, 5, 4)
    image = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    image = image.to(memory_format=torch.channels_last) if channels_last else image
    torch.testing.assert_close(upsampled(image, double, mix), mix(double(image)), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 3, 1, 1)])
def test_all_gradients_are_those_of_both_convolutions(shape: tuple[int, ...]) -> None:
    double, mix = layers(3, 5, 4)
    found = []
    for joined in (True, False):
        image = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
        result = upsampled(image, double, mix) if joined else mix(double(image))
        weights = (image, *double.parameters(), *mix.parameters())
        up = torch.randn(result.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        found.append(torch.autograd.grad((result * up).sum(), weights))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-12)


def test_frozen_layers_get_no_gradients() -> None:
    double, mix = layers(3, 5, 4)
    image = torch.randn(1, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    double.requires_grad_(False)
    mix.requires_grad_(False)
    upsampled(image, double, mix).sum().backward()
    assert image.grad is not None
    assert double.weight.grad is None
    assert mix.bias is not None
    assert mix.bias.grad is None


def test_many_channels_are_reduced_before_the_size_is_doubled() -> None:
    assert pays(*layers(128, 128, 128))
    assert not pays(*layers(1536, 128, 128))


def both(embed_dim: int = 12) -> tuple[nn.Module, nn.Module]:
    from terratorch.models.decoders import FCNDecoder

    made = []
    for cls in (FCNDecoder, QuickFCNDecoder):
        torch.manual_seed(0)
        made.append(cls([3, embed_dim], channels=8, num_convs=3))
    return made[0], made[1]


def test_parameters_have_the_names_order_and_first_values_of_terratorchs() -> None:
    """So that a checkpoint of one goes into the other, and a seed gives the same run."""
    theirs, mine = both()
    pairs = list(zip(theirs.named_parameters(), mine.named_parameters(), strict=True))
    for (name, value), (own_name, own) in pairs:
        assert name == own_name
        assert torch.equal(value, own)
    assert mine.out_channels == theirs.out_channels


@pytest.mark.parametrize("embed_dim", [12, 40])  # joined from the first step on, and from the second
def test_results_and_gradients_are_terratorchs(embed_dim: int) -> None:
    theirs, mine = both(embed_dim)
    found: list[list[torch.Tensor]] = []
    for decoder in (theirs, mine):
        features = torch.randn(2, embed_dim, 6, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
        result = decoder([torch.zeros(1), features])
        result.square().mean().backward()
        gradients = [parameter.grad for parameter in decoder.parameters()]
        found.append([result, features.grad, *gradients])  # type: ignore[list-item]
    for theirs_value, value in zip(*found, strict=True):
        size = float(theirs_value.detach().abs().max())
        torch.testing.assert_close(value, theirs_value, rtol=1e-4, atol=2e-5 * size)


def test_mixed_precision_is_no_less_exact_than_terratorchs() -> None:
    theirs, mine = both()
    features = torch.randn(4, 12, 9, 9, generator=torch.Generator().manual_seed(1))
    exact = theirs.double()([torch.zeros(1), features.double()])
    theirs.float()
    errors = []
    for decoder in (theirs, mine):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            result = decoder([torch.zeros(1), features])
        errors.append(float((result.double() - exact.detach()).norm() / exact.detach().norm()))
    assert result.dtype == torch.bfloat16
    assert errors[1] < 1.25 * errors[0]
    assert errors[1] < 0.01


def test_a_trace_computes_the_same() -> None:
    _, decoder = both()
    decoder.eval()
    features = torch.randn(2, 12, 4, 4, generator=torch.Generator().manual_seed(1))
    program = torch.export.export(decoder, ([torch.zeros(1), features],))
    torch.testing.assert_close(
        program.module()([torch.zeros(1), features]), decoder([torch.zeros(1), features]), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    "wrong", [{"channels": 0}, {"num_convs": 0}, {"in_index": 1}, {"in_index": -2}], ids=lambda wrong: next(iter(wrong))
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs channels and num_convs of at least 1 and an in_index of one of 1"):
        QuickFCNDecoder([8], **wrong)


@pytest.mark.parametrize("packages", list(itertools.permutations(["thor_terratorch_ext", "anysat_ext"])))
def test_configs_find_it_by_its_name(packages: tuple[str, ...]) -> None:
    from terratorch.registry import DECODER_REGISTRY

    for package in packages:
        __import__(package)
    assert NAME in DECODER_REGISTRY
    assert isinstance(DECODER_REGISTRY.build(NAME, [8], channels=4, num_convs=1), QuickFCNDecoder)
