"""Embeddings whose values and places are known."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from eo_embed.writers.embedding import Embedding

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
