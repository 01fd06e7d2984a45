"""Terrain-corrected Sentinel-1 of three producers: units by their names, what is no data, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from small_files import image_reader, read, record_of
from small_sentinel1 import zipped

from eo_data.catalog.hrefs import Href
from eo_data.catalog.patterns.product_folders import is_product_folder
from eo_data.catalog.sources import ImageSource
from eo_data.dataset.chip_splits import ChipSplits
from eo_data.preprocess.dataset_normalise import DatasetNormalise
from eo_data.raster.sample import Image, SampleError
from eo_data.readers.files import facts_of, reader_of

ITEM = "S1A_IW_GRDH_1SDV_20200727T122412_20200727T122441_033640_03E61B_rtc"
OPERA = "OPERA_L2_RTC-S1_T115-245714-IW1_20240809T141633Z_20250411T185446Z_S1A_30_v1.0"
HYP3 = "S1A_IW_20180102T155531_DVP_RTC30_G_gpuned_5685"


def write_image(path: Path, values: np.ndarray, nodata: float | None = None, left: float = 500000.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    place = {"crs": "EPSG:32633", "transform": Affine(30, 0, left, 0, -30, 5e6), "dtype": values.dtype}
    with rasterio.open(path, "w", "GTiff", values.shape[1], values.shape[0], 1, nodata=nodata, **place) as file:
        file.write(values, 1)


def write_product(root: Path, name: str, patterns: tuple[str, str], values: tuple[float, float] = (0.1, 0.01)) -> Path:
    """Write images of VV and VH, of one value but for a pixel of -32768, one of 0 and one that is no number."""
    for pattern, value in zip(patterns, values, strict=True):
        pixels = np.full((8, 8), value, np.float32)
        pixels[0, :3] = (-32768, 0, np.nan)
        write_image(root / name / pattern, pixels)
    return root / name


def image(path: Path, *bands: str, **options: Any) -> Image:
    usual: dict[str, Any] = {"sensor": "sentinel1", "unit": "linear_power", "pixel_size": 30}
    return image_reader(bands=bands or ["VV", "VH"], **(usual | options)).read(record_of(path))


@pytest.mark.parametrize(
    ("name", "files", "day"),
    [
        (ITEM, ("iw-vv.rtc.tiff", "iw-vh.rtc.tiff"), "2020-07-27"),
        (f"{ITEM[:-4]}_60B6", ("measurement/iw-vv.rtc.tiff", "measurement/iw-vh.rtc.tiff"), "2020-07-27"),
        (OPERA, (f"{OPERA}_VV.tif", f"{OPERA}_VH.tif"), "2024-08-09"),
        (HYP3, (f"{HYP3}_VV.tif", f"{HYP3}_VH.tif"), "2018-01-02"),
    ],
)
def test_a_folder_of_two_polarisations_is_an_image(tmp_path: Path, name: str, files: tuple[str, str], day: str) -> None:
    path = write_product(tmp_path, name, files)
    found = image(path, dated=True)
    # 10 log10(0.1) and 10 log10(0.01); the first three pixels are no data.
    assert found.raster.valid.sum() == 61
    assert not found.raster.valid[0, :3].any()
    assert found.raster.pixels[0][found.raster.valid] == pytest.approx(-10, abs=1e-4)
    assert found.raster.pixels[1][found.raster.valid] == pytest.approx(-20, abs=1e-4)
    assert [str(date) for date in found.dates] == [day]
    assert any("layover and shadow are not masked" in note for note in found.notes)
    facts = facts_of(Href(str(path)))[0]
    assert [band.name for band in facts.bands] == ["IW_VV", "IW_VH"]
    assert facts.product is not None
    assert str(facts.product.started)[:10] == day


def test_zero_is_missing_in_a_single_band_too(tmp_path: Path) -> None:
    path = write_product(tmp_path, ITEM, ("iw-vv.rtc.tiff", "iw-vh.rtc.tiff"))
    assert image(path, "VV", target_unit="linear_power").raster.valid.sum() == 61


def test_the_name_tells_decibels_from_power_and_refuses_amplitudes(tmp_path: Path) -> None:
    name = HYP3.replace("gpuned", "sduned")
    path = write_product(tmp_path, name, (f"{name}_VV.tif", f"{name}_VH.tif"), (-9.0, -18.0))
    found = image(path, unit="decibel")
    assert found.raster.pixels[0][found.raster.valid].min() == -9
    assert any(note.startswith("sigma0") for note in found.notes)
    with pytest.raises(SampleError, match="unit is decibel.*State unit: decibel"):
        image(path)
    name = HYP3.replace("gpuned", "gauned")
    with pytest.raises(SampleError, match=f"{name}: by its name it holds amplitudes.*in power or decibel"):
        image(write_product(tmp_path, name, (f"{name}_VV.tif", f"{name}_VH.tif")))


def test_zip_and_folder_give_the_same_and_other_layers_do_not_count(tmp_path: Path) -> None:
    path = write_product(tmp_path, HYP3, (f"{HYP3}_VV.tif", f"{HYP3}_VH.tif"))
    for other in ("inc_map", "rgb", "dem", "ls_map"):
        write_image(path / f"{HYP3}_{other}.tif", np.ones((8, 8), np.float32))
    whole, packed = image(path), image(zipped(path, tmp_path / f"{HYP3}.zip"))
    np.testing.assert_array_equal(packed.raster.pixels, whole.raster.pixels)
    assert packed.notes == whole.notes


def test_what_a_product_lacks_or_mixes_is_named(tmp_path: Path) -> None:
    path = write_product(tmp_path, ITEM, ("iw-vv.rtc.tiff", "iw-vh.rtc.tiff"))
    write_image(path / "iw-vh.rtc.tiff", np.full((8, 8), 0.1, np.float32), left=500030.0)
    with pytest.raises(SampleError, match="iw-vh.rtc.tiff.*corners are up to 1 pixels apart"):
        image(path)
    (path / "iw-vh.rtc.tiff").unlink()
    with pytest.raises(SampleError, match=f"{ITEM}: it has no image of IW_VH, only of IW_VV.*leave the band out"):
        image(path)
    assert image(path, "VV").raster.valid.any()
    shutil.copy(path / "iw-vv.rtc.tiff", path / "other_VV.tif")
    with pytest.raises(SampleError, match=f"{ITEM}: it has two images of IW_VV"):
        image(path, "VV")
    (path / "other_VV.tif").unlink()
    write_image(path / "iw-vv.rtc.tiff", np.full((8, 8), 100, np.uint8))
    with pytest.raises(SampleError, match=f"{ITEM}: its numbers are uint8, expected float32"):
        image(path, "VV")
    (path / "iw-vv.rtc.tiff").unlink()
    with pytest.raises(SampleError, match=f"{ITEM}: it lacks its metadata .*_VV.tif"):
        image(path, "VV")


def test_files_of_a_product_are_ordinary_rasters(tmp_path: Path) -> None:
    path = write_product(tmp_path, OPERA, (f"{OPERA}_VV.tif", f"{OPERA}_VH.tif"))
    file = path / f"{OPERA}_VV.tif"
    assert reader_of(Href(str(file))).name == "GDAL"
    alone = read(file, ImageSource("x", ["VV"], sensor="sentinel1", unit="linear_power", file_bands=["VV"]))
    assert alone.pixels[0, 4, 4] == pytest.approx(0.1)
    by_band = ImageSource(f"{OPERA}/{{id}}_{{band}}.tif", ["VV", "VH"], sensor="sentinel1", unit="linear_power")
    as_one = ImageSource("{id}_v1.0", ["VV", "VH"], sensor="sentinel1", unit="linear_power")
    for source in (by_band, as_one):
        plain = DatasetNormalise({"S1": [0.0, 0.0]}, {"S1": [1.0, 1.0]})
        data = ChipSplits(str(tmp_path), {"S1": source}, plain, num_workers=0).dataset("predict")
        assert len(data) == 1
    for name in (ITEM, OPERA, HYP3):
        assert is_product_folder(name)
        assert reader_of(Href(name)).name == "Sentinel-1 RTC"
