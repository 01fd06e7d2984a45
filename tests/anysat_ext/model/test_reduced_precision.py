"""bf16 and int8 change AnySat's vectors by what is stated, and by the numbers that were asked for."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
import torch
from torch import nn

from anysat_ext import AnySat
from anysat_ext.model.temporal import RowNorm
from eo_models.precision.numbers import Arithmetic, Numbers

#: Largest relative L2 distance from float64 on the golden cases. Measured: 5e-7..1e-6, 6e-3..9e-3, 2.3e-2..3.9e-2.
BOUNDS: Mapping[Numbers, tuple[float, float]] = MappingProxyType(
    {"32-true": (0.0, 2e-6), "bf16": (1e-3, 1e-2), "int8": (5e-3, 5e-2)}
)
CASES = (
    "tiny_s2_T8_24px_p60",
    "tiny_s2_mask_6px_p20",
    "tiny_s1_T5_6px_p20",
    "tiny_naip_l8_s2_s1_60m_p20",
    "base_s2_T3_batchdates_6px_p20",
)


def prepared(encoder: AnySat, numbers: Numbers) -> tuple[Arithmetic, AnySat]:
    """A copy of a golden encoder that computes in those numbers."""
    arithmetic = Arithmetic(numbers, "highest", torch.device("cpu"))
    mine = copy.deepcopy(encoder).requires_grad_(requires_grad=False)
    arithmetic.prepare(mine)
    return arithmetic, mine


def in_float64(encoder: AnySat, data: Mapping[str, torch.Tensor], *arguments: Any) -> torch.Tensor:
    exact = {key: value.double() if value.is_floating_point() else value for key, value in data.items()}
    with torch.no_grad():
        return copy.deepcopy(encoder).double()(exact, *arguments)


def distance(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("case_id", CASES)
@pytest.mark.parametrize("numbers", BOUNDS)
def test_vectors_are_as_far_from_float64_as_stated(case_id: str, numbers: Numbers, golden: Any, filled: Any) -> None:
    case = golden.cases[case_id]
    data = golden.data(case)
    encoder = filled(case["size"], case["order"])
    arithmetic, mine = prepared(encoder, numbers)
    least, most = BOUNDS[numbers]
    for output in ("patch", "tile"):
        with arithmetic.computing():
            found = mine(data, case["patch_size"], output)
        assert found.dtype == torch.float32
        assert least <= distance(found, in_float64(encoder, data, case["patch_size"], output)) <= most


@pytest.mark.parametrize("name", ["s2", "naip"])
def test_what_blocks_add_to_stays_float32_in_bf16(name: str, golden: Any, filled: Any) -> None:
    case = golden.cases["tiny_naip_l8_s2_s1_60m_p20"]
    data = {key: value for key, value in golden.data(case).items() if key.startswith(name)}
    arithmetic, mine = prepared(filled("tiny", [name]), "bf16")
    dtypes: dict[str, set[torch.dtype]] = {}

    def note(kind: str) -> Any:
        return lambda _module, _inputs, output: dtypes.setdefault(kind, set()).add(output.dtype)

    for module in (*mine.spatial_encoder.predictor_blocks[:-1], *mine.blocks):
        module.register_forward_hook(note("residual"))
    for module in mine.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(note("linear"))
    with arithmetic.computing():
        mine(data, 20)
    assert dtypes == {"residual": {torch.float32}, "linear": {torch.bfloat16}}


@pytest.mark.parametrize(("numbers", "most"), [("bf16", 3e-3), ("int8", 5e-2)])
def test_chunks_change_reduced_numbers_by_less_than_their_error(
    numbers: Numbers, most: float, golden: Any, series: Any
) -> None:
    # Measured: 0 and 1.6e-2. A difference of 1e-7 that turns one rounding to 8 bits grows to their noise.
    data, found = series("s2", frames=4), []
    for budget in (None, 200_000):
        encoder = AnySat("tiny", ["s2"], memory_budget=budget).eval()
        golden.fill_module(encoder)
        arithmetic, mine = prepared(encoder, numbers)
        with arithmetic.computing():
            found.append(mine(data, 20).double())
    assert distance(found[0], found[1]) < most


@pytest.mark.parametrize("shape", [(40, 96), (5, 96, 7), (1, 96), (3, 96, 1)])
def test_the_norm_in_channels_last_order_is_the_published_one(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    norm = RowNorm(4, 96)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(96, generator=generator))
        norm.bias.copy_(torch.randn(96, generator=generator))
    rows = torch.randn(shape, generator=generator) + 3
    if len(shape) == 3:
        rows = rows.transpose(1, 2).contiguous().transpose(1, 2)
    with torch.no_grad():
        found = norm(rows)
        half = norm(rows.bfloat16())
    assert (found if rows.ndim == 2 else found.transpose(1, 2)).is_contiguous()
    groups = rows.double().reshape(shape[0], 4, -1)
    centred = groups - groups.mean(dim=2, keepdim=True)
    scaled = centred / (centred.square().mean(dim=2, keepdim=True) + norm.eps).sqrt()
    per_channel = (96, *[1] * (len(shape) - 2))
    expected = scaled.view(shape) * norm.weight.double().view(per_channel) + norm.bias.double().view(per_channel)
    assert distance(found.detach(), expected) < 1e-6
    assert half.dtype == torch.bfloat16
    assert distance(half, norm(rows.bfloat16().float()).detach().double()) < 3e-3
