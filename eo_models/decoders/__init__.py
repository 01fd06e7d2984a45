"""Decoders that compute what TerraTorch's do, in less time.

``import eo_models.decoders`` registers ``QuickFCNDecoder`` with TerraTorch: at once if TerraTorch is loaded, else as
soon as it gets loaded. The import itself loads neither TerraTorch nor PyTorch.
"""

from __future__ import annotations

import wrapt


def register() -> None:
    """Enter the decoder in TerraTorch's registry now (imports TerraTorch)."""
    from eo_models.decoders.fcn import register as register_decoder  # noqa: PLC0415

    register_decoder()


@wrapt.when_imported("terratorch.registry")
def _register_with(_registry: object) -> None:
    register()
