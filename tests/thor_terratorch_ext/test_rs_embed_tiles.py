"""Tiles cover a raster once, at the place they say."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from rasters import located, plain_raster
from rs_embed_tiling import cut_tiles, owned_spans, plan_tiles, snapped_length, tile_starts


class TestTiles:
    def test_starts_and_snap(self) -> None:
        assert [tile_starts(length, 10) for length in (4, 10, 11, 20, 25)] == [
            (0,), (0,), (0, 1), (0, 10), (0, 10, 15),
        ]  # fmt: skip
        # 10 % of 288 is 28.8: an overhang of 29 goes, one of 30 stays; nothing snaps below one tile.
        assert [snapped_length(n, 288) for n in (200, 300, 317, 318, 605)] == [200, 288, 288, 318, 576]
        assert snapped_length(300, 288, 0) == 300

    def test_a_raster_a_little_larger_than_a_tile_is_shrunk_and_keeps_its_ground(self) -> None:
        plan = plan_tiles(300, 600, 288)
        assert (plan.snapped_hw, plan.row_starts, plan.column_starts, plan.count) == ((288, 576), (0,), (0, 288), 2)
        left, right = cut_tiles(plan, plain_raster(np.ones((1, 300, 600)), Affine(10, 0, 0, 0, -10, 0)))
        assert left.bounds == pytest.approx((0, -3000, 3000, 0))
        assert right.bounds == pytest.approx((3000, -3000, 6000, 0))

    def test_short_edges_repeat_the_last_row_and_column(self) -> None:
        pixels = np.arange(6).reshape(1, 2, 3)
        (tile,) = cut_tiles(plan_tiles(2, 3, 4), plain_raster(pixels, Affine.identity()))
        assert tile.pixels.tolist() == [[[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]]
        assert tile.valid.sum() == 6
        assert tile.transform == Affine.identity()

    def test_each_pixel_has_one_owner_that_shows_it(self) -> None:
        for length in range(1, 60):
            for tile in range(1, 20):
                starts = tile_starts(length, tile)
                spans = owned_spans(starts, tile, length)
                assert [pixel for span in spans for pixel in range(*span)] == list(range(length))
                for start, (first, stop) in zip(starts, spans, strict=True):
                    assert start <= first < stop <= start + tile
        assert owned_spans((0, 10, 15), 10, 25) == [(0, 10), (10, 17), (17, 25)]

    def test_many_tiles_warn_and_too_many_are_refused(self) -> None:
        with pytest.warns(UserWarning, match="make 65 tiles of 10 pixels, more than max_tiles=64"):
            plan_tiles(10, 650, 10)
        with pytest.raises(ValueError, match="make 1025 tiles .*max_tiles_hard=1024. Take a smaller area"):
            plan_tiles(10, 10_250, 10)
        assert plan_tiles(80, 80, 10).count == 64

    def test_impossible_values_are_refused(self) -> None:
        with pytest.raises(ValueError, match="tile must be a whole number >= 1"):
            plan_tiles(5, 5, 0)
        with pytest.raises(ValueError, match="width must be a whole number >= 1"):
            plan_tiles(5, 0, 5)
        with pytest.raises(ValueError, match="snap_frac must be between 0 and 0.5 of a tile, got 0.6"):
            plan_tiles(5, 5, 5, 0.6)
        with pytest.raises(ValueError, match="length must be"):
            tile_starts(0, 5)
        with pytest.raises(ValueError, match=r"for rasters of \(5, 5\) pixels, got \(5, 6\)"):
            next(cut_tiles(plan_tiles(5, 5, 5), plain_raster(np.ones((1, 5, 6)))))
        for starts, length in (((), 5), ((1,), 5), ((0, 6), 11), ((0, 0), 5), ((0,), 6)):
            with pytest.raises(ValueError, match="do not cover"):
                owned_spans(starts, 5, length)


def test_a_spot_in_overlapping_tiles_is_found_in_each_of_them() -> None:
    pixels = np.zeros((1, 50, 70), np.float32)
    pixels[0, 21, 47] = 1
    seen = 0
    transform = Affine(10, 0, 300, 0, -10, 900)
    for tile in cut_tiles(plan_tiles(50, 70, 32, 0), plain_raster(pixels, transform)):
        if tile.pixels.max() > 0:
            row, column = np.unravel_index(tile.pixels[0].argmax(), (32, 32))
            assert tile.transform is not None
            assert located(tile.transform, column + 0.5, row + 0.5) == (300 + 475, 900 - 215)
            seen += 1
    assert seen == 4
