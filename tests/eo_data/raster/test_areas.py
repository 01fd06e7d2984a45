"""Shares of cells that a polygon covers, beside an integral that knows no shapely."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from shapely.geometry import Point, Polygon, box

from eo_data.raster.areas import covered_area


def test_boxes_are_shared_as_by_hand() -> None:
    shares = covered_area(box(5, 5, 25, 15), Affine(10, 0, 0, 0, -10, 20), (2, 3))
    np.testing.assert_allclose(shares, [[0.25, 0.5, 0.25], [0.25, 0.5, 0.25]], atol=1e-12)


def test_a_ring_is_as_a_fine_count_of_points_says() -> None:
    """2000 x 2000 points of a grid in each of a few cells, by the radius alone; rotated cells too."""
    ring = Point(50, 50).buffer(40, quad_segs=720).difference(Point(50, 50).buffer(20, quad_segs=720))
    for cells in (Affine(10, 0, 0, 0, -10, 100), Affine(7, 3, 10, 3, -7, 60)):
        shares = covered_area(ring, cells, (10, 10))
        assert shares.dtype == np.float64
        steps = (np.arange(2000) + 0.5) / 2000
        across, down = np.meshgrid(steps, steps)
        for row, column in ((1, 1), (4, 4), (2, 6), (9, 9), (5, 2)):
            x = cells.a * (column + across) + cells.b * (row + down) + cells.c
            y = cells.d * (column + across) + cells.e * (row + down) + cells.f
            distance = np.hypot(x - 50, y - 50)
            assert shares[row, column] == pytest.approx(((distance < 40) & (distance > 20)).mean(), abs=5e-4)


def test_what_lies_outside_does_not_count_and_the_sum_is_the_area_within() -> None:
    rng = np.random.default_rng(0)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 40))
    star = Polygon(np.column_stack([np.cos(angles), np.sin(angles)]) * rng.uniform(300, 900, (40, 1)) + 500)
    grid = Affine(30, 0, 0, 0, -30, 1000)
    shares = covered_area(star, grid, (20, 25))
    assert shares.sum() * 900 == pytest.approx(star.intersection(box(0, 400, 750, 1000)).area, rel=1e-9)
    assert not covered_area(box(-100, 0, -50, 50), grid, (20, 25)).any()
    assert not covered_area(Polygon(), grid, (20, 25)).any()


def test_crossed_polygons_are_refused() -> None:
    with pytest.raises(ValueError, match="Self-intersection"):
        covered_area(shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)]), Affine.identity(), (1, 1))
