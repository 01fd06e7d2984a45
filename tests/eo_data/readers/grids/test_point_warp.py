"""Images that only points place: where pixels come to in any CRS, in parts as in the whole."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from affine import Affine
from pyproj import CRS, Geod, Transformer

from eo_data.raster.georeference import PixelGrid
from eo_data.raster.raster import to_map
from eo_data.readers.formats.facts import Part
from eo_data.readers.grids.point_warp import PointWarp

SIDE, PIXEL = 400, 100.0
GEOD = Geod(ellps="WGS84")


def place(row: float, column: float) -> tuple[float, float]:
    """Return longitude and latitude of a pixel: along a great circle, and at right angles from it, as a radar sees."""
    longitude, latitude, back = GEOD.fwd(12.0, 60.0, -165.0, row * PIXEL)
    longitude, latitude, _ = GEOD.fwd(longitude, latitude, back - 90, column * PIXEL)
    return float(longitude), float(latitude)


@pytest.fixture(scope="module")
def warp() -> PointWarp:
    steps = np.linspace(0, SIDE - 1, 8)
    rows, columns = (axis.ravel() for axis in np.meshgrid(steps, steps, indexing="ij"))
    places = np.array([place(row, column) for row, column in zip(rows, columns, strict=True)])
    return PointWarp(SIDE, SIDE, rows, columns, places[:, 0], places[:, 1])


def around(crs: str, size: float, row: int, column: int, side: int = 40) -> PixelGrid:
    """Return a small grid around a pixel of the image."""
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(*place(row, column))
    corner = Affine(size, 0, round(x / size - side / 2) * size, 0, -size, round(y / size + side / 2) * size)
    return PixelGrid(side, side, corner, str(CRS(crs).to_wkt()))


@pytest.mark.parametrize(("crs", "size"), [("EPSG:32632", 100.0), ("EPSG:3035", 100.0), ("EPSG:4326", 0.001)])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (31, 370), (203, 211), (399, 399)])
def test_a_bright_pixel_comes_to_its_place(warp: PointWarp, crs: str, size: float, row: int, column: int) -> None:
    pixels = np.zeros((SIDE, SIDE), np.float32)
    pixels[row, column] = 1
    grid = around(crs, size, row, column)
    found = np.nan_to_num(warp.on_grid(pixels, Part(0, 0, SIDE, SIDE), grid, "bilinear"))
    rows, columns = np.indices(found.shape)
    centre = [float((axis * found).sum() / found.sum()) + 0.5 for axis in (columns, rows)]
    assert grid.transform is not None
    x, y = to_map(grid.transform, centre[0], centre[1])
    expected = Transformer.from_crs(4326, crs, always_xy=True).transform(*place(row, column))
    # At the border of the image half of the neighbours are not there.
    assert np.hypot(x - expected[0], y - expected[1]) / size < (0.5 if row in (0, 399) else 0.15)


def test_a_point_that_terrain_moves_takes_its_pixel_along() -> None:
    """A polynomial through all points would pass it by."""
    steps = np.linspace(0, SIDE - 1, 8)
    rows, columns = (axis.ravel() for axis in np.meshgrid(steps, steps, indexing="ij"))
    places = np.array([place(row, column) for row, column in zip(rows, columns, strict=True)])
    moved = 27  # at row and column 171
    # 500 m further east, which are five pixels
    places[moved] = GEOD.fwd(float(places[moved, 0]), float(places[moved, 1]), 90.0, 500.0)[:2]
    pixels = np.zeros((SIDE, SIDE), np.float32)
    pixels[171, 171] = 1
    own = PointWarp(SIDE, SIDE, rows, columns, places[:, 0], places[:, 1])
    grid = around("EPSG:32632", 100.0, 171, 171)
    found = np.nan_to_num(own.on_grid(pixels, Part(0, 0, SIDE, SIDE), grid, "bilinear"))
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert grid.transform is not None
    x, y = to_map(grid.transform, column + 0.5, row + 0.5)
    expected = Transformer.from_crs(4326, 32632, always_xy=True).transform(*places[moved])
    assert (rows[moved], columns[moved]) == (171, 171)
    assert np.abs(np.subtract((x, y), expected)).max() <= 100


def test_only_what_is_needed_is_asked_for_and_gives_the_same(warp: PointWarp) -> None:
    pixels = np.random.default_rng(0).uniform(0, 1, (SIDE, SIDE)).astype(np.float32)
    grid = around("EPSG:32632", 100.0, 203, 211)
    part = warp.needed(grid)
    assert part is not None
    assert part.height * part.width < 70 * 70
    own = pixels[part.top : part.top + part.height, part.left : part.left + part.width]
    for name in ("bilinear", "nearest", "cubic", "average"):
        whole = warp.on_grid(pixels, Part(0, 0, SIDE, SIDE), grid, name)
        np.testing.assert_allclose(warp.on_grid(own, part, grid, name), whole, atol=0.01)
    assert warp.needed(around("EPSG:32632", 100.0, 5000, 211)) is None


def test_coarser_pixels_are_means_of_all_that_lie_in_them(warp: PointWarp) -> None:
    pixels = np.zeros((SIDE, SIDE), np.float32)
    pixels[::2] = 1
    grid = around("EPSG:32632", 1000.0, 200, 200, 10)
    found = warp.on_grid(pixels, Part(0, 0, SIDE, SIDE), grid, "average")
    assert found == pytest.approx(0.5, abs=0.06)


def test_cubic_values_beside_gaps_stay_within_what_is_there(warp: PointWarp) -> None:
    pixels = np.ones((SIDE, SIDE), np.float32)
    pixels[np.random.default_rng(0).uniform(0, 1, pixels.shape) < 0.5] = np.nan
    found = warp.on_grid(pixels, Part(0, 0, SIDE, SIDE), around("EPSG:32632", 80.0, 200, 200), "cubic")
    assert found[np.isfinite(found)] == pytest.approx(1, abs=1e-4)


def test_nothing_is_logged(warp: PointWarp, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        warp.on_grid(
            np.ones((SIDE, SIDE), np.float32), Part(0, 0, SIDE, SIDE), around("EPSG:32632", 90.0, 9, 9), "nearest"
        )
    assert not caplog.records
