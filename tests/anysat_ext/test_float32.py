"""The encoder computes in float32 although a library has allowed less for the whole process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.process_precision


@pytest.fixture(autouse=True)
def _as_terratorch_leaves_it() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision(before)


def test_features_are_the_published_ones_after_terratorch_was_imported(golden: Any, filled: Any) -> None:
    case = golden.cases["tiny_s2_T8_24px_p10"]
    with torch.inference_mode():
        found = filled(case["size"], case["order"])(golden.data(case), case["patch_size"], "patch")
    expected = case["result"]["patch"]
    wanted = torch.from_numpy(golden.read_arrays("golden.npz")[f"{case['id']}|patch"]).double()
    error = (found.flatten()[:: expected["stride"]].double() - wanted).abs().max() / wanted.abs().max()
    assert error <= 5e-6
    assert torch.get_float32_matmul_precision() == "medium"
