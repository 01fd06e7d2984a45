"""Grids of a field that depends on the place alone: tiles that overlap hold the same vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from eo_embed.writers.embedding import Embedding
from eo_embed.writers.geotiff import GridWriter
from eo_embed.writers.quantise import Encoding

UTM = rasterio.crs.CRS.from_epsg(32633).to_wkt()


DIMENSIONS = 16


def smooth_field(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Vectors that are a smooth function of the place alone: three patterns in 16 dimensions, and a little noise."""
    patterns = np.stack([np.sin(columns / 9), np.cos(rows / 7), np.sin((rows + columns) / 23)])
    mixing = np.random.default_rng(5).normal(size=(DIMENSIONS, 3)) * [3, 2, 1]
    return np.tensordot(mixing, patterns, 1).astype(np.float32)


def write_grid(
    folder: Path,
    name: str,
    top: int,
    left: int,
    shape: tuple[int, int] = (24, 24),
    layer: str = "",
    dtype: str = "float32",
    sources: tuple[str, ...] = (),
    hole: bool = False,
) -> np.ndarray:
    rows, columns = np.meshgrid(np.arange(top, top + shape[0]), np.arange(left, left + shape[1]), indexing="ij")
    grid = smooth_field(rows, columns)
    if hole:
        grid[:, :5, :7] = np.nan
    transform = Affine(160, 0, 600_000 + 160 * left, 0, -160, 5_000_000 - 160 * top)
    item = Embedding(name, layer, None, grid, None, transform, UTM, shape, sources=sources)
    GridWriter(folder, Encoding(dtype)).write(item)
    return grid
