"""AnySat (any mix of eleven sensors, dated time series) as a TerraTorch backbone.

``import anysat_ext`` registers ``anysat_tiny``, ``anysat_small``, ``anysat_base`` and ``anysat`` (= base) with
TerraTorch: at once if TerraTorch is loaded, else as soon as it gets loaded. The import itself loads neither TerraTorch
nor PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import wrapt

import eo_models.decoders
import eo_models.multi  # noqa: F401  (registers the wrapper of several encoders)
from eo_core.lazy import lazy_attributes

if TYPE_CHECKING:
    from anysat_ext.backbone import AnySatBackbone, build_anysat
    from anysat_ext.model.encoder import AnySat
    from anysat_ext.preprocess import AnySatPreprocess
    from anysat_ext.registration import RegisterBackbones

__all__ = ["AnySat", "AnySatBackbone", "AnySatPreprocess", "RegisterBackbones", "build_anysat", "register"]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "AnySat": ".model.encoder",
        "AnySatBackbone": ".backbone",
        "AnySatPreprocess": ".preprocess",
        "RegisterBackbones": ".registration",
        "build_anysat": ".backbone",
    },
)


def register() -> None:
    """Enter the backbones in TerraTorch's registry now (imports TerraTorch)."""
    from anysat_ext.backbone import register as register_backbones  # noqa: PLC0415

    register_backbones()


@wrapt.when_imported("terratorch.registry")
def _register_with(_registry: object) -> None:
    register()
