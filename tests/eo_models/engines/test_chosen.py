"""An engine that cannot do what is asked for is refused with what can, before anything is computed."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch

from eo_models.engines.chosen import arithmetic_of_pytorch, check_engine, described
from eo_models.precision.numbers import Arithmetic

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_an_unknown_engine_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(ValueError, match="pytorch, openvino"):
        check_engine("onnxruntime", compile=False)


def test_two_ways_to_compute_are_refused() -> None:
    with pytest.raises(ValueError, match="Leave one of them out"):
        check_engine("openvino", compile=True)
    assert check_engine("pytorch", compile=True) == "pytorch"


def test_an_engine_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else real(name))
    with pytest.raises(ImportError, match=r"needs openvino: pip install 'thor-anysat-terratorch\[openvino\]'.*pytorch"):
        check_engine("openvino", compile=False)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (Arithmetic("32-true", "highest", GPU), "is for CPUs, and this run has cuda"),
        (Arithmetic("int8", "highest", CPU), "asked for were int8 and highest"),
        (Arithmetic("bf16-mixed", "highest", CPU), "precision: 32, bf16 or auto"),
        (Arithmetic("32-true", "medium", CPU), "asked for were 32-true and medium"),
    ],
)
def test_numbers_that_an_engine_has_not_are_refused(asked: Arithmetic, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        arithmetic_of_pytorch("openvino", asked)


def test_weights_stay_float32_for_an_engine_that_rounds_them_itself() -> None:
    asked = Arithmetic("bf16", "highest", CPU)
    assert arithmetic_of_pytorch("openvino", asked).numbers == "32-true"
    assert arithmetic_of_pytorch("pytorch", asked) is asked
    told: Any = described("openvino", asked)
    assert told.startswith("bf16 (openvino 2")
