"""What an engine cannot do is refused before anything is read."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch

from eo_models.engines.engine import Engine, check_engine, check_runs, describe_engine, in_pytorch, numbers_fact
from eo_models.precision.matmul import Matmul
from eo_models.precision.numbers import Arithmetic, Numbers

CPU = torch.device("cpu")


def test_an_unknown_engine_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(ValueError, match="engine must be one of pytorch, compiled, openvino, got 'onnx'"):
        check_engine("onnx")


@pytest.mark.parametrize(
    ("numbers", "matmul", "device", "message"),
    [
        ("int8", "highest", "cpu", "precision: 32, bf16 or auto, not int8"),
        ("bf16-mixed", "highest", "cpu", "not bf16-mixed"),
        ("32-true", "medium", "cpu", "Leave matmul out"),
        ("32-true", "highest", "cuda", "accelerator: cpu"),
    ],
)
def test_what_openvino_does_not_do_is_refused(numbers: Numbers, matmul: Matmul, device: str, message: str) -> None:
    pytest.importorskip("openvino")
    arithmetic = Arithmetic(numbers, matmul, torch.device(device))
    with pytest.raises(ValueError, match=message):
        check_runs("openvino", arithmetic)
    check_runs("pytorch", arithmetic)


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def without(name: str, *arguments: Any) -> Any:
        return None if name == "openvino" else found(name, *arguments)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(ValueError, match=r"openvino needs openvino.*\[openvino\].*pytorch or compiled"):
        check_runs("openvino", Arithmetic("32-true", "highest", CPU))


@pytest.mark.parametrize(
    ("engine", "numbers", "fact"),
    [
        ("pytorch", "bf16", "bf16"),
        ("compiled", "bf16", "bf16"),
        ("openvino", "32-true", "32-true"),
        ("openvino", "bf16", "bf16 by OpenVINO"),
    ],
)
def test_engines_that_give_other_numbers_are_other_exports(engine: Engine, numbers: Numbers, fact: str) -> None:
    """Float32 is the same to noise everywhere; bfloat16 rounds elsewhere in OpenVINO."""
    assert numbers_fact(engine, Arithmetic(numbers, "highest", CPU)) == fact


def test_openvino_gets_float32_and_is_named() -> None:
    pytest.importorskip("openvino")
    arithmetic = Arithmetic("bf16", "highest", CPU)
    assert in_pytorch("openvino", arithmetic).numbers == "32-true"
    assert in_pytorch("compiled", arithmetic).numbers == "bf16"
    assert describe_engine("openvino", arithmetic).startswith("bfloat16 (OpenVINO 2")
