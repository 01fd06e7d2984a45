"""UniverSat (any sensor by the wavelengths of its bands, any patch size) as a TerraTorch backbone.

``import universat_ext`` registers ``universat_tiny``, ``universat_base`` and ``universat`` (= base) with TerraTorch: at
once if TerraTorch is loaded, else as soon as it gets loaded. The import itself loads neither TerraTorch nor PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import wrapt

import eo_models.decoders
import eo_models.multi  # noqa: F401  (registers the wrapper of several encoders)
from eo_core.lazy import lazy_attributes

if TYPE_CHECKING:
    from universat_ext.backbone import UniverSatBackbone, build_universat
    from universat_ext.model.encoder import UniverSat
    from universat_ext.preprocess import UniverSatPreprocess
    from universat_ext.registration import RegisterBackbones

__all__ = [
    "RegisterBackbones",
    "UniverSat",
    "UniverSatBackbone",
    "UniverSatPreprocess",
    "build_universat",
    "register",
]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "RegisterBackbones": ".registration",
        "UniverSat": ".model.encoder",
        "UniverSatBackbone": ".backbone",
        "UniverSatPreprocess": ".preprocess",
        "build_universat": ".backbone",
    },
)


def register() -> None:
    """Enter the backbones in TerraTorch's registry now (imports TerraTorch)."""
    from universat_ext.backbone import register as register_backbones  # noqa: PLC0415

    register_backbones()


@wrapt.when_imported("terratorch.registry")
def _register_with(_registry: object) -> None:
    register()
