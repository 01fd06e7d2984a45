"""Every cell lies where its pixels lie, and knows how much of it was observed."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from rasters import located

from eo_data.dataset.sample_grid import SampleGrid, sample_grids

UTM = Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 4_000_000.0)
ROTATED = Affine(8.0, 3.0, 500_000.0, 3.0, -8.0, 4_000_000.0)


def place(transform: Affine | None = UTM, height: int = 64, width: int = 48) -> SampleGrid:
    return SampleGrid("a/tile", ("a/tile.tif",), transform, None, np.ones((height, width), dtype=bool), ())


@pytest.mark.parametrize("transform", [UTM, ROTATED, Affine(1e-4, 0, 7.1, 0, -1e-4, 51.2)])
def test_the_centre_of_a_cell_is_the_mean_of_its_pixels(transform: Affine) -> None:
    cells = place(transform).of_cells((8, 6))
    assert cells is not None
    for row, column in ((0, 0), (3, 5), (7, 2)):
        rows, columns = np.mgrid[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] + 0.5
        pixels = [values.mean() for values in located(transform, columns, rows)]
        cell = located(cells, np.array(column + 0.5), np.array(row + 0.5))
        assert [float(value) for value in cell] == pytest.approx(pixels, rel=1e-12)


def test_the_share_of_observed_pixels_per_cell() -> None:
    valid = np.ones((16, 16), dtype=bool)
    valid[:8, :8] = False
    valid[8:12, 8:16] = False
    found = SampleGrid("x", ("x",), UTM, None, valid, ()).valid_share((2, 2))
    np.testing.assert_allclose(found, [[0, 1], [1, 0.5]])


def batch(**more: Any) -> dict[str, Any]:
    return {"image": torch.zeros(2, 3, 8, 8), "filename": ["/data/a/tile.tif", "/data/b/tile.tif"]} | more


def test_two_files_of_one_name_in_two_folders_are_two_ids() -> None:
    assert [p.id for p in sample_grids(batch(), (8, 8), Path("/data"))] == ["a/tile", "b/tile"]
    assert [p.id for p in sample_grids(batch(), (8, 8))] == ["data/a/tile", "data/b/tile"]
    assert [p.id for p in sample_grids(batch(id=["x", "y"]), (8, 8))] == ["x", "y"]


def test_georeference_of_the_batch_is_taken_in_float64() -> None:
    bounds = torch.tensor([[500_000.1, 0.3, 500_080.1, 80.3]] * 2, dtype=torch.float64)
    (first, _) = sample_grids(batch(bounds=bounds, crs=["A", "B"]), (8, 8))
    assert first.transform is not None
    assert (first.transform.c, first.transform.f) == (500_000.1, 80.3)
    geo = torch.tensor([ROTATED.to_gdal()] * 2, dtype=torch.float64)
    assert sample_grids(batch(bounds=bounds, geotransform=geo, crs=["A", "B"]), (8, 8))[0].transform == ROTATED


def test_a_stock_data_module_is_helped_by_its_files_only_if_their_size_fits(tmp_path: Path) -> None:
    path = tmp_path / "tile.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=8, width=8, dtype="uint8", crs="EPSG:32631", transform=UTM
    ) as file:
        file.write(np.ones((1, 8, 8), np.uint8))
    given = {"image": None, "filename": [str(path)]}
    (found,) = sample_grids(given, (8, 8))
    assert found.transform == UTM
    assert found.crs is not None
    (resized,) = sample_grids(given, (16, 16))
    assert resized.transform is None


def test_dates_come_from_what_the_data_module_records() -> None:
    acquired = ["s2 2019-09-18 (index); s1 2019-09-17 (index)", ""]
    first, second = sample_grids(batch(acquired=acquired), (8, 8))
    assert first.dates == (datetime.date(2019, 9, 17), datetime.date(2019, 9, 18))
    assert second.dates == ()


def test_a_batch_without_names_is_refused() -> None:
    with pytest.raises(ValueError, match="no list of file names"):
        sample_grids({"image": torch.zeros(1, 3, 8, 8)}, (8, 8))


def test_area_is_of_the_ground_in_square_metres() -> None:
    utm, degrees = (rasterio.crs.CRS.from_epsg(code).to_wkt() for code in (32631, 4326))
    assert SampleGrid("x", ("x",), UTM, utm, np.ones((10, 20), dtype=bool), ()).area == pytest.approx(20_000)
    chip = Affine(1e-4, 0, 7.0, 0, -1e-4, 60.0)
    found = SampleGrid("x", ("x",), chip, degrees, np.ones((100, 100), dtype=bool), ()).area
    assert found == pytest.approx(1113.9 * 1113.9 * 0.5, rel=0.01)  # cos 60 degrees
    assert place().area == 0


def test_addresses_of_a_stock_data_module_lose_their_credentials() -> None:
    batch = {
        "filename": ["https://user:SECRET@h/a/x.tif?sig=SE/CR.ET"],
        "bounds": torch.zeros(1, 4, dtype=torch.float64) + torch.tensor([0.0, 0, 1, 1]),
    }
    (found,) = sample_grids(batch, (8, 8))
    assert found.sources == ("https://h/a/x.tif",)
    assert "SE" not in found.id
