"""What runs a frozen encoder in an export: PyTorch as it is, PyTorch's compiler, or OpenVINO."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from typing import Literal, get_args

from eo_core.arguments import one_of
from eo_models.contract import Features
from eo_models.engines.compiled import CompiledEncoder
from eo_models.engines.openvino import OpenVinoEncoder
from eo_models.export.formats import FORMATS
from eo_models.features import FeatureExtractor
from eo_models.precision.numbers import Arithmetic

Engine = Literal["pytorch", "compiled", "openvino"]
ENGINES: tuple[Engine, ...] = get_args(Engine)


def check_engine(engine: object) -> Engine:
    """Return ``engine`` if it is known.

    Raises
    ------
    ValueError
        If it is not.
    """
    known: Engine = one_of("engine", engine, ENGINES)
    return known


def check_runs(engine: Engine, arithmetic: Arithmetic) -> None:
    """Refuse what an engine cannot do.

    Raises
    ------
    ValueError
        If its packages are not installed, or it has no such precision or device; the message says what else goes.
    """
    if engine != "openvino":
        return
    missing = [package for package in FORMATS["openvino"].packages if importlib.util.find_spec(package) is None]
    if missing:
        msg = (
            f"engine: openvino needs {', '.join(missing)}: pip install 'thor-anysat-terratorch[openvino]'. Without "
            "further packages: engine: pytorch or compiled."
        )
        raise ValueError(msg)
    if arithmetic.device.type != "cpu":
        msg = (
            f"engine: openvino runs on CPUs here, and the encoder is on {arithmetic.device}. Leave engine out, or set "
            "trainer.accelerator: cpu."
        )
        raise ValueError(msg)
    if arithmetic.numbers not in ("32-true", "bf16"):
        msg = f"engine: openvino computes in precision: 32, bf16 or auto, not {arithmetic.numbers}. Leave engine out."
        raise ValueError(msg)
    if arithmetic.matmul != "highest":
        msg = (
            f"matmul: {arithmetic.matmul} is about PyTorch's products; engine: openvino has none of them. Leave matmul "
            "out; precision: bf16 is what is faster and less exact there."
        )
        raise ValueError(msg)


def in_pytorch(engine: Engine, arithmetic: Arithmetic) -> Arithmetic:
    """Return in which numbers PyTorch has the encoder for an engine: OpenVINO is given float32 and turns it itself."""
    return replace(arithmetic, numbers="32-true") if engine == "openvino" else arithmetic


def engine_for(engine: Engine, extractor: FeatureExtractor, arithmetic: Arithmetic) -> Callable[..., list[Features]]:
    """Return what encodes batches, called as the extractor is and within ``in_pytorch(...).computing()``.

    Parameters
    ----------
    engine : {'pytorch', 'compiled', 'openvino'}
        What runs it.
    extractor : FeatureExtractor
        Frozen, in eval mode, on its device, in the numbers of `in_pytorch`.
    arithmetic : Arithmetic
        In which numbers it is to compute.

    Raises
    ------
    ValueError
        As `check_runs`.
    """
    check_runs(engine, arithmetic)
    if engine == "compiled":
        return CompiledEncoder(extractor, reduced=arithmetic.numbers != "32-true" or arithmetic.matmul != "highest")
    if engine == "openvino":
        return OpenVinoEncoder(extractor, bf16=arithmetic.numbers == "bf16")
    return extractor


def numbers_fact(engine: Engine, arithmetic: Arithmetic) -> str:
    """Return what tells exports apart: float32 is the same to noise by each engine, bfloat16 is not."""
    apart = engine == "openvino" and arithmetic.numbers != "32-true"
    return f"{arithmetic.numbers} by OpenVINO" if apart else arithmetic.numbers


def describe_engine(engine: Engine, arithmetic: Arithmetic) -> str:
    """Return in which numbers and by what an encoder computes, for people and for a manifest."""
    if engine == "openvino":
        kind = "bfloat16" if arithmetic.numbers == "bf16" else "float32"
        return f"{kind} (OpenVINO {version('openvino')})"
    return f"{arithmetic.described}, compiled" if engine == "compiled" else arithmetic.described
