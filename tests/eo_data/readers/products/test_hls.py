"""HLS granules as folders: the bands of either satellite under their own numbers, thermal ones in kelvin."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from small_files import image_reader, record_of
from small_products import LEFT, TOP, write_hls, zipped

from eo_data.catalog.hrefs import Href
from eo_data.raster.raster import Raster
from eo_data.raster.sample import SampleError
from eo_data.readers.files import facts_of, reader_of

SENSORS = {"S30": "sentinel2_l2a", "L30": "landsat8"}


def raster(product: Path, *bands: str, **options: Any) -> Raster:
    return (
        image_reader(bands=list(bands), sensor=SENSORS[product.name[4:7]], pixel_size=30, **options)
        .read(record_of(product))
        .raster
    )


def constant(value: int) -> np.ndarray:
    return np.full((20, 20), value, np.int16)


@pytest.mark.parametrize(("kind", "number"), [("S30", "B11"), ("L30", "B06")])
def test_the_numbers_of_bands_are_those_of_the_satellite(tmp_path: Path, kind: str, number: str) -> None:
    product = write_hls(tmp_path, kind, {number: constant(2500)})
    assert raster(product, "SWIR_1").pixels[0, 3, 3] == pytest.approx(0.25)


def test_thermal_bands_are_hundredths_of_degrees_celsius(tmp_path: Path) -> None:
    product = write_hls(tmp_path, "L30", {"B10": constant(2150)})
    image = image_reader(bands=["B10"], sensor="landsat8").read(record_of(product))
    assert image.raster.pixels[0, 3, 3] == pytest.approx(21.5 + 273.15)
    assert image.unit == "kelvin"


def test_fill_is_missing_and_zero_is_dark(tmp_path: Path) -> None:
    blue = constant(700)
    blue[0, 0], blue[0, 1], blue[0, 2] = -9999, 0, -50
    values = raster(write_hls(tmp_path, "S30", {"B02": blue}), "BLUE").pixels[0, 0]
    assert np.isnan(values[0])
    assert values[1:4] == pytest.approx([0, -0.005, 0.07])


def test_fmask_masks_clouds_and_their_shadows(tmp_path: Path) -> None:
    fmask = np.full((20, 20), 64, np.uint8)  # clear, low aerosol
    fmask[2, 3], fmask[4, 5], fmask[6, 7], fmask[8, 9] = 66, 68, 72, 255  # cloud, beside one, shadow, fill
    fmask[1, 1] = 96  # water
    product = write_hls(tmp_path, "L30", {"Fmask": fmask})
    missing = np.isnan(raster(product, "RED", cloud_band="Fmask", cloud_kind="fmask").pixels[0])
    assert np.argwhere(missing).tolist() == [[2, 3], [4, 5], [6, 7], [8, 9]]


def test_a_painted_pixel_lies_where_it_was_painted(tmp_path: Path) -> None:
    painted = constant(500)
    painted[5, 12] = 6000
    found = raster(write_hls(tmp_path, "S30", {"B04": painted}), "BLUE", "RED")
    row, column = np.argwhere(found.pixels[1] == found.pixels[1].max())[0]
    assert (row, column) == (5, 12)
    assert found.transform == Affine(30, 0, LEFT, 0, -30, TOP)


def test_a_folder_and_an_archive_give_the_same(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).integers(1, 5000, (20, 20)).astype(np.int16)
    product = write_hls(tmp_path, "S30", {"B8A": noise})
    folder, archive = (raster(path, "B8A", "B02") for path in (product, zipped(product)))
    np.testing.assert_array_equal(folder.pixels, archive.pixels)
    assert folder.transform == archive.transform


def test_what_a_product_says_of_itself(tmp_path: Path) -> None:
    product = write_hls(tmp_path, "L30")
    assert reader_of(Href(str(product))).name == "HLS"
    assert reader_of(Href(f"{product}/{product.name}.B02.tif")).name == "GDAL"
    (facts,) = facts_of(Href(str(product)))
    assert facts.product is not None
    assert [band.name for band in facts.bands][-3:] == ["THERMAL_INFRARED_1", "THERMAL_INFRARED_2", "Fmask"]
    assert (facts.product.sensor, facts.product.tile) == ("landsat8", "T32UQV")
    assert facts.product.started == datetime(2022, 6, 15, 10, 5, 59)
    dated = image_reader(bands=["RED"], sensor="landsat8", dated=True).read(record_of(product))
    assert dated.dates == (date(2022, 6, 15),)


def test_an_incomplete_product_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    product = write_hls(tmp_path)
    (product / f"{product.name}.B02.tif").unlink()
    assert raster(product, "RED").pixels.shape == (1, 20, 20)
    with pytest.raises(SampleError, match=rf"{product.name}: it lacks the file of the band BLUE .*B02.tif.*Download"):
        raster(product, "RED", "BLUE")
    with pytest.raises(SampleError, match="not there: Cloud. Available: COASTAL_AEROSOL, GREEN, RED"):
        raster(product, "RED", cloud_band="Cloud", cloud_kind="fmask")
    (product / f"{product.name}.B04.tif").write_bytes(b"")
    with pytest.raises(SampleError, match=f"{product.name}.B04.tif cannot be read"):
        raster(product, "RED")
    for file in product.iterdir():
        file.unlink()
    with pytest.raises(SampleError, match=f"{product.name}: it lacks its metadata .*Fmask.tif.*Download or unpack"):
        raster(product, "RED")
