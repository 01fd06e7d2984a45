"""The tiled mode of rs-embed's adapters on arrays: tiles encoded one by one, their cells stitched, vectors weighted.

For exports, `eo_data.catalog.tiles` cuts rasters on a common grid of patches instead, so that every cell keeps its
exact place;
here cells are counted, as rs-embed does, and may be off by a part of a cell where tiles overlap.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
from rs_embed_tiling import TilePlan, cut_tiles, owned_spans

from eo_data.raster.raster import Raster

#: What an encoder makes of one tile: grid ``(D, n, n)`` and vector ``(D,)``.
Encode = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def embed_tiles(pixels: np.ndarray, plan: TilePlan, encode: Encode) -> tuple[np.ndarray, np.ndarray]:
    """Encode an array by tiles.

    Parameters
    ----------
    pixels : ndarray
        Float32 ``(C, H, W)``, as the preprocessing of a tile takes them.
    plan : TilePlan
        From `rs_embed_tiling.plan_tiles`.
    encode : callable
        A tile ``(C, tile, tile)`` to its grid and its vector.

    Returns
    -------
    ndarray, ndarray
        Grid ``(D, h, w)``, and the mean of the vectors weighted by the area that each tile owns.
    """
    raster = Raster(pixels.astype(np.float32, copy=False), np.ones(pixels.shape[1:], dtype=bool), None, None)
    results = [encode(tile.pixels) for tile in cut_tiles(plan, raster)]
    rows, columns = (
        owned_spans(starts, plan.tile, length)
        for starts, length in zip((plan.row_starts, plan.column_starts), plan.snapped_hw, strict=True)
    )
    n = results[0][0].shape[-1]
    row_cells, column_cells = (_cells(spans, plan.tile, n) for spans in (rows, columns))
    grids = [grid for grid, _ in results]
    lines = []
    for i, (first, last) in enumerate(row_cells):
        line = [
            _own(grids[i * len(columns) + j], (first, last), span, plan, (i, j)) for j, span in enumerate(column_cells)
        ]
        lines.append(np.concatenate(line, axis=2))
    weights = np.array([(b - a) * (d - c) for a, b in rows for c, d in columns], dtype=np.float64)
    vectors = np.stack([vector for _, vector in results])
    return np.concatenate(lines, axis=1), (weights[:, None] * vectors).sum(axis=0) / weights.sum()


def _cells(spans: Sequence[tuple[int, int]], tile: int, n: int) -> list[tuple[int, int]]:
    """Owned pixels in whole cells: cuts go to the nearest cell, one after the other."""
    cuts = [0]
    for _, end in spans:
        cuts.append(max(cuts[-1], math.floor(end * n / tile + 0.5)))
    return list(itertools.pairwise(cuts))


def _own(
    grid: np.ndarray, rows: tuple[int, int], columns: tuple[int, int], plan: TilePlan, index: tuple[int, int]
) -> np.ndarray:
    """The cells of one tile that it owns."""
    n = grid.shape[-1]
    parts = []
    for (first, last), starts, i in zip((rows, columns), (plan.row_starts, plan.column_starts), index, strict=True):
        local = min(max(0, first - math.floor(starts[i] * n / plan.tile + 0.5)), n - (last - first))
        parts.append(slice(local, local + last - first))
    return grid[:, parts[0], parts[1]]
