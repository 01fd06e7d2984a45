"""Tiles come together as the image that they were cut from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from affine import Affine

from eo_data.raster.raster import shifted
from eo_embed.writers.embedding import Embedding
from eo_embed.writers.tiles import stitched

CORNER = Affine(80, 0, 500_000, 0, -80, 5_000_000)


def parts(make_embedding: Any, cells: np.ndarray, valid: np.ndarray, how: Any) -> list[Embedding]:
    """Four tiles of 4 x 4 and less cells of a grid of 6 x 7, each with the vector of its own cells."""
    found = []
    for rows in (slice(0, 4), slice(4, 6)):
        for columns in (slice(0, 4), slice(4, 7)):
            grid = np.where(valid[rows, columns] > 0, cells[:, rows, columns], np.nan).astype(np.float32)
            transform = shifted(CORNER, columns.start, rows.start)
            own = {"grid": grid, "valid": valid[rows, columns], "shape": grid.shape[1:], "transform": transform}
            share = float(valid[rows, columns].mean())
            pooled = how(cells[:, rows, columns], axis=(1, 2)).astype(np.float32)
            found.append(make_embedding("x/r0_c0", **own, pooled=pooled, valid_fraction=share))
    return found


@pytest.fixture
def cells() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(4, 6, 7)).astype(np.float32)


@pytest.mark.parametrize(("pooling", "how"), [("mean", np.mean), ("max", np.max)])
def test_the_vector_is_that_of_all_cells(pooling: str, how: Any, cells: np.ndarray, make_embedding: Any) -> None:
    """Of maxima it was their mean."""
    valid = np.ones((6, 7), np.float32)
    whole = stitched(parts(make_embedding, cells, valid, how), "x", pooling)
    np.testing.assert_array_equal(whole.grid, cells)
    np.testing.assert_allclose(whole.pooled, how(cells, axis=(1, 2)), atol=1e-6)
    assert (whole.id, whole.shape, whole.transform, whole.valid_fraction) == ("x", (6, 7), CORNER, 1.0)


def test_a_tile_in_which_nothing_was_observed_does_not_count(cells: np.ndarray, make_embedding: Any) -> None:
    """Whatever its vector is, NaN or of filled pixels."""
    valid = np.ones((6, 7), np.float32)
    valid[4:, 4:] = 0
    tiles = parts(make_embedding, cells, valid, np.mean)
    tiles[3] = replace(tiles[3], pooled=np.full(4, np.nan, np.float32))
    whole = stitched(tiles, "x")
    np.testing.assert_allclose(whole.pooled, cells[:, valid > 0].mean(axis=1), atol=1e-6)
    assert np.isnan(whole.grid[:, 4:, 4:]).all()
    assert whole.valid_fraction == pytest.approx(36 / 42)


def test_tiles_without_a_place_are_refused_with_what_to_state(cells: np.ndarray, make_embedding: Any) -> None:
    tiles = parts(make_embedding, cells, np.ones((6, 7), np.float32), np.mean)
    with pytest.raises(ValueError, match=r"transform=\(10, 0, 0, 0, -10, 0\)"):
        stitched([replace(tile, transform=None) for tile in tiles], "x")
