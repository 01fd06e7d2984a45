"""A place becomes a square of whole patches in the right projection, and what cannot be exact is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import rasterio.warp
import shapely
from affine import Affine
from pyproj import CRS, Geod
from shapely.geometry import MultiPolygon, box

from eo_data.catalog.scenes.place_grids import PlaceGrid, grid_of_place
from eo_data.catalog.scenes.places import BBox, PointBuffer, Region


def _code(found: PlaceGrid) -> int | None:
    return CRS.from_user_input(found.grid.crs).to_epsg()


def test_a_square_on_the_central_meridian_lies_where_hand_and_definition_say() -> None:
    """Zone 33: 15 degrees east on the equator is (500000, 0)."""
    found = grid_of_place(PointBuffer(15, 0, 100), 10, 16)
    assert _code(found) == 32633
    assert (found.grid.height, found.grid.width) == (32, 32)
    assert found.grid.transform == Affine(10, 0, 499840, 0, -10, 160)
    assert found.window == (6, 6, 20, 20)
    assert found.region.bounds == pytest.approx((499900, -100, 500100, 100), abs=1e-6)
    south = grid_of_place(PointBuffer(15, -1e-9, 100), 10, 16)
    assert _code(south) == 32733
    assert south.grid.transform == Affine(10, 0, 499840, 0, -10, 10000160)


def test_a_grid_that_fits_already_does_not_grow_by_a_patch() -> None:
    """Projected there and back, corners are off by a billionth of a metre."""
    own = BBox(499840, 4999840, 500160, 5000160, crs="EPSG:32633")
    there = rasterio.warp.transform_bounds("EPSG:32633", "EPSG:32633", 499840, 4999840, 500160, 5000160)
    found = grid_of_place(own, 10, 16)
    assert found.grid.transform == Affine(10, 0, there[0], 0, -10, there[3])
    assert (found.grid.height, found.window) == (32, (0, 0, 32, 32))
    noisy = BBox(499840 - 1e-6, 4999840 + 1e-6, 500160 + 1e-6, 5000160 - 1e-6, crs="EPSG:32633")
    assert grid_of_place(noisy, 10, 16).window == (0, 0, 32, 32)


def test_a_long_place_lies_in_the_middle_of_its_square() -> None:
    found = grid_of_place(BBox(500000, 4999840, 500800, 5000000, crs="EPSG:32633"), 10, 16)
    assert found.grid.transform == Affine(10, 0, 500000, 0, -10, 5000000 + 2 * 160)
    assert (found.grid.height, found.grid.width) == (80, 80)
    assert found.window == (32, 0, 16, 80)


def test_corners_are_at_whole_patches_also_of_odd_sizes() -> None:
    found = grid_of_place(PointBuffer(121.5, 31.2, 2048), 10, 13)
    transform = found.grid.transform
    assert transform is not None
    assert (transform.c % 130, transform.f % 130, found.grid.height % 13) == (0, 0, 0)
    top, left, height, width = found.window
    assert 409 <= min(height, width) <= max(height, width) <= 411
    assert min(top, left) >= 0
    assert max(top + height, left + width) <= found.grid.height


def test_the_geobox_of_a_place_is_its_grid() -> None:
    found = grid_of_place(PointBuffer(15, 0, 100), 10, 16)
    assert found.geobox.shape == (32, 32)
    assert tuple(found.geobox.transform)[:6] == tuple(found.grid.transform or ())[:6]
    assert found.geobox.crs == "EPSG:32633"


def test_other_pixels_show_the_same_ground_or_are_refused() -> None:
    found = grid_of_place(PointBuffer(15, 0, 100), 10, 12)
    assert (found.grid.height, found.grid.transform) == (36, Affine(10, 0, 499800, 0, -10, 120))
    assert found.at(60).height == 6
    assert found.at(60).transform == Affine(60, 0, 499800, 0, -60, 120)
    with pytest.raises(ValueError, match=r"360 m long, which is no whole number of pixels of 300 m"):
        found.at(300)


def test_the_poles_are_exact() -> None:
    """UPS puts the pole at (2000000, 2000000), EPSG Guidance Note 7-2."""
    for lat, code in ((90, 5041), (-90, 5042)):
        found = grid_of_place(PointBuffer(33, lat, 1000), 10, 16)
        assert _code(found) == code
        assert found.region.bounds == pytest.approx((1999000, 1999000, 2001000, 2001000), abs=1e-6)
    with pytest.raises(ValueError, match=r"cannot be projected.*PointBuffer\(0, 90, ...\)"):
        grid_of_place(BBox(-180, 89.99, 180, 90), 10)


def test_the_date_line_is_no_edge() -> None:
    west, east = (grid_of_place(PointBuffer(lon, -16.5, 5000), 10, 16) for lon in (180, -180))
    assert west.grid == east.grid
    over = grid_of_place(BBox(179.9, -16.6, -179.9, -16.4), 10, 16)
    halves = [box(179.9, -16.6, 180, -16.4), box(-180, -16.6, -179.9, -16.4)]
    cut = grid_of_place(Region(MultiPolygon(halves)), 10, 16)
    on = grid_of_place(Region(box(179.9, -16.6, 180.1, -16.4)), 10, 16)
    assert over.grid == cut.grid == on.grid
    assert _code(over) == 32701
    assert cut.region.area == pytest.approx(on.region.area, rel=1e-9)
    area = abs(
        Geod(ellps="WGS84").geometry_area_perimeter(shapely.segmentize(box(179.9, -16.6, 180.1, -16.4), 0.01))[0]
    )
    assert on.region.area == pytest.approx(area, rel=3e-3)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (BBox(-5, 40, 5, 41), r"600 km long"),
        (BBox(10, 40, 9, 41), r"west > east goes over the date line"),
        (BBox(10, 30, 11, 45), r"600 km long"),
        (Region(box(-179, -17, 179, -16)), r"600 km long"),
        (PointBuffer(10, 45, 300_001), r"600.002 x 600.002 km large"),
    ],
)
def test_what_one_projection_does_not_reach_is_refused(place: BBox, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grid_of_place(place, 10)


@pytest.mark.parametrize(("size", "multiple"), [(0, 1), (-10, 1), (math.nan, 1), (10, 0)])
def test_sizes_must_be_positive(size: float, multiple: int) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        grid_of_place(PointBuffer(0, 0, 100), size, multiple)


def test_cells_are_weighted_by_what_the_place_covers_of_them() -> None:
    """A triangle with its right angle at the corner of the grid: rows of halves and wholes, by hand."""
    triangle = shapely.Polygon([(500000, 5000000), (500000, 4999360), (500640, 4999360)])
    found = grid_of_place(Region(triangle, crs="EPSG:32633"), 10, 16)
    expected = np.array([[0.5, 0, 0, 0], [1, 0.5, 0, 0], [1, 1, 0.5, 0], [1, 1, 1, 0.5]])
    np.testing.assert_allclose(found.weights(4, 4), expected, atol=1e-12)
