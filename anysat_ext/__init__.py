"""AnySat (any mix of eleven sensors, dated time series) as a TerraTorch backbone.

``import anysat_ext`` registers ``anysat_tiny``, ``anysat_small``, ``anysat_base`` and ``anysat`` (= base) with
TerraTorch: at once if TerraTorch is loaded, else as soon as it gets loaded. The import itself loads neither TerraTorch
nor PyTorch.
"""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import wrapt

if TYPE_CHECKING:
    from anysat_ext.backbone import AnySatBackbone, build_anysat
    from anysat_ext.model.encoder import AnySat
    from anysat_ext.preprocess import AnySatPreprocess
    from anysat_ext.registration import RegisterBackbones

__all__ = ["AnySat", "AnySatBackbone", "AnySatPreprocess", "RegisterBackbones", "build_anysat", "register"]

_HOME = MappingProxyType(
    {
        "AnySat": "model.encoder",
        "AnySatBackbone": "backbone",
        "AnySatPreprocess": "preprocess",
        "RegisterBackbones": "registration",
        "build_anysat": "backbone",
    }
)


def __getattr__(name: str) -> Any:  # noqa: ANN401  (PEP 562)
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def register() -> None:
    """Enter the backbones in TerraTorch's registry now (imports TerraTorch)."""
    from anysat_ext.backbone import register as register_backbones  # noqa: PLC0415

    register_backbones()


@wrapt.when_imported("terratorch.registry")
def _register_with(_registry: object) -> None:
    register()
