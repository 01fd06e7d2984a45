"""OLCI level 1: hand-computed reflectance, flags, and products that lack a file."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pyproj
import pytest
from affine import Affine
from small_products import zipped
from small_sentinel3 import COLUMNS, OLCI_BITS, OLCI_NAME, ROWS, swath, write_olci

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.datamodules import ChipDataModule
from eo_data.raster.georeference import PixelGrid
from eo_data.raster.raster import to_map
from eo_data.raster.sample import SampleError
from eo_data.readers.files import facts_of
from eo_data.readers.formats.file_raster import FileRaster
from eo_data.readers.image_bands import read_file

SHAPE = (ROWS, COLUMNS)


def _read(path: Path, *bands: str, **stated: object) -> FileRaster:
    source = ImageSource(files="{id}.SEN3", bands=bands or ("Oa08",), sensor="sentinel3_olci", **stated)  # type: ignore[arg-type]
    return read_file(Href(str(path)), source)


def _values(raster: FileRaster) -> list[float]:
    """Different values, in order, without missing ones."""
    return [float(value) for value in np.unique(raster.pixels[np.isfinite(raster.pixels)])]


def test_reflectance_is_pi_radiance_by_the_flux_of_the_detector_and_the_sun(tmp_path: Path) -> None:
    flux = np.full((21, 8), 1000.0)
    flux[7] = np.linspace(1400, 1470, 8)
    product = write_olci(tmp_path, flux=flux)
    # 4000 * 0.0125 = 50 mW m-2 sr-1 nm-1; pi * 50 / (1400 * cos 60) = 0.2244.
    expected = [math.pi * 50 / (own * 0.5) for own in np.linspace(1470, 1400, 8)]
    assert expected[-1] == pytest.approx(0.2244, abs=1e-4)
    assert _values(_read(product)) == pytest.approx(expected, rel=1e-6)
    # Another band has its own flux.
    assert _values(_read(product, "Oa17")) == pytest.approx([math.pi * 50 / (1000 * 0.5)], rel=1e-6)


def test_the_sun_is_that_of_the_pixel_not_of_the_next_tie_point(tmp_path: Path) -> None:
    product = write_olci(tmp_path, sun=np.broadcast_to([20.0, 40.0, 60.0], (ROWS, 3)))
    raster = _read(product, resample_to=100.0)
    longitude, latitude = swath(*SHAPE, 300.0)
    for column in (0, 32, 64, 96, 128):
        x, y = _on_map(raster, longitude[20, column], latitude[20, column])
        between = np.interp(column / 64, [0, 1, 2], np.cos(np.radians([20, 40, 60])))
        assert raster.pixels[0, y, x] == pytest.approx(math.pi * 50 / (1500 * between), rel=1e-6)


def _on_map(raster: FileRaster, longitude: float, latitude: float) -> tuple[int, int]:
    """Column and row of the pixel that holds a place."""
    place = pyproj.Transformer.from_crs("EPSG:4326", raster.crs, always_xy=True).transform(longitude, latitude)
    assert raster.transform is not None
    column, row = to_map(~raster.transform, *place)
    return int(column), int(row)


def test_a_painted_block_lies_where_it_is_on_the_grid_of_a_place(tmp_path: Path) -> None:
    numbers = np.full(SHAPE, 2000, "u2")
    numbers[18:23, 60:65] = 6000
    product = write_olci(tmp_path, numbers=numbers)
    longitude, latitude = swath(*SHAPE, 300.0)
    zone = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32633", always_xy=True)
    true = np.array(zone.transform(longitude[18:23, 60:65], latitude[18:23, 60:65])).reshape(2, -1).mean(axis=1)
    left, top = np.round(true / 240) * 240 + [-15 * 240, 15 * 240]
    place = PixelGrid(30, 30, Affine(240, 0, left, 0, -240, top), pyproj.CRS.from_epsg(32633).to_wkt())
    source = ImageSource("{id}.SEN3", ["Oa08"], sensor="sentinel3_olci")
    pixels = read_file(Href(str(product)), source, grid=place).pixels[0]
    weight = np.clip(pixels - np.nanmin(pixels), 0, None)
    rows, columns = np.indices(pixels.shape) + 0.5
    found = left + 240 * np.average(columns, weights=weight), top - 240 * np.average(rows, weights=weight)
    assert (np.abs(found - true) < 150).all()


def test_packed_fill_invalid_and_saturated_pixels_are_missing_but_not_the_flagged_land(tmp_path: Path) -> None:
    numbers, flags = np.full(SHAPE, 4000, "u2"), np.zeros(SHAPE, "u4")
    numbers[5:10, 5:10] = 65535
    flags[5:10, 20:25] = OLCI_BITS["invalid"]
    flags[5:10, 40:45] = OLCI_BITS["saturated@Oa08"]
    flags[5:10, 60:65] = OLCI_BITS["land"] | OLCI_BITS["bright"] | OLCI_BITS["saturated@Oa17"]
    product = write_olci(tmp_path, numbers=numbers, flags=flags)
    raster = _read(product, "Oa08", "Oa17")
    longitude, latitude = swath(*SHAPE, 300.0)
    found = {}
    for column in (7, 22, 42, 62):
        x, y = _on_map(raster, longitude[7, column], latitude[7, column])
        found[column] = np.isfinite(raster.pixels[:, y, x]).tolist()
    assert found == {7: [False] * 2, 22: [False] * 2, 42: [False, True], 62: [True, False]}


def test_night_has_no_reflectance(tmp_path: Path) -> None:
    sun = np.broadcast_to([80.0, 89.9, 95.0], (ROWS, 3))
    raster = _read(write_olci(tmp_path, sun=sun))
    longitude, latitude = swath(*SHAPE, 300.0)
    pixels = [raster.pixels[0][_on_map(raster, longitude[20, i], latitude[20, i])[::-1]] for i in (0, 64, 128)]
    assert pixels[0] == pytest.approx(math.pi * 50 / (1500 * math.cos(math.radians(80))), rel=1e-5)
    assert pixels[1] == 2  # the cosine counts as 0.01 and the value is clipped, as the published reader has it
    assert math.isnan(pixels[2])


def test_a_zip_and_the_manifest_are_the_folder(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    product = write_olci(tmp_path, numbers=rng.integers(2000, 9000, SHAPE).astype("u2"))
    of_folder, of_zip = _read(product, "Oa01", "Oa08"), _read(zipped(product), "Oa01", "Oa08")
    np.testing.assert_array_equal(of_folder.pixels, of_zip.pixels)
    np.testing.assert_array_equal(of_folder.pixels, _read(product / "xfdumanifest.xml", "Oa01", "Oa08").pixels)
    assert (of_folder.grid, of_folder.tags, of_folder.notes) == (of_zip.grid, of_zip.tags, of_zip.notes)


def test_the_facts_say_what_the_product_is(tmp_path: Path) -> None:
    path = write_olci(tmp_path).rename(tmp_path / "renamed.SEN3")
    (facts,) = facts_of(Href(str(path)))
    assert facts.product is not None
    assert (facts.product.name, facts.product.sensor, facts.product.unit) == (
        OLCI_NAME,
        "sentinel3_olci",
        "reflectance",
    )
    assert facts.product.kind == "Sentinel-3 OLCI OL_1_EFR"
    assert facts.product.started == datetime(2022, 6, 1, 9, 55, 12, 123456)
    assert [band.name for band in facts.bands] == ["OA01_REFLECTANCE", "OA08_REFLECTANCE", "OA17_REFLECTANCE"]
    with pytest.raises(SampleError, match=r"of which the unit is reflectance.*State unit: reflectance"):
        _read(path, unit="digital_number")


def test_without_the_detectors_the_flux_of_the_table_is_used_and_noted(tmp_path: Path) -> None:
    product = write_olci(tmp_path)
    (product / "instrument_data.nc").unlink()
    raster = _read(product)
    assert _values(raster) == pytest.approx([math.pi * 50 / (1497.63 * 0.5)], rel=1e-6)
    assert any("no instrument_data.nc: solar flux of a table" in note for note in raster.notes)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("geo_coordinates.nc", r"no geolocation \(geo_coordinates.nc\): the product is incomplete. Download or unpack"),
        ("tie_geometries.nc", r"no angles of the sun \(tie_geometries.nc\): the product is incomplete"),
        ("qualityFlags.nc", r"no quality flags \(qualityFlags.nc\)"),
        ("xfdumanifest.xml", "lacks its metadata"),
    ],
)
def test_a_product_without_a_file_is_refused_by_name(tmp_path: Path, file: str, message: str) -> None:
    product = write_olci(tmp_path)
    (product / file).unlink()
    with pytest.raises(SampleError, match=message) as caught:
        _read(product)
    assert product.name in str(caught.value)


def test_a_file_cut_short_is_named(tmp_path: Path) -> None:
    product = write_olci(tmp_path)
    file = product / "geo_coordinates.nc"
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(SampleError, match=r"its file geo_coordinates.nc cannot be read .*Download or unpack"):
        _read(product)


def test_radiance_of_another_size_than_the_geolocation_is_not_laid_on_it(tmp_path: Path) -> None:
    product = write_olci(tmp_path)
    larger = write_olci(tmp_path / "other", numbers=np.full((ROWS + 1, COLUMNS), 4000, "u2"))
    (larger / "Oa08_radiance.nc").replace(product / "Oa08_radiance.nc")
    with pytest.raises(SampleError, match=r"Oa08_radiance has the shape \(41, 129\), expected \(40, 129\), as the geo"):
        _read(product)


def test_a_product_of_level_2_is_refused(tmp_path: Path) -> None:
    product = write_olci(tmp_path)
    manifest = product / "xfdumanifest.xml"
    manifest.write_text(manifest.read_text().replace("OL_1_EFR___</", "OL_2_LFR___</"))
    with pytest.raises(SampleError, match=r"it is a product OL_2_LFR, and those .* read are OL_1_EFR, OL_1_ERR, SL_1"):
        _read(product)


def test_a_data_module_takes_products_where_it_takes_files(
    tmp_path: Path, chip_module: Callable[..., ChipDataModule]
) -> None:
    root = tmp_path / "products"
    write_olci(root)
    later = OLCI_NAME.replace("____20220601", "____20220611")
    write_olci(root, later, numbers=np.full(SHAPE, 8000, "u2"))
    source = {"files": "{id}.SEN3", "bands": ["OA01_REFLECTANCE", "OA08_REFLECTANCE"], "sensor": "sentinel3_olci"}
    module = chip_module(root, source=source | {"unit": "reflectance", "dated": True, "resample_to": 240.0}, label=None)
    module.setup("predict")
    assert module.predict_dataset is not None
    samples = [module.predict_dataset[i] for i in range(2)]
    assert [(sample["id"], sample["acquired"]) for sample in samples] == [
        (OLCI_NAME, "S2 2022-06-01 (name)"),
        (later, "S2 2022-06-11 (name)"),
    ]
    expected = [math.pi * 50 / 750, math.pi * 100 / 750]
    assert [float(sample["image"]["S2"].max()) for sample in samples] == pytest.approx(expected, rel=1e-5)
