"""Which engine computes the features of an export, and in which numbers PyTorch computes beside it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import replace
from typing import Literal, get_args

from eo_core.arguments import one_of
from eo_models.engines.compiled import CompiledEncoder
from eo_models.export.formats import FORMATS
from eo_models.features import FeatureExtractor
from eo_models.precision.numbers import Arithmetic

#: ``pytorch``: one operation after the other; ``openvino``: Intel's library for CPUs (extra ``openvino``).
Engine = Literal["pytorch", "openvino"]


def check_engine(engine: object, *, compile: bool) -> Engine:  # noqa: A002  (the word of the config)
    """Return ``engine`` if it is known and can be had.

    Parameters
    ----------
    engine : str
        What is asked for.
    compile : bool
        Whether PyTorch's compiler is asked for, too.

    Raises
    ------
    ValueError
        If it is unknown, or does not go with the compiler.
    ImportError
        If a package is missing; the message says what to install.
    """
    known: Engine = one_of("engine", engine, get_args(Engine))
    if known == "pytorch":
        return known
    if compile:
        msg = f"compile: true is of PyTorch, and engine: {known} does without it. Leave one of them out."
        raise ValueError(msg)
    if missing := [package for package in FORMATS[known].packages if importlib.util.find_spec(package) is None]:
        msg = (
            f"engine: {known} needs {', '.join(missing)}: pip install 'thor-anysat-terratorch[{known}]'. Without "
            "further packages: engine: pytorch."
        )
        raise ImportError(msg)
    return known


def arithmetic_of_pytorch(engine: Engine, asked: Arithmetic) -> Arithmetic:
    """Return in which numbers PyTorch computes where an engine computes in others: in float32, to compare.

    Parameters
    ----------
    engine : {'pytorch', 'openvino'}
        What computes the features.
    asked : Arithmetic
        What they are to be computed in.

    Raises
    ------
    ValueError
        If the engine has no such numbers, or is none for the device.
    """
    if engine == "pytorch":
        return asked
    if asked.device.type != "cpu":
        msg = f"engine: {engine} is for CPUs, and this run has {asked.device}. Set accelerator: cpu, or leave it out."
        raise ValueError(msg)
    if asked.numbers not in ("32-true", "bf16") or asked.matmul != "highest":
        msg = (
            f"engine: {engine} computes with precision: 32, bf16 or auto, and matmul: highest; asked for were "
            f"{asked.numbers} and {asked.matmul}. Change these, or use engine: pytorch."
        )
        raise ValueError(msg)
    return replace(asked, numbers="32-true")


def encoder_by(
    engine: Engine,
    extractor: FeatureExtractor,
    asked: Arithmetic,
    *,
    compile: bool,  # noqa: A002
) -> CompiledEncoder | FeatureExtractor:
    """Return what encodes batches.

    Parameters
    ----------
    engine : {'pytorch', 'openvino'}
        What computes.
    extractor : FeatureExtractor
        The encoder, with the weights of `arithmetic_of_pytorch`.
    asked : Arithmetic
        What features are to be computed in.
    compile : bool
        Whether PyTorch's compiler is used.
    """
    if engine == "openvino":
        from eo_models.engines.openvino import OpenVinoEncoder  # noqa: PLC0415  (brings what makes ONNX files)

        return OpenVinoEncoder(extractor, reduced=asked.numbers == "bf16")
    return CompiledEncoder(extractor, reduced=not asked.is_float32) if compile else extractor


def described(engine: Engine, asked: Arithmetic) -> str:
    """Return in which numbers features are computed, and by what, for people and for a manifest."""
    if engine == "pytorch":
        return asked.described
    return f"{'bf16' if asked.numbers == 'bf16' else 'float32'} ({engine} {importlib.metadata.version(engine)})"
