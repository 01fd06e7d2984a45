"""Grids that are one are told from grids that only have the same extent, by the same rule everywhere."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from pyproj import CRS

from eo_data.raster.georeference import (
    HALF_A_PIXEL,
    ONE_PIXEL,
    ROUNDING,
    PixelGrid,
    check_georeference,
    compare_grids,
    place_of_tile,
    same_crs,
    same_grid,
)
from eo_data.raster.raster import Raster
from eo_data.raster.sample import Image, Sample, SampleError
from eo_data.sensors.units import InputUnit

UTM, OTHER_ZONE = (CRS.from_epsg(code).to_wkt() for code in (32632, 32633))
#: 10 m pixels, north up; 8 rows and 12 columns of them cover 120 m x 80 m.
NORTH_UP = Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0)
GRID = PixelGrid(8, 12, NORTH_UP, UTM)


def at(x: float, y: float, *, height: int = 8, width: int = 12, size: float = 10.0) -> PixelGrid:
    return PixelGrid(height, width, Affine(size, 0.0, 500_000.0 + x, 0.0, -size, 5_000_000.0 + y), UTM)


@pytest.mark.parametrize(
    ("other", "gap"),
    [
        (at(0, 0), 0.0),
        (at(2.5, 0), 0.25),
        (at(2.5, -40), 4.0),
        (at(-0.01, 0), 0.001),
        # Twice the pixel: over the same ground, one of its own pixels wider, and half of one moved.
        (at(0, 0, height=4, width=6, size=20.0), 0.0),
        (at(0, 0, height=4, width=7, size=20.0), 1.0),
        (at(10, 0, height=4, width=6, size=20.0), 0.5),
        # 10.01 m instead of 10 m: 0.12 m at the far corner.
        (at(0, 0, size=10.01), 0.12 / 10.01),
        # Turned by half a circle, and rows from south to north: same extent, other corners.
        (PixelGrid(8, 12, Affine(-10, 0, 500_120, 0, 10, 4_999_920), UTM), 12.0),
        (PixelGrid(8, 12, Affine(10, 0, 500_000, 0, 10, 4_999_920), UTM), 8.0),
    ],
)
def test_the_gap_is_that_of_the_furthest_corner_in_the_larger_pixels(other: PixelGrid, gap: float) -> None:
    for one, two in ((GRID, other), (other, GRID)):
        assert compare_grids(one, two).gap == pytest.approx(gap, abs=1e-6)


def test_degrees_are_counted_in_pixels_too() -> None:
    wkt = CRS.from_epsg(4326).to_wkt()
    one = PixelGrid(512, 512, Affine(8.98e-5, 0, -6.1, 0, -8.98e-5, 38.2), wkt)
    other = replace(one, transform=Affine(8.98e-5, 0, -6.1 + 0.3 * 8.98e-5, 0, -8.98e-5, 38.2))
    assert compare_grids(one, other).gap == pytest.approx(0.3, abs=1e-5)
    assert compare_grids(one, one).same_grid()
    assert not compare_grids(one, other).same_grid()


def test_a_turned_grid_of_the_same_extent_is_another_grid() -> None:
    """A square turned by a right angle has the extent and the size of the other one, and each pixel elsewhere."""
    square = PixelGrid(8, 8, NORTH_UP, UTM)
    quarter = replace(square, transform=Affine(0, 10, 500_000, -10, 0, 5_000_000))
    corners = [(quarter.transform.a * x + quarter.transform.b * y, quarter.transform.d * x + quarter.transform.e * y)
               for x in (0, 8) for y in (0, 8)]  # fmt: skip
    assert {x for x, _ in corners} == {0, 80}
    assert {y for _, y in corners} == {0, -80}
    found = compare_grids(square, quarter)
    assert found.same_directions is False
    assert not found.same_ground(1000)


@pytest.mark.parametrize(
    "turned", [Affine(-10, 0, 500_010, 0, 10, 4_999_990), Affine(10, 0, 500_000, 0, 10, 4_999_990)]
)
def test_one_pixel_upside_down_is_refused_although_its_corners_are_near(turned: Affine) -> None:
    found = compare_grids(PixelGrid(1, 1, NORTH_UP, UTM), PixelGrid(1, 1, turned, UTM))
    assert found.gap == 1.0
    assert not found.same_ground(ONE_PIXEL)


def test_a_rotated_grid_is_compared_along_its_own_rows() -> None:
    """30 degrees: two pixels along a row are 2 * 10 m * (cos, sin) on the map."""
    cosine, sine = 10 * math.cos(math.pi / 6), 10 * math.sin(math.pi / 6)
    one = PixelGrid(5, 5, Affine(cosine, sine, 0, sine, -cosine, 0), None)
    other = replace(one, transform=Affine(cosine, sine, 2 * cosine, sine, -cosine, 2 * sine))
    assert compare_grids(one, other).gap == 2.0
    assert place_of_tile(other, one) == (0, 2)


def test_what_is_not_known_speaks_for_neither_but_is_told() -> None:
    nowhere = PixelGrid(8, 12, None, None)
    found = compare_grids(GRID, nowhere)
    assert (found.same_crs, found.same_directions, found.gap) == (None, None, None)
    assert found.same_grid()
    assert not found.same_knowledge
    assert not compare_grids(GRID, replace(GRID, crs=None)).same_knowledge
    assert compare_grids(nowhere, nowhere).same_knowledge
    assert not compare_grids(GRID, replace(nowhere, width=13)).same_grid()


def test_tolerances_are_what_they_say() -> None:
    assert (ROUNDING, HALF_A_PIXEL, ONE_PIXEL) == (0.001, 0.5, 1.0)
    for gap, tolerance in ((0.01, ROUNDING), (5.0, HALF_A_PIXEL), (10.0, ONE_PIXEL)):
        assert compare_grids(GRID, at(gap, 0)).same_grid(tolerance)
        assert not compare_grids(GRID, at(1.1 * gap, 0)).same_grid(tolerance)


@pytest.mark.parametrize(
    "broken", [Affine(0, 0, 0, 0, 0, 0), Affine(math.nan, 0, 0, 0, -10, 0), Affine(10, 0, math.inf, 0, -10, 0)]
)
def test_a_transform_that_is_none_is_never_the_same(broken: Affine) -> None:
    """NaN is not larger than any tolerance."""
    grid = replace(GRID, transform=broken)
    for one, other in ((GRID, grid), (grid, GRID), (grid, grid)):
        assert not compare_grids(one, other).same_ground(1e9)
    assert place_of_tile(grid, GRID) is None
    assert place_of_tile(GRID, grid) is None


def test_a_crs_is_the_same_however_it_is_written() -> None:
    spelt = CRS.from_epsg(32632).to_wkt("WKT1_GDAL")
    assert spelt != UTM
    assert same_crs(UTM, spelt) is True
    assert same_crs(UTM, OTHER_ZONE) is False
    assert same_crs(UTM, None) is None
    assert same_crs(UTM, "a local system") is False
    assert same_crs("a local system", "a local system") is True


# Tiles


def test_a_tile_lies_where_it_was_cut() -> None:
    assert place_of_tile(GRID.window(3, 5, 4, 4), GRID) == (3, 5)
    assert place_of_tile(at(50, -30, height=4, width=4), GRID) == (3, 5)
    assert place_of_tile(at(-20, 10), GRID) == (-1, -2)
    assert place_of_tile(at(50.004, -30, height=4, width=4), GRID) == (3, 5)


@pytest.mark.parametrize(
    "tile",
    [
        at(54, -30, height=4, width=4),
        at(50, -30, height=4, width=4, size=5.0),
        # 0.1 % larger: half a pixel at the far corner of 512.
        at(0, 0, height=512, width=512, size=10.01),
        replace(at(50, -30), crs=OTHER_ZONE),
    ],
)
def test_a_tile_that_is_not_cut_along_the_pixels_has_no_place(tile: PixelGrid) -> None:
    assert place_of_tile(tile, GRID) is None


def test_no_place_without_transforms() -> None:
    with pytest.raises(ValueError, match="needs the transforms of the tile and of the raster"):
        place_of_tile(replace(GRID, transform=None), GRID)


def test_no_operator_that_affine_is_giving_up() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compare_grids(GRID, at(3, 4))
        assert place_of_tile(GRID.window(1, 2, 3, 4), GRID) == (1, 2)


# Samples


def image(x: float = 0.0, size: float = 10.0, side: int = 16, crs: str | None = UTM) -> Image:
    pixels = np.zeros((1, side, side), dtype=np.float32)
    transform = Affine(size, 0.0, 500_000.0 + x, 0.0, -size, 5_000_000.0)
    raster = Raster(pixels, np.ones((side, side), dtype=bool), transform, crs)
    return Image(raster, ("A",), InputUnit.REFLECTANCE, size, paths=("a.tif",))


def sample(**images: Image) -> Sample:
    return Sample("x", images)


def test_images_of_one_ground_may_end_one_coarse_pixel_apart() -> None:
    check_georeference(sample(S2=image(), S1=image(10.0), coarse=image(20.0, 20.0, 8)))
    with pytest.raises(SampleError, match=r"x: 'S2' covers \(500000.0, .* to 1 of the larger pixels"):
        check_georeference(sample(S2=image(), S1=image(10.2)))
    with pytest.raises(SampleError, match="x: 'S2' and 'S1' have different CRS"):
        check_georeference(sample(S2=image(), S1=image(crs=OTHER_ZONE)))


def test_images_on_one_grid_are_not_nearer_to_a_neighbour() -> None:
    """0.7 pixels off, each pixel of one image lies on the next pixel of the other."""
    assert same_grid(sample(S2=image(), S1=image(5.0))).pixel_size == 10
    with pytest.raises(SampleError, match="to 0.5 of the larger pixels"):
        same_grid(sample(S2=image(), S1=image(7.0)))
    with pytest.raises(SampleError, match="Bring them to one grid"):
        same_grid(sample(S2=image(), S1=image(0, 20.0, 8)))
