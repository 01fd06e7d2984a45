"""THOR (Sentinel-1/2/3, compute-adaptive patch sizes) as a TerraTorch backbone.

``import thor_terratorch_ext`` registers ``thor_v1_tiny``, ``thor_v1_small``, ``thor_v1_base`` and ``thor_v1_large``
(and their long published names) with TerraTorch: at once if TerraTorch is loaded, else as soon as it gets loaded. The
import itself loads neither TerraTorch nor PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import wrapt

import eo_models.decoders
import eo_models.multi  # noqa: F401  (registers the wrapper of several encoders)
from eo_core.lazy import lazy_attributes

if TYPE_CHECKING:
    from eo_models.multi.backbone import MultiBackboneWrapper
    from thor_terratorch_ext.backbone import ThorBackbone, build_thor
    from thor_terratorch_ext.bands import OLCIBands, SARThorBands, SLSTRBands
    from thor_terratorch_ext.model.encoder import ThorEncoder
    from thor_terratorch_ext.necks import THORGroupReshapeTokensToImage
    from thor_terratorch_ext.preprocess import ThorPreprocess
    from thor_terratorch_ext.registration import RegisterBackbones

__all__ = [
    "MultiBackboneWrapper",
    "OLCIBands",
    "RegisterBackbones",
    "SARThorBands",
    "SLSTRBands",
    "THORGroupReshapeTokensToImage",
    "ThorBackbone",
    "ThorEncoder",
    "ThorPreprocess",
    "build_thor",
    "register",
]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "MultiBackboneWrapper": "eo_models.multi.backbone",
        "OLCIBands": ".bands",
        "RegisterBackbones": ".registration",
        "SARThorBands": ".bands",
        "SLSTRBands": ".bands",
        "THORGroupReshapeTokensToImage": ".necks",
        "ThorBackbone": ".backbone",
        "ThorEncoder": ".model.encoder",
        "ThorPreprocess": ".preprocess",
        "build_thor": ".backbone",
    },
)


def register() -> None:
    """Enter the backbones and the neck in TerraTorch's registries now (imports TerraTorch)."""
    from thor_terratorch_ext.backbone import register as register_backbones  # noqa: PLC0415

    register_backbones()


@wrapt.when_imported("terratorch.registry")
def _register_with(_registry: object) -> None:
    register()
