"""Embedding export, by `terratorch predict` or any loop, and the way back: :func:`open_embeddings`.

``import eo_embed`` loads neither PyTorch nor TerraTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eo_core.lazy import lazy_attributes

if TYPE_CHECKING:
    from eo_embed.export.exporter import Exporter
    from eo_embed.export.opening import Export, open_embeddings
    from eo_embed.export.settings import ExportSettings
    from eo_embed.guard import ExpectEmbeddings
    from eo_embed.task import EmbeddingTask

__all__ = ["EmbeddingTask", "ExpectEmbeddings", "Export", "ExportSettings", "Exporter", "open_embeddings"]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "EmbeddingTask": ".task",
        "ExpectEmbeddings": ".guard",
        "Export": ".export.opening",
        "ExportSettings": ".export.settings",
        "Exporter": ".export.exporter",
        "open_embeddings": ".export.opening",
    },
)
