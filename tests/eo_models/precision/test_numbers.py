"""A reduced precision is chosen by name, has a stated error, and is refused where it would harm."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from eo_models.precision.hardware import has_amx, has_bf16
from eo_models.precision.numbers import Arithmetic, Numbers, check_precision, numbers_on

CPU = torch.device("cpu")
#: Stands for hardware without units for bfloat16.
OLD = torch.device("meta")


class Perceptron(nn.Module):
    """Two linear layers behind a norm, with a residual, as in a block of an encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.first, self.second = nn.LayerNorm(64), nn.Linear(64, 256), nn.Linear(256, 64)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens + self.second(nn.functional.gelu(self.first(self.norm(tokens))))


def frozen() -> Perceptron:
    torch.manual_seed(0)
    return Perceptron().eval().requires_grad_(requires_grad=False)


def change(numbers: Numbers) -> float:
    """Relative L2 distance of what the perceptron adds in those numbers, from float64."""
    tokens = torch.randn(50, 64, generator=torch.Generator().manual_seed(1))
    expected = frozen().double()(tokens.double()) - tokens
    encoder, arithmetic = frozen(), Arithmetic(numbers, "highest", CPU)
    arithmetic.prepare(encoder)
    with arithmetic.computing():
        found = encoder(tokens)
    assert found.dtype == torch.float32  # the residual stream
    return float((found - tokens - expected).norm() / expected.norm())


@pytest.mark.parametrize(
    ("numbers", "least", "most"), [("32-true", 0, 1e-5), ("bf16", 1e-4, 1e-2), ("int8", 1e-4, 5e-2)]
)
def test_the_error_of_each_precision_is_bounded_and_there(numbers: Numbers, least: float, most: float) -> None:
    assert least <= change(numbers) < most


def test_norms_stay_float32_in_bf16() -> None:
    encoder = frozen()
    Arithmetic("bf16", "highest", CPU).prepare(encoder)
    assert encoder.norm.weight.dtype == torch.float32
    assert encoder.first.weight.dtype == encoder.second.bias.dtype == torch.bfloat16


@pytest.mark.parametrize("numbers", ["bf16", "int8"])
def test_weights_that_train_are_refused(numbers: Numbers) -> None:
    with pytest.raises(ValueError, match=rf"precision: {numbers} is for frozen encoders.*bf16-mixed"):
        Arithmetic(numbers, "highest", CPU).prepare(Perceptron())


def test_auto_is_float32_where_there_is_no_hardware_for_less() -> None:
    assert numbers_on("auto", OLD) == "32-true"
    assert numbers_on("auto", CPU) == ("bf16" if has_bf16(CPU) else "32-true")


def test_bf16_is_refused_where_it_would_be_slower_and_worse() -> None:
    with pytest.raises(ValueError, match="needs hardware that multiplies bfloat16.*precision: 32, or auto"):
        numbers_on("bf16", OLD)


def test_what_the_cpu_has_is_what_the_system_says() -> None:
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123
            flags = file.read().split()
    except FileNotFoundError:
        pytest.skip("only Linux says so in a file")
    assert has_amx() == ("amx_bf16" in flags)
    assert has_bf16(CPU) == bool({"amx_bf16", "avx512_bf16", "bf16"} & set(flags))


def test_a_number_from_yaml_is_a_precision() -> None:
    assert check_precision(32) == "32"
    assert numbers_on(check_precision(32), OLD) == "32-true"


@pytest.mark.parametrize("wrong", ["16", "fp8", "bf16-true", 16, None])
def test_an_unknown_precision_is_refused_with_the_valid_ones(wrong: object) -> None:
    with pytest.raises(ValueError, match="precision must be one of auto, 32, bf16, int8"):
        check_precision(wrong)


def test_int8_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs torchao.*pip install 'thor-anysat-terratorch\[int8\]'"):
        numbers_on("int8", CPU)
