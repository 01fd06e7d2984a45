"""Embeddings whose values and places are known."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from eo_embed.export.record.manifest import Manifest
from eo_embed.writers.embedding import Embedding
from eo_embed.writers.geoparquet import PartWriter
from eo_embed.writers.layout import POOLED
from eo_embed.writers.merging import merge

#: A grid of 160 m cells whose corner is no round number, in UTM zone 33 N.
UTM = Affine(160.0, 0.0, 399960.1234567891, 0.0, -160.0, 5300040.9876543211)


@pytest.fixture(scope="session")
def utm_wkt() -> str:
    return str(CRS.from_epsg(32633).to_wkt())


@pytest.fixture(scope="session")
def make_embedding(utm_wkt: str) -> Callable[..., Embedding]:
    """Return a maker of embeddings (4 bands, 5 x 7 cells, one cell without data); arguments replace its own."""

    def make(id: str = "a/tile", shape: tuple[int, int] = (5, 7), **other: Any) -> Embedding:  # noqa: A002
        bands = np.arange(4, dtype=np.float32)[:, None, None]
        grid = (bands + np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape) / 100).astype(np.float32)
        grid[:, 1, 2] = np.nan
        values: dict[str, Any] = {
            "pooled": np.array([0.5, -1, 2, 4], np.float32),
            "grid": grid,
            "valid": np.ones(shape, np.float32),
            "transform": UTM,
            "crs": utm_wkt,
            "dates": (date(2024, 5, 1), date(2024, 6, 15), date(2024, 7, 1)),
            "sources": ("in/a;b.tif", "in/ä.tif"),
            "valid_fraction": 0.97,
        }
        return Embedding(id, shape=shape, **(values | other))

    return make


@pytest.fixture
def export(make_embedding: Callable[..., Embedding], tmp_path: Path) -> Callable[..., Path]:
    """Return a maker of exports by the real writers: vectors ``(n, d)``, and what else is known of them."""

    def write(
        vectors: np.ndarray,
        ids: list[str] | None = None,
        sources: list[tuple[str, ...]] | None = None,
        rasters: list[str] | None = None,
        layer: str = "",
    ) -> Path:
        folder = tmp_path / "export"
        names = ids or [f"s{i:03d}" for i in range(len(vectors))]
        manifest = Manifest.create(folder, {"task": "test"}, {})
        items = [
            make_embedding(
                name, pooled=vector.astype(np.float32), grid=None, valid=None, layer=layer,
                sources=sources[i] if sources else (f"in/{name}.tif",),
            )
            for i, (name, vector) in enumerate(zip(names, vectors, strict=True))
        ]  # fmt: skip
        PartWriter(folder, 0, vectors.shape[1]).write(items)
        merge(folder, folder / POOLED)
        given = rasters or [""] * len(names)
        inputs = [{"id": name, "layer": layer, "raster_id": raster} for name, raster in zip(names, given, strict=True)]
        manifest.complete({"done": len(items)}, inputs, [])
        return folder

    return write
