"""Decoders that compute what TerraTorch's do, in less time, and a neck.

``import eo_models.decoders`` registers ``QuickFCNDecoder`` and ``ChannelLayerNorm`` with TerraTorch: at once if it is
loaded, else as soon as it gets loaded. The import itself loads neither TerraTorch nor PyTorch.
"""

from __future__ import annotations

import wrapt


def register() -> None:
    """Enter decoder and neck in TerraTorch's registries now (imports TerraTorch)."""
    from eo_models.decoders.channel_norm import register as register_neck  # noqa: PLC0415
    from eo_models.decoders.fcn import register as register_decoder  # noqa: PLC0415

    register_decoder()
    register_neck()


@wrapt.when_imported("terratorch.registry")
def _register_with(_registry: object) -> None:
    register()
