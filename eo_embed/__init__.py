"""Embeddings: in one call (:func:`embed`), by `terratorch predict` or any loop, and back: :func:`open_embeddings`.

``import eo_embed`` loads neither PyTorch nor TerraTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eo_core.lazy import lazy_attributes

if TYPE_CHECKING:
    from eo_data.catalog.scenes.catalogues.earth_engine.source import EarthEngine
    from eo_data.catalog.scenes.catalogues.stac.source import StacCatalogue
    from eo_data.catalog.scenes.places import BBox, PointBuffer, Region
    from eo_embed.export.exporter import Exporter
    from eo_embed.export.opening import Export, open_embeddings
    from eo_embed.export.settings import ExportSettings
    from eo_embed.guard import ExpectEmbeddings
    from eo_embed.one_call.call import embed
    from eo_embed.one_call.result import Embedded, EmbeddedPlaces
    from eo_embed.ray.driver import embed_on_ray
    from eo_embed.task import EmbeddingTask
    from eo_models.preset import describe, models

__all__ = [
    "BBox",
    "EarthEngine",
    "Embedded",
    "EmbeddedPlaces",
    "EmbeddingTask",
    "ExpectEmbeddings",
    "Export",
    "ExportSettings",
    "Exporter",
    "PointBuffer",
    "Region",
    "StacCatalogue",
    "describe",
    "embed",
    "embed_on_ray",
    "models",
    "open_embeddings",
]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "EmbeddingTask": ".task",
        "ExpectEmbeddings": ".guard",
        "Export": ".export.opening",
        "ExportSettings": ".export.settings",
        "Exporter": ".export.exporter",
        "open_embeddings": ".export.opening",
        "EarthEngine": "eo_data.catalog.scenes.catalogues.earth_engine.source",
        "StacCatalogue": "eo_data.catalog.scenes.catalogues.stac.source",
        "BBox": "eo_data.catalog.scenes.places",
        "PointBuffer": "eo_data.catalog.scenes.places",
        "Region": "eo_data.catalog.scenes.places",
        "Embedded": ".one_call.result",
        "EmbeddedPlaces": ".one_call.result",
        "describe": "eo_models.preset",
        "embed": ".one_call.call",
        "embed_on_ray": ".ray.driver",
        "models": "eo_models.preset",
    },
)
