"""In which numbers a frozen encoder computes: float32, bfloat16 or int8, and what the hardware has."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import torch
from torch import nn

from eo_models.precision.hardware import has_bf16
from eo_models.precision.matmul import Matmul, check_matmul, describe_matmul, matmul_precision

#: What can be asked for. ``32-true``, ``bf16-mixed`` and ``16-mixed`` are Lightning's names.
Precision = Literal["auto", "32", "bf16", "int8", "32-true", "bf16-mixed", "16-mixed"]
#: What an encoder computes in.
Numbers = Literal["32-true", "bf16", "int8", "bf16-mixed", "16-mixed"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

_AUTOCAST = {"bf16": torch.bfloat16, "int8": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def check_precision(precision: object) -> Precision:
    """Return ``precision`` if it is known; 32, as YAML reads it, is one.

    Raises
    ------
    ValueError
        If it is not.
    """
    text = str(precision)
    for valid in PRECISIONS:
        if text == valid:
            return valid
    msg = (
        f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}. auto is bf16 where the hardware "
        "multiplies it faster than float32, else 32."
    )
    raise ValueError(msg)


def numbers_on(precision: Precision, device: torch.device) -> Numbers:
    """Return what an encoder computes in on a device.

    Parameters
    ----------
    precision : str
        One of `PRECISIONS`.
    device : torch.device
        Where it runs.

    Raises
    ------
    ValueError
        For a precision that the hardware lacks, or that a package which is not installed brings.
    """
    asked = check_precision(precision)
    if asked == "auto":
        return "bf16" if has_bf16(device) else "32-true"
    if asked in ("32", "32-true"):
        return "32-true"
    if asked == "bf16" and not has_bf16(device):
        msg = (
            f"precision: bf16 needs hardware that multiplies bfloat16, and {device} has none: it would be slower than "
            "float32, and less exact. Use precision: 32, or auto, which takes bf16 where there is hardware for it."
        )
        raise ValueError(msg)
    if asked == "int8" and importlib.util.find_spec("torchao") is None:
        msg = (
            "precision: int8 needs torchao, which is not installed: pip install 'thor-anysat-terratorch[int8]'. "
            "Without it: precision: 32, bf16 or auto."
        )
        raise ValueError(msg)
    return cast("Numbers", asked)


@dataclass(frozen=True)
class Arithmetic:
    """How a frozen encoder computes on a device.

    Parameters
    ----------
    numbers : str
        ``32-true``; ``bf16``: weights of linear layers and what goes through them in bfloat16, while normalisation,
        the sums of the softmax and the residual stream stay float32; ``int8``: the same layers with weights of 8 bits
        per output channel, and inputs of 8 bits per token; ``bf16-mixed`` and ``16-mixed``: as Lightning has them.
    matmul : {'highest', 'high', 'medium'}
        In which precision products of float32 matrices are computed.
    device : torch.device
        Where the encoder runs.
    """

    numbers: Numbers
    matmul: Matmul
    device: torch.device

    @classmethod
    def of(cls, precision: Precision, matmul: Matmul, device: torch.device) -> Arithmetic:
        """Return what is asked for, as far as the device has it.

        Raises
        ------
        ValueError
            As `numbers_on`, or for an unknown ``matmul``.
        """
        return cls(numbers_on(precision, device), check_matmul(matmul), device)

    @property
    def is_float32(self) -> bool:
        """Whether all is float32 to float noise, whatever the hardware."""
        return self.numbers == "32-true" and self.matmul == "highest"

    @property
    def changes_weights(self) -> bool:
        """Whether weights are kept in other numbers than files have them in."""
        return self.numbers in ("bf16", "int8")

    def prepare(self, encoder: nn.Module) -> None:
        """Turn the weights of a frozen encoder into those numbers, in place and once.

        Raises
        ------
        ValueError
            If the encoder trains.
        """
        if not self.changes_weights:
            return
        if any(parameter.requires_grad for parameter in encoder.parameters()):
            msg = (
                f"precision: {self.numbers} is for frozen encoders: weights that train need float32. Train with "
                "trainer.precision: bf16-mixed, or freeze the encoder."
            )
            raise ValueError(msg)
        if self.numbers == "int8":
            _quantise(encoder)
            return
        for layer in _linear_layers(encoder):
            layer.to(torch.bfloat16)

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """Run a block in these numbers, without gradients."""
        half = _AUTOCAST.get(self.numbers)
        with (
            torch.no_grad(),
            torch.autocast(self.device.type, half, enabled=half is not None),
            matmul_precision(self.matmul),
        ):
            yield

    @property
    def described(self) -> str:
        """For people, and for a manifest."""
        products = describe_matmul(self.matmul, self.device)
        if self.numbers == "32-true":
            return products
        return f"{self.numbers} (float32 where it stays: {products})"


def _linear_layers(encoder: nn.Module) -> list[nn.Linear]:
    return [module for module in encoder.modules() if isinstance(module, nn.Linear)]


def _quantise(encoder: nn.Module) -> None:
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_  # noqa: PLC0415

    def fits(module: nn.Module, name: str) -> bool:
        del name
        return isinstance(module, nn.Linear)

    configuration: Any = Int8DynamicActivationInt8WeightConfig()
    quantize_(encoder, configuration, filter_fn=fits)
