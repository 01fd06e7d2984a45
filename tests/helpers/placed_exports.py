"""Embeddings at stated places, and exports of them by the real writers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

from eo_embed import Export, open_embeddings
from eo_embed.export.record.manifest import Manifest
from eo_embed.writers.embedding import Embedding
from eo_embed.writers.geoparquet import PartWriter
from eo_embed.writers.geotiff import GridWriter
from eo_embed.writers.layout import POOLED
from eo_embed.writers.merging import merge
from eo_embed.writers.quantise import Encoding


def placed(
    name: str,
    grid: np.ndarray | None,
    transform: Affine | None,
    crs: str | None = "EPSG:32633",
    pooled: np.ndarray | None = None,
    shape: tuple[int, int] | None = None,
    **other: Any,
) -> Embedding:
    """An embedding at a place."""
    wkt = None if crs is None else rasterio.crs.CRS.from_user_input(crs).to_wkt()
    own = shape or (grid.shape[1:] if grid is not None else (1, 1))
    return Embedding(name, pooled=pooled, grid=grid, transform=transform, crs=wkt, shape=own, **other)


def write_export(folder: Path, items: Sequence[Embedding]) -> Export:
    """Write an export and open it."""
    manifest = Manifest.create(folder, {"task": "test"}, {})
    pooled = [one for one in items if one.pooled is not None]
    if pooled and pooled[0].pooled is not None:
        PartWriter(folder, 0, len(pooled[0].pooled)).write(pooled)
        merge(folder, folder / POOLED)
    for one in items:
        if one.grid is not None:
            GridWriter(folder, Encoding("float32")).write(one)
    days = [[day.isoformat() for day in one.dates] for one in items]
    inputs = [
        {"id": one.id, "layer": one.layer, "dates": own, "sources": []} for one, own in zip(items, days, strict=True)
    ]
    manifest.complete({"done": len(items)}, inputs, [])
    return open_embeddings(folder)


def write_vectors(folder: Path, values: np.ndarray, ids: Sequence[str] | None = None, layer: str = "") -> Export:
    """Write an export of pooled vectors ``(n, d)`` of chips in a row."""
    names = ids or [f"s{i:03d}" for i in range(len(values))]
    places = [Affine(80, 0, 500_000 + 400 * i, 0, -80, 5_000_000) for i in range(len(values))]
    items = [
        placed(name, None, place, pooled=value.astype(np.float32), shape=(5, 5), layer=layer)
        for name, place, value in zip(names, places, values, strict=True)
    ]
    return write_export(folder, items)
