"""What tiles of a raster would take is known before a pixel is read, and is what then happens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from eo_data.catalog.sources import ImageSource
from eo_data.catalog.tiles import Tiling
from eo_data.dataset.chip_splits import ChipSplits
from eo_data.preprocess.dataset_normalise import DatasetNormalise
from eo_data.readers.described.tile_plan import TilePlan, plan_of_tiles


@pytest.fixture
def splits(tmp_path: Path) -> ChipSplits:
    profile = {"driver": "GTiff", "height": 100, "width": 150, "count": 1, "dtype": "uint16", "crs": "EPSG:32631"}
    for name in ("a", "b"):
        with rasterio.open(tmp_path / f"{name}.tif", "w", transform=Affine(10, 0, 5e5, 0, -10, 4e6), **profile) as file:
            file.write(np.ones((1, 100, 150), np.uint16))
            file.descriptions = ("RED",)
    source = ImageSource("{id}.tif", ["RED"], sensor="sentinel2_l2a", unit="digital_number", offset=0)
    return ChipSplits(
        str(tmp_path), {"S2": source}, DatasetNormalise({"S2": [0.0]}, {"S2": [1.0]}), tile=64, tile_align=8, halo=16
    )


def test_numbers_by_hand(splits: ChipSplits, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = splits.dataset("predict")
    monkeypatch.setattr(rasterio.DatasetReader, "read", None)
    assert splits.tiling is not None
    plan = plan_of_tiles(dataset.records, splits.tiling, dataset.reader.grid, 8, 192, 4, 0.5)
    # Cells of 32 px: 3 rows, the last of 36 px seen by one window, and 5 columns.
    assert [raster.windows for raster in plan.rasters] == [15, 15]
    assert plan.windows == len(dataset) == 30
    assert plan.bytes == 2 * 13 * 19 * 192 * 4
    assert plan.seconds == 15.0
    output = plan.rasters[0].output(8)
    assert (output.height, output.width, output.transform) == (13, 19, Affine(80, 0, 5e5, 0, -80, 4e6))
    text = str(plan)
    assert "30 windows of 64 px with cores of 32 px (halo 16 px, aligned to 8 px): 4.10 pixels encoded" in text
    assert "a: 15 windows; output of 13 x 19 cells, EPSG:32631, from (500000, 4000000), 80 each" in text
    assert "0.4 MB of output, not compressed" in text
    assert "about 15 s at 0.5 s a window" in text
    unknown = str(plan_of_tiles(dataset.records, splits.tiling, dataset.reader.grid))
    assert "a: 15 windows; 100 x 150 px" in unknown
    assert "MB" not in unknown


def test_a_raster_that_is_smaller_than_a_tile_is_not_called_nothing() -> None:
    assert "each is encoded as one image" in str(TilePlan(Tiling(288, 16, 48), ()))
