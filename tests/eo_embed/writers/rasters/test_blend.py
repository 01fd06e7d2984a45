"""Weights of tiles that overlap add up to one, and tiles of one plane leave each other alone."""

from __future__ import annotations

import numpy as np
import pytest

from eo_data.catalog.tiles import Tiling
from eo_embed.writers.rasters.blend import ramp


@pytest.mark.parametrize(("tile", "align", "halo"), [(64, 16, 16), (64, 8, 8), (96, 8, 24), (36, 4, 8), (40, 8, 8)])
def test_along_rasters_of_any_length_weights_add_up_to_one(tile: int, align: int, halo: int) -> None:
    """Also where the last window is shifted inwards, and stands for more or less than the others."""
    tiling = Tiling(tile, align, halo, "feather")
    for length in range(1, 5 * tile):
        total, planes = np.zeros(length), np.zeros((2, length), dtype=int)
        for window in tiling.windows(length, 1):
            first, _, end, _ = window.blended
            assert 0 <= first < end <= tile
            kept, core = (first + window.top, end + window.top), window.core_in_raster[::2]
            total[slice(*kept)] += ramp(kept, core, halo)
            planes[window.plane // 2, slice(*kept)] += 1
        np.testing.assert_allclose(total, 1, rtol=1e-12)
        assert planes.max() == 1


def test_the_weights_of_a_tile_by_hand() -> None:
    np.testing.assert_allclose(
        ramp((6, 20), (8, 18), 2), [1 / 8, 3 / 8, 5 / 8, 7 / 8, 1, 1, 1, 1, 1, 1, 7 / 8, 5 / 8, 3 / 8, 1 / 8]
    )
    np.testing.assert_allclose(ramp((0, 6), (0, 4), 2), [1, 1, 7 / 8, 5 / 8, 3 / 8, 1 / 8])
