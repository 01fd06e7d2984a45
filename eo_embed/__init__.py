"""Embedding export, by `terratorch predict` or any loop, and the way back: :func:`open_embeddings`.

``import eo_embed`` loads neither PyTorch nor TerraTorch.
"""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eo_embed.export.exporter import Exporter
    from eo_embed.export.opening import Export, open_embeddings
    from eo_embed.export.settings import ExportSettings
    from eo_embed.guard import ExpectEmbeddings
    from eo_embed.task import EmbeddingTask

__all__ = ["EmbeddingTask", "ExpectEmbeddings", "Export", "ExportSettings", "Exporter", "open_embeddings"]

_HOME = MappingProxyType(
    {
        "EmbeddingTask": "task",
        "ExpectEmbeddings": "guard",
        "Export": "export.opening",
        "ExportSettings": "export.settings",
        "Exporter": "export.exporter",
        "open_embeddings": "export.opening",
    }
)


def __getattr__(name: str) -> Any:  # noqa: ANN401  (PEP 562)
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
