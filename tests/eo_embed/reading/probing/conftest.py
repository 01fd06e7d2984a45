"""Exports with ids that are alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eo_embed.export.opening import Export, open_embeddings
from eo_embed.writers.embedding import Embedding
from eo_embed.writers.geoparquet import PartWriter
from eo_embed.writers.merging import merge

Make = Callable[..., Embedding]


IDS = ("a/tile_1", "a/tile_2", "b/tile_2", "c.v1")


@pytest.fixture
def opened(make_embedding: Make, tmp_path: Path) -> Callable[..., Export]:
    def write(ids: tuple[str, ...] = IDS, layers: tuple[str, ...] = ("",)) -> Export:
        items = [
            make_embedding(
                name, pooled=np.full(3, i + 10 * j, np.float32), grid=None, valid=None, layer=layer,
                sources=(f"/data/s2/{name}_S2Hand.tif", f"/data/s1/{name}_S1Hand.tif"),
            )
            for i, name in enumerate(ids)
            for j, layer in enumerate(layers)
        ]  # fmt: skip
        PartWriter(tmp_path, 0, 3).write(items)
        path = merge(tmp_path, tmp_path / "embeddings.parquet")
        assert path is not None
        return open_embeddings(path)

    return write
