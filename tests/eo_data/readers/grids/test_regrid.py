"""A tile of a resampled raster is the crop of the whole, and what is missing does not weigh in what is beside it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from rasterio.enums import Resampling
from rasterio.warp import reproject
from small_files import level2a, read

from eo_data.catalog.records import TileWindow
from eo_data.raster.georeference import PixelGrid
from eo_data.readers.grids.regrid import resampled_grid

LEFT, TOP = 500000.0, 5000000.0
HEIGHT, WIDTH = 67, 93
DIRECTIONS = {
    "north up": (Affine(10, 0, LEFT, 0, -10, TOP), (slice(None), slice(None))),
    "south up": (Affine(10, 0, LEFT, 0, 10, TOP - 10 * HEIGHT), (slice(None, None, -1), slice(None))),
    "westward": (Affine(-10, 0, LEFT + 10 * WIDTH, 0, -10, TOP), (slice(None), slice(None, None, -1))),
}


def _numbers(gaps: int = 0) -> np.ndarray:
    """Two bands of random numbers; ``gaps`` is in a block of both and in another of the first."""
    numbers = np.random.default_rng(1).integers(300, 5000, (2, HEIGHT, WIDTH)).astype(np.uint16)
    numbers[:, 20:31, 5:17] = numbers[0, 50:55, 60:70] = gaps
    return numbers


def _tile(top: int, left: int, side: int, of: tuple[int, int]) -> TileWindow:
    return TileWindow(top, left, side, (0, 0, side, side), of)


@pytest.mark.parametrize("method", ["nearest", "bilinear", "cubic", "average"])
@pytest.mark.parametrize("size", [3.3, 7, 15, 20, 25])
def test_a_tile_is_the_crop_of_the_whole(
    write_tif: Callable[..., Path], tmp_path: Path, method: str, size: float
) -> None:
    path = write_tif(tmp_path / "a.tif", _numbers(), ("B2", "B3"), nodata=0)
    source = level2a(resample_to=size, resampling=method)
    whole = read(path, source)
    height, width = whole.pixels.shape[-2:]
    side = 16 if size > 10 else 64
    for top, left in itertools.product(range(0, height, side), range(0, width, side)):
        tile = read(path, source, _tile(top, left, side, (height, width)))
        expected = whole.pixels[:, top : top + side, left : left + side]
        np.testing.assert_allclose(tile.pixels, expected, rtol=1e-5)
        assert (tile.transform.c, tile.transform.f) == pytest.approx((LEFT + left * size, TOP - top * size))


@pytest.mark.parametrize("direction", ["south up", "westward"])
@pytest.mark.parametrize("method", ["bilinear", "cubic", "average"])
def test_the_direction_of_rows_and_columns_does_not_count(
    write_tif: Callable[..., Path], tmp_path: Path, direction: str, method: str
) -> None:
    pixels = {}
    for name in ("north up", direction):
        transform, turned = DIRECTIONS[name]
        numbers = _numbers()[:, *turned].copy()
        path = write_tif(tmp_path / f"{name}.tif", numbers, ("B2", "B3"), nodata=0, transform=transform)
        reading = read(path, level2a(resample_to=20, resampling=method))
        assert reading.transform == Affine(20, 0, LEFT, 0, -20, TOP)
        pixels[name] = reading.pixels
        # Tiles of the file as it is.
        tile = read(path, level2a(), _tile(32, 48, 16, (HEIGHT, WIDTH))).pixels
        np.testing.assert_array_equal(tile, np.where(numbers == 0, np.nan, numbers)[:, 32:48, 48:64])
    np.testing.assert_allclose(pixels[direction], pixels["north up"], rtol=1e-5)


def test_resampled_values_are_those_of_numpy(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    numbers = _numbers(gaps=1000)[:, :66, :92].copy()
    path = write_tif(tmp_path / "a.tif", numbers, ("B2", "B3"))

    def resampled(size: float, method: str) -> np.ndarray:
        return read(path, level2a(resample_to=size, resampling=method)).pixels

    means = numbers.reshape(2, 33, 2, 46, 2).mean((2, 4))
    np.testing.assert_allclose(resampled(20, "average"), means, rtol=1e-6)
    np.testing.assert_array_equal(resampled(5, "nearest"), numbers.repeat(2, 1).repeat(2, 2))
    # Bilinear: 3/4 of the pixel that the centre lies in and 1/4 of its neighbour, along both axes; edges repeat.
    padded = np.pad(numbers, ((0, 0), (1, 1), (1, 1)), mode="edge").astype(np.float64)
    fine = padded.repeat(2, 1).repeat(2, 2)
    rows = 0.75 * fine[:, 2:-2] + 0.25 * np.where(np.arange(132)[:, None] % 2, fine[:, 4:], fine[:, :-4])
    both = 0.75 * rows[..., 2:-2] + 0.25 * np.where(np.arange(184) % 2, rows[..., 4:], rows[..., :-4])
    np.testing.assert_allclose(resampled(5, "bilinear"), both, rtol=1e-5)


@pytest.mark.parametrize("size", [7, 12, 15, 20, 40])
def test_cubic_values_beside_gaps_are_of_the_range_of_the_file(
    write_tif: Callable[..., Path], tmp_path: Path, size: float
) -> None:
    """GDAL divides by weights that cancel each other: -5863 came out of numbers of 300 to 5000."""
    path = write_tif(tmp_path / "a.tif", _numbers(), ("B2", "B3"), nodata=0)
    pixels = read(path, level2a(resample_to=size, resampling="cubic")).pixels
    assert np.nanmin(pixels) > -1000
    assert np.nanmax(pixels) < 6300
    assert np.isnan(pixels).any()


def test_no_row_of_a_resampled_grid_is_without_a_value() -> None:
    grid = PixelGrid(67, 93, Affine(10, 0, LEFT, 0, -10, TOP), None)
    found = resampled_grid(grid, 20)
    assert (found.height, found.width) == (33, 46)
    assert (resampled_grid(grid, 19.9).height, resampled_grid(grid, 5).width) == (34, 186)


@pytest.mark.parametrize(
    ("options", "fill", "dtype"),
    [
        ({"offset": -1000}, 0, "uint16"),  # Sentinel-2 at the edge of the swath: the files do not say so
        ({"offset": 0}, 0, "uint16"),
        ({"sensor": "landsat8", "scale": 2.75e-5, "offset": -7273}, 0, "uint16"),
        ({"sensor": "sentinel1", "bands": ["VV", "VH"], "unit": "linear_power"}, 0, "float32"),
        ({"sensor": "sentinel1", "bands": ["VV", "VH"], "unit": "decibel"}, 0, "float32"),
        ({"nodata": -9999}, -9999, "int16"),
    ],
)
@pytest.mark.parametrize("method", ["bilinear", "average"])
def test_numbers_for_no_data_do_not_weigh(
    write_tif: Callable[..., Path],
    tmp_path: Path,
    options: dict[str, Any],
    fill: int,
    dtype: str,
    method: str,
) -> None:
    """Else a border of pixels between data and no data has values that nobody measured."""
    numbers = np.random.default_rng(1).integers(300, 5000, (2, 64, 64)).astype(dtype)
    numbers[:, :, :17] = fill
    names = options.get("bands", ("B2", "B3"))
    path = write_tif(tmp_path / "a.tif", numbers, names)
    source = replace(level2a(*names, resample_to=20, resampling=method), **options)
    pixels = read(path, source).pixels
    border = pixels[..., 7:10]
    found = border[np.isfinite(border) & (border != fill)]
    assert found.size
    assert found.min() >= 300


def test_zero_in_all_bands_of_a_file_alone_may_be_a_value_of_another(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    """It comes out as 0, to be judged with the bands of other files."""
    numbers = np.full((2, 64, 64), 1200, np.uint16)
    numbers[:, :, :32] = 0
    path = write_tif(tmp_path / "a.tif", numbers, ("B2", "B3"))
    pixels = read(path, level2a(offset=0, resample_to=20)).pixels
    assert np.unique(pixels).tolist() == [0, 1200]
    harmful = read(path, level2a(offset=-1000, resample_to=20)).pixels
    assert np.unique(harmful[np.isfinite(harmful)]).tolist() == [1200]
    assert np.isnan(harmful[:, :, :15]).all()


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("size", [2.5, 5, 20, 30])
def test_whole_ratios_have_the_numbers_of_gdals_warper(
    write_tif: Callable[..., Path], tmp_path: Path, direction: str, size: float
) -> None:
    """They are computed by PyTorch, in a tenth of the time."""
    transform, order = DIRECTIONS[direction]
    numbers = _numbers()
    path = write_tif(tmp_path / "a.tif", numbers[(slice(None), *order)], ("B2", "B3"), nodata=0, transform=transform)
    found = read(path, level2a(resample_to=size))
    expected = np.full(found.pixels.shape, np.nan, np.float32)
    reproject(
        np.where(numbers == 0, np.nan, numbers.astype(np.float32)),
        expected,
        src_transform=Affine(10, 0, LEFT, 0, -10, TOP),
        dst_transform=found.transform,
        src_crs="EPSG:32632",
        dst_crs="EPSG:32632",
        src_nodata=np.nan,
        dst_nodata=np.nan,
        resampling=Resampling.bilinear,
        UNIFIED_SRC_NODATA="NO",
        XSCALE=10 / size,
        YSCALE=10 / size,
    )
    np.testing.assert_allclose(found.pixels, expected, rtol=1e-5)
    assert np.isnan(expected).any()
