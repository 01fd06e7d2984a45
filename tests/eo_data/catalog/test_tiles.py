"""Tiles cover a raster without gap or overlap, lie where they say, and are read by window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from eo_data.catalog.sources import ImageSource
from eo_data.catalog.tiles import aligned_starts, tile_windows
from eo_data.datamodules import ChipDataModule
from eo_data.preprocess.dataset_normalise import DatasetNormalise
from eo_data.raster.sample import SampleError
from thor_terratorch_ext import ThorPreprocess

UTM = Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 4_000_000.0)


@pytest.mark.parametrize(
    ("height", "width"), [(64, 64), (100, 150), (130, 64), (65, 200), (20, 30), (129, 129), (1, 300)]
)
@pytest.mark.parametrize(("tile", "align"), [(64, 16), (64, 8), (32, 32)])
def test_every_pixel_is_in_the_core_of_exactly_one_tile_that_sees_it(
    height: int, width: int, tile: int, align: int
) -> None:
    cores = np.zeros((height, width), dtype=int)
    for window in tile_windows(height, width, tile, align):
        assert window.top % align == 0
        assert window.left % align == 0
        top, left, bottom, right = window.core
        assert (top % align, left % align) == (0, 0)  # cuts lie on the grid of patches
        assert 0 <= top < bottom <= tile
        assert 0 <= left < right <= tile
        cores[window.top + top : window.top + bottom, window.left + left : window.left + right] += 1
    assert (cores == 1).all()


def test_the_last_tile_sees_neighbours_instead_of_padding() -> None:
    assert aligned_starts(150, 64, 16) == [0, 64, 96]
    assert aligned_starts(128, 64, 16) == [0, 64]
    assert aligned_starts(60, 64, 16) == [0]


@pytest.mark.parametrize(("tile", "align"), [(0, 16), (60, 16), (64, 0), (-16, 16)])
def test_sizes_that_do_not_fit_together_are_refused(tile: int, align: int) -> None:
    with pytest.raises(ValueError, match="tile must be a positive multiple of tile_align"):
        list(tile_windows(100, 100, tile, align))


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    """A raster of 100 x 150 px whose values are its coordinates; its right third has no data."""
    rows, columns = np.mgrid[0:100, 0:150]
    pixels = np.stack([rows, columns, rows + columns]).astype(np.int16) + 1
    pixels[:, :, 100:] = 0
    path = tmp_path / "big.tif"
    profile = {"count": 3, "height": 100, "width": 150, "dtype": "int16", "nodata": 0}
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32631", transform=UTM, **profile) as file:
        file.write(pixels)
        file.descriptions = ("RED", "GREEN", "BLUE")
    return path


def module(root: Path, preprocess: Any = None, **arguments: Any) -> ChipDataModule:
    source = ImageSource("{id}.tif", ["RED", "GREEN", "BLUE"], sensor="sentinel2_l2a", unit="digital_number")
    stand_in = DatasetNormalise({"s2": [0.0] * 3}, {"s2": [1e-4] * 3})
    data = ChipDataModule(str(root), {"s2": source}, preprocess or stand_in, num_workers=0, **arguments)
    data.setup("predict")
    return data


def test_the_cores_of_all_tiles_make_up_the_raster(raster: Path) -> None:
    data = module(raster.parent, tile=64, tile_align=16, batch_size=1)
    whole = np.full((100, 150), np.nan)
    for batch in data.predict_dataloader():
        assert batch["raster_id"] == ["big"]
        x, _, _, y, _, _ = batch["geotransform"][0].tolist()
        row, column = round((UTM.f - y) / 10), round((x - UTM.c) / 10)
        assert batch["id"] == [f"big/r{row}_c{column}"]
        top, left, bottom, right = (batch["core"][0] * 64).round().int().tolist()
        own = batch["image"][0, 0, top:bottom, left:right].numpy()
        assert np.isnan(whole[row + top : row + bottom, column + left : column + right]).all()
        whole[row + top : row + bottom, column + left : column + right] = own
        valid = batch["valid"][0].numpy()
        assert not valid[:, max(0, 100 - column) :].any()
    rows = np.mgrid[0:100, 0:150][0] + 1.0
    rows[:, 100:] = 0
    np.testing.assert_allclose(whole, rows, rtol=1e-4)


def test_only_the_window_is_read(raster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from eo_data.readers.formats import geotiff as readers

    shapes = []
    inner = readers._pixels

    def spy(*arguments: Any, **named: Any) -> np.ndarray:
        found = inner(*arguments, **named)
        shapes.append(found.shape)
        return found

    monkeypatch.setattr(readers, "_pixels", spy)
    data = module(raster.parent, tile=64, tile_align=16)
    assert data.predict_dataset is not None
    for i in range(len(data.predict_dataset)):
        data.predict_dataset[i]
    assert max(np.prod(shape) for shape in shapes) <= 3 * 64 * 64


def test_a_tile_that_preprocessing_would_crop_is_refused(raster: Path) -> None:
    data = module(raster.parent, ThorPreprocess(), tile=60, tile_align=4)
    assert data.predict_dataset is not None
    with pytest.raises(SampleError, match="no longer fit together"):
        data.predict_dataset[0]


def test_dates_of_an_index_hold_for_all_tiles_of_a_raster(raster: Path) -> None:
    (raster.parent / "dates.csv").write_text("id,date\nbig,2021-03-04\n")
    source = ImageSource(
        "{id}.tif", ["RED"], sensor="sentinel2_l2a", unit="digital_number", dated=True, date_index="dates.csv"
    )
    stand_in = DatasetNormalise({"s2": [0.0]}, {"s2": [1.0]})
    data = ChipDataModule(str(raster.parent), {"s2": source}, stand_in, num_workers=0, tile=64, batch_size=1)
    data.setup("predict")
    acquired = [batch["acquired"][0] for batch in data.predict_dataloader()]
    assert acquired == ["s2 2021-03-04 (index)"] * 6
