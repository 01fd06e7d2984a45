"""The encoder computes in float32 although a library has allowed less for the whole process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from eo_models.precision.matmul import matmul_precision

pytestmark = pytest.mark.process_precision


@pytest.fixture(autouse=True)
def _as_terratorch_leaves_it() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("called_before", [False, True], ids=["", "after-a-call-with-less"])
def test_features_are_the_published_ones_after_terratorch_was_imported(
    golden: Any, filled: Any, *, called_before: bool
) -> None:
    case = golden.cases["tiny_s2_12_gc2880_ps8"]
    names = ("model_bands", "input_params", "merge_method", "out_indices")
    backbone = filled(case["variant"], **{name: case[name] for name in names}, return_channel_params=True)
    image = torch.from_numpy(golden.fill.make_input(case["input_name"], case["input_shape"]))
    if called_before:  # what it keeps for later calls must not be what it rounded
        with torch.inference_mode(), matmul_precision("medium"):
            backbone(image)
    with torch.inference_mode():
        features, _ = backbone(image)
    assert golden.check.compare(case["id"], features, None)["worst"] <= 5e-5
    assert torch.get_float32_matmul_precision() == "medium"
