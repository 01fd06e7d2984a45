"""The tiles of one image put together again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from eo_data.raster.georeference import PixelGrid, place_of_tile
from eo_data.raster.raster import shifted
from eo_embed.writers.embedding import Embedding


def stitched(tiles: Sequence[Embedding], name: str, pooling: str = "mean") -> Embedding:
    """Return the embedding of an image from those of its tiles, which stand for disjoint parts of it.

    Parameters
    ----------
    tiles : sequence of Embedding
        At least one; their grids are cells of one lattice.
    name : str
        Id of the image.
    pooling : {'mean', 'max', 'cls'}
        How the vectors of the tiles were made.

    Returns
    -------
    Embedding
        Its grid holds the cells of all tiles. Its vector is the mean of theirs, weighted by the number of cells that
        each stands for and the share of them that was observed; of maxima it is the maximum.

    Raises
    ------
    ValueError
        If the tiles do not lie on one grid.
    """
    first = tiles[0]
    common = PixelGrid(*first.shape, first.transform, first.crs)
    places = [_place(tile, common) for tile in tiles]
    top, left = (min(place[axis] for place in places) for axis in (0, 1))
    rows, columns = (
        max(place[axis] + tile.shape[axis] for tile, place in zip(tiles, places, strict=True)) - start
        for axis, start in ((0, top), (1, left))
    )
    grid = None if first.grid is None else np.full((len(first.grid), rows, columns), np.nan, dtype=np.float32)
    valid = np.zeros((rows, columns), dtype=np.float32)
    for tile, (row, column) in zip(tiles, places, strict=True):
        window = slice(row - top, row - top + tile.shape[0]), slice(column - left, column - left + tile.shape[1])
        if grid is not None and tile.grid is not None:
            grid[:, *window] = tile.grid
        if tile.valid is not None:
            valid[window] = tile.valid
    weights = np.array([tile.valid.sum() if tile.valid is not None else 1.0 for tile in tiles], dtype=np.float64)
    pooled = None
    if first.pooled is not None:
        vectors = np.stack([tile.pooled for tile in tiles if tile.pooled is not None])[weights > 0]
        seen = weights[weights > 0]
        pooled = vectors.max(axis=0) if pooling == "max" else np.average(vectors, axis=0, weights=seen)
        pooled = pooled.astype(np.float32)
    return replace(
        first,
        id=name,
        pooled=pooled,
        grid=grid,
        valid=valid,
        transform=shifted(first.transform, left, top),
        shape=(rows, columns),
        valid_fraction=float(valid.mean()),
    )


def _place(tile: Embedding, common: PixelGrid) -> tuple[int, int]:
    """Return row and column of a tile in cells of the common grid."""
    if tile.transform is None:
        msg = (
            f"{tile.id} does not say where it lies in its image, which has no place. State one, such as "
            "transform=(10, 0, 0, 0, -10, 0) for pixels of 10 m, or leave tile out."
        )
        raise ValueError(msg)
    place = place_of_tile(PixelGrid(*tile.shape, tile.transform, tile.crs), common)
    if place is None:
        msg = (
            f"{tile.id} lies on another grid than the other tiles of its image. Choose a tile that patches divide, or "
            "images with a place on the map."
        )
        raise ValueError(msg)
    return place
