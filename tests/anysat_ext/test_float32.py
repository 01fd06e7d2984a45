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
    case = golden.cases["tiny_s2_T8_24px_p10"]
    encoder, data = filled(case["size"], case["order"]), golden.data(case)
    if called_before:  # what it keeps for later calls must not be what it rounded
        with torch.inference_mode(), matmul_precision("medium"):
            encoder(data, case["patch_size"], "patch")
    with torch.inference_mode():
        found = encoder(data, case["patch_size"], "patch")
    expected = case["result"]["patch"]
    wanted = torch.from_numpy(golden.read_arrays("golden.npz")[f"{case['id']}|patch"]).double()
    error = (found.flatten()[:: expected["stride"]].double() - wanted).abs().max() / wanted.abs().max()
    assert error <= 5e-6
    assert torch.get_float32_matmul_precision() == "medium"
