"""bf16 and int8 change THOR's tokens by what is stated."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
import torch

from eo_models.precision.numbers import Arithmetic, Numbers

#: Relative L2 distance from float64, at least and at most, after the first and the last block of golden cases.
#: Measured: 8e-7..1e-6 and 1e-6..4e-6; 9e-3..1e-2 and 1e-2..3.3e-2; 2e-2..3e-2 and 3.6e-2..9e-2. The golden weights are
#: random, and blocks with them enlarge any difference, also that of float32.
BOUNDS: Mapping[Numbers, tuple[float, float, float]] = MappingProxyType(
    {"32-true": (0.0, 3e-6, 1e-5), "bf16": (1e-3, 1.2e-2, 4e-2), "int8": (5e-3, 4e-2, 1e-1)}
)


@pytest.mark.parametrize("numbers", BOUNDS)
@pytest.mark.parametrize("case_id", ["tiny_s1_hhhv_gc960_ps8", "base_s2_10_gc960_ps16"])
def test_tokens_are_as_far_from_float64_as_stated(case_id: str, numbers: Numbers, golden: Any, filled: Any) -> None:
    case = golden.cases[case_id]
    backbone = filled(
        case["variant"],
        model_bands=case["model_bands"],
        input_params=case["input_params"],
        out_indices=case["out_indices"],
    )
    image = torch.from_numpy(golden.fill.make_input(case["input_name"], case["input_shape"]))
    arithmetic, mine = Arithmetic(numbers, "highest", torch.device("cpu")), copy.deepcopy(backbone)
    arithmetic.prepare(mine)
    with arithmetic.computing():
        found = mine(image)
    with torch.no_grad():
        expected = copy.deepcopy(backbone).double()(image.double())
    least, *most = BOUNDS[numbers]
    for index, bound in zip((0, -1), most, strict=True):
        assert found[index].dtype == torch.float32
        error = float((found[index].double() - expected[index]).norm() / expected[index].norm())
        assert least <= error <= bound
