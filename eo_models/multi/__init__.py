"""Several encoders side by side.

``import eo_models.multi`` registers ``MultiBackboneWrapper`` with TerraTorch: at once if TerraTorch is loaded, else as
soon as it gets loaded. The import itself loads neither TerraTorch nor PyTorch.
"""

from __future__ import annotations

import wrapt


def register() -> None:
    """Enter the wrapper in TerraTorch's registry now (imports TerraTorch)."""
    from eo_models.multi.backbone import register as register_wrapper  # noqa: PLC0415

    register_wrapper()


@wrapt.when_imported("terratorch.registry")
def _register_with(_registry: object) -> None:
    register()
