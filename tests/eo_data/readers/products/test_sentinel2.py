"""Sentinel-2 products as they are shipped: the right reflectance at the right place, or the file that is missing."""

from __future__ import annotations

import shutil
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from sentinel2_products import B02, level, noise, reflectance
from small_files import image_reader, read, record_of
from small_products import LEFT, SIDE, SIZES, TOP, write_jp2, write_sentinel2, zipped

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import SceneFiles, TileWindow
from eo_data.catalog.sources import ImageSource
from eo_data.dataset.chip_splits import ChipSplits
from eo_data.dataset.sample_reader import SampleReader
from eo_data.inspect import main as inspect
from eo_data.preprocess.dataset_normalise import DatasetNormalise
from eo_data.raster.sample import SampleError
from eo_data.readers.files import facts_of, opened, reader_of
from eo_data.readers.formats.facts import Part
from eo_data.sensors.tables import SENSORS
from eo_data.temporal.frame_policy import FramePolicy

# Numbers


@pytest.mark.parametrize(
    ("of_level", "baseline", "number", "expected"),
    [
        ("2A", "05.09", 1850, 0.085),  # (1850 - 1000) / 10000
        ("2A", "02.14", 850, 0.085),
        ("1C", "05.09", 1850, 0.085),
        ("1C", "02.06", 850, 0.085),
    ],
)
def test_reflectance_has_the_offset_of_the_product_and_no_other(
    tmp_path: Path, of_level: str, baseline: str, number: int, expected: float
) -> None:
    pixels = {"B04": np.full((120, 120), number, np.uint16), "B11": np.full((60, 60), number + 100, np.uint16)}
    product = write_sentinel2(tmp_path, of_level, baseline, pixels)
    values = reflectance(product, "RED", "B11", resampling="nearest")
    assert values[:, 50, 50] == pytest.approx([expected, expected + 0.01], abs=1e-7)
    assert reflectance(product, "RED", offset="auto")[0, 50, 50] == pytest.approx(expected, abs=1e-7)


def test_another_quantification_value_counts(tmp_path: Path) -> None:
    product = write_sentinel2(tmp_path, "2A", "02.14", {"B02": np.full((120, 120), 300, np.uint16)})
    metadata = product / "MTD_MSIL2A.xml"
    text = metadata.read_text()
    metadata.write_text(
        text.replace("<BOA_QUANT", "<L2A_BOA_QUANT")
        .replace("</BOA_QUANT", "</L2A_BOA_QUANT")
        .replace(">10000<", ">2000<")
    )
    assert reflectance(product, "BLUE")[0, 0, 0] == pytest.approx(0.15)


def test_a_series_over_the_change_of_baselines_has_one_reflectance(tmp_path: Path) -> None:
    old = write_sentinel2(tmp_path, baseline="02.14", pixels={"B02": np.full((120, 120), 850, np.uint16)})
    new = write_sentinel2(
        tmp_path, baseline="05.09", pixels={"B02": np.full((120, 120), 1850, np.uint16)}, date="20230828"
    )
    reader = image_reader(frames=FramePolicy(), bands=["BLUE"])
    image = reader.read(record_of(old, new))
    assert image.raster.pixels[:, 0, 0, 0] == pytest.approx([0.085, 0.085], abs=1e-7)
    # The day of sensing, not that of the processing a day later.
    assert image.dates == (date(2023, 8, 23), date(2023, 8, 28))


@pytest.mark.parametrize("sensor", ["sentinel2_l2a", None])
def test_no_data_and_saturated_pixels_are_missing(tmp_path: Path, sensor: str | None) -> None:
    blue = noise("B02")
    blue[0, 0], blue[0, 1] = 0, 65535
    product = write_sentinel2(tmp_path, pixels={"B02": blue})
    values = image_reader(bands=["BLUE"], sensor=sensor, pixel_size=10).read(record_of(product)).raster.pixels
    assert np.argwhere(np.isnan(values[0])).tolist() == [[0, 0], [0, 1]]


def test_dark_water_is_no_gap_where_there_is_no_offset(tmp_path: Path) -> None:
    blue, green = noise("B02"), noise("B03")
    blue[0, :2] = green[0, 1] = 0
    product = write_sentinel2(tmp_path, baseline="02.14", pixels={"B02": blue, "B03": green})
    values = reflectance(product, "BLUE", "GREEN")
    assert values[0, 0, 0] == 0
    assert np.isnan(values[:, 0, 1]).all()


def test_another_unit_or_level_than_the_products_is_refused(tmp_path: Path) -> None:
    product = write_sentinel2(tmp_path)
    with pytest.raises(SampleError, match=f"{product.name} .*State unit: digital_number"):
        reflectance(product, "BLUE", unit="reflectance")
    reader = image_reader(bands=["BLUE"], sensor="sentinel2_l1c")
    with pytest.raises(SampleError, match="State sensor: sentinel2_l2a"):
        reader.read(record_of(product))


# Places


@pytest.mark.parametrize("number", ["B03", "B12", "B09"])
@pytest.mark.parametrize("resampling", ["nearest", "bilinear"])
def test_a_painted_pixel_lies_where_it_was_painted(tmp_path: Path, number: str, resampling: str) -> None:
    size = SIZES[number]
    painted = np.full((SIDE // size, SIDE // size), 1500, np.uint16)
    row, column = 7, 11
    painted[row, column] = 9000
    product = write_sentinel2(tmp_path, pixels={number: painted})
    image = image_reader(bands=["B02", number], resampling=resampling).read(record_of(product))
    values = image.raster.pixels[1]
    assert values.shape == (120, 120)
    rows, columns = np.nonzero(values == values.max())
    transform = image.raster.transform
    assert transform is not None
    x = transform.c + transform.a * (columns.mean() + 0.5)
    y = transform.f + transform.e * (rows.mean() + 0.5)
    centre = LEFT + (column + 0.5) * size, TOP - (row + 0.5) * size
    assert (x, y) == pytest.approx(centre, abs=1e-6)
    assert image.raster.crs is not None
    assert "32632" in image.raster.crs


def test_each_band_keeps_the_numbers_of_its_own_pixels(tmp_path: Path) -> None:
    own = {number: noise(number) for number in ("B02", "B05", "B01")}
    product = write_sentinel2(tmp_path, pixels=own)
    # The order of the bands does not choose the grid.
    values = reflectance(product, "B05", "B01", "B02", resampling="nearest")
    for plane, number in zip(values, ("B05", "B01", "B02"), strict=True):
        times = SIZES[number] // 10
        expected = (np.kron(own[number], np.ones((times, times))) - 1000) / 10000
        np.testing.assert_allclose(plane, expected, atol=1e-6)
    coarse = reflectance(product, "B05", "B01", resampling="nearest")
    assert coarse.shape == (2, 60, 60)
    np.testing.assert_allclose(coarse[0], (own["B05"].astype(float) - 1000) / 10000, atol=1e-6)


def test_a_window_is_that_part_of_the_whole(tmp_path: Path) -> None:
    product = write_sentinel2(tmp_path, pixels={number: noise(number) for number in ("B02", "B05", "B01")})
    reader = image_reader(bands=["B02", "B05", "B01"], cloud_band="SCL")
    whole = reader.read(record_of(product)).raster
    window = TileWindow(38, 52, 32, (0, 0, 32, 32), (120, 120))
    part = reader.read(record_of(product, window=window)).raster
    np.testing.assert_allclose(part.pixels, whole.pixels[:, 38:70, 52:84], atol=1e-6)
    assert part.transform is not None
    assert (part.transform.c, part.transform.f) == (LEFT + 520, TOP - 380)
    grid = reader.grid(record_of(product))
    assert (grid.height, grid.width) == (120, 120)


def test_a_raster_that_lies_elsewhere_than_its_product_says_is_refused(tmp_path: Path) -> None:
    product = write_sentinel2(tmp_path)
    write_jp2(product / B02, noise("B02"), 10, left=LEFT + 10)
    with pytest.raises(SampleError, match="B02_10m.jp2: it has 120 x 120 .*corners are up to 1 pixels apart"):
        reflectance(product, "BLUE")


@pytest.mark.parametrize("of_level", ["1C", "2A"])
def test_bands_and_places_are_those_of_gdals_own_driver(tmp_path: Path, of_level: str) -> None:
    product = write_sentinel2(tmp_path, of_level, pixels={number: noise(number) for number in SIZES})
    table = SENSORS[level(product)]
    compared = set()
    with opened(Href(str(product)), None) as layers:
        for layer in layers:
            grid, size = layer.facts.grid, SIDE // layer.facts.grid.height
            address = f"SENTINEL2_L{of_level}:{product}/MTD_MSIL{of_level}.xml:{size}m:EPSG_32632"
            with rasterio.open(address) as file:
                theirs = {table.canonical((text or "").split(",")[0]): i for i, text in enumerate(file.descriptions, 1)}
                assert (file.transform, file.crs) == (grid.transform, CRS.from_wkt(grid.crs or ""))
                for i, band in enumerate(layer.facts.bands):
                    if band.name in table.band_names:
                        (ours,) = layer.stored([i], Part(0, 0, grid.height, grid.width))
                        np.testing.assert_array_equal(ours, file.read(theirs[band.name]))
                        compared.add(band.name)
    assert compared == set(table.band_names)


# Kinds of products


@pytest.mark.parametrize("of_level", ["1C", "2A"])
def test_a_folder_an_archive_and_the_metadata_give_the_same(tmp_path: Path, of_level: str) -> None:
    own = {number: noise(number) for number in ("B02", "B05", "B01")}
    product = write_sentinel2(tmp_path, of_level, pixels=own)
    reader = image_reader(bands=["B02", "B05", "B01"], sensor=level(product), dated=True)
    metadata = product / f"MTD_MSIL{of_level}.xml"
    renamed = shutil.copy(zipped(product), tmp_path / f"{product.stem}.zip")
    images = [reader.read(record_of(path)) for path in (product, zipped(product), Path(renamed), metadata)]
    for image in images[1:]:
        np.testing.assert_array_equal(image.raster.pixels, images[0].raster.pixels)
        assert (image.dates, image.raster.transform) == (images[0].dates, images[0].raster.transform)
        assert image.notes == images[0].notes
    assert images[0].dates == (date(2023, 8, 23),)


def test_what_a_product_says_of_itself(tmp_path: Path) -> None:
    product = write_sentinel2(tmp_path)
    layers = facts_of(Href(str(product)))
    assert [(own.grid.height, len(own.bands)) for own in layers] == [(120, 4), (60, 7), (20, 5)]
    facts = layers[0].product
    assert facts is not None
    assert (facts.sensor, facts.tile, facts.name) == ("sentinel2_l2a", "T32UQV", product.stem)
    assert (facts.quality_band, facts.quality_kind) == ("SCL", "scl")
    assert facts.started == datetime(2023, 8, 23, 9, 55, 59, 24000)
    old = facts_of(Href(str(write_sentinel2(tmp_path, "1C", "02.06"))))[0].product
    assert old is not None
    assert (old.kind, old.quality_band) == ("Sentinel-2 L1C", None)


@pytest.mark.parametrize(
    "name",
    [
        "S2A_MSIL2A_20220301T101031_N0400_R022_T32UQV_20220301T131030.SAFE",
        "S2C_MSIL1C_20250301T101031_N0511_R022_T32UQV_20250301T131030.SAFE.zip",
        "S2B_MSIL1C_20250301T101031_N0511_R022_T32UQV_20250301T131030.zip",
        "S2A_OPER_PRD_MSIL1C_PDMC_20160101T000000_R022_V20151231T101031_20151231T101031.SAFE",
        "S2A_OPER_MTD_SAFL1C_PDMC_20160101T000000_R022_V20151231T101031_20151231T101031.xml",
        "MTD_MSIL2A.xml",
    ],
)
def test_products_are_known_by_their_names(name: str) -> None:
    assert reader_of(Href(f"/data/{name}")).name == "Sentinel-2"


@pytest.mark.parametrize(
    "name",
    [
        "S2A_MSIL2A_20220301T101031_N0400_R022_T32UQV_20220301T131030.tif",
        "S2A_MSIL2A_20220301T101031_N0400_R022_T32UQV_20220301T131030_B02.jp2",
        "S1A_IW_GRDH_1SDV_20220301T052611_20220301T052636_042133_050554_1234.SAFE",
        "MTD_TL.xml",
        "other.zip",
    ],
)
def test_other_files_are_read_as_before(name: str) -> None:
    assert reader_of(Href(f"/data/{name}")).name != "Sentinel-2"


def renamed_granule(product: Path, name: str) -> Path:
    """Give a product and its granule the names and metadata of before December 2016."""
    old = product.with_name("S2A_OPER_PRD_MSIL1C_PDMC_20160102T000000_R022_V20151231T101031_20151231T101031.SAFE")
    product.rename(old)
    (old / "MTD_MSIL1C.xml").rename(old / f"{old.stem.replace('PRD_MSI', 'MTD_SAF')}.xml")
    (granule,) = (old / "GRANULE").iterdir()
    (granule / "MTD_TL.xml").rename(granule / f"{name.replace('MSI', 'MTD').rpartition('_')[0]}.xml")
    for image in (granule / "IMG_DATA").iterdir():
        image.rename(image.with_name(f"{name.rpartition('_')[0]}_{image.name[-7:]}"))
    granule.rename(granule.with_name(name))
    return old


OLD_GRANULE = "S2A_OPER_MSI_L1C_TL_SGS__20151231T120000_A000001_T32UQV_N02.01"


def test_a_product_of_before_2016_is_read_if_it_has_one_granule(tmp_path: Path) -> None:
    product = renamed_granule(write_sentinel2(tmp_path, "1C", "02.01"), OLD_GRANULE)
    reader = image_reader(bands=["B02", "B8A"], sensor="sentinel2_l1c", dated=True)
    image = reader.read(record_of(product))
    assert image.raster.pixels[:, 60, 60] == pytest.approx([0.11, 0.18])
    assert image.dates == (date(2015, 12, 31),)
    shutil.copytree(product / "GRANULE" / OLD_GRANULE, product / "GRANULE" / OLD_GRANULE.replace("UQV", "UQU"))
    with pytest.raises(SampleError, match="has 2 granules .*T32UQU.*each is an image of its own. Name the band files"):
        reader.read(record_of(product))


# Clouds


def test_the_scene_classification_masks_clouds(tmp_path: Path) -> None:
    classes = np.full((60, 60), 4, np.uint8)
    classes[3, 5] = 9
    product = write_sentinel2(tmp_path, pixels={"SCL": classes})
    missing = np.isnan(reflectance(product, "B02", "B05", "B01", cloud_band="SCL"))
    expected = np.zeros((120, 120), bool)
    expected[6:8, 10:12] = True
    assert (missing == expected).all()


def test_the_cloud_mask_of_level_1c_masks_clouds(tmp_path: Path) -> None:
    masks = np.zeros((3, 20, 20), np.uint8)
    masks[0, 2, 3] = masks[1, 4, 4] = masks[2, 5, 5] = 1
    product = write_sentinel2(tmp_path, "1C", pixels={"MSK_CLASSI": masks})
    for band, (row, column) in (("MSK_CLASSI_OPAQUE", (2, 3)), ("MSK_CLASSI_CIRRUS", (4, 4))):
        missing = np.isnan(reflectance(product, "B02", cloud_band=band, cloud_kind="msk_classi"))[0]
        expected = np.zeros((120, 120), bool)
        expected[6 * row : 6 * row + 6, 6 * column : 6 * column + 6] = True
        assert (missing == expected).all()


# Where products are read


def test_a_data_module_takes_products_where_it_takes_files(tmp_path: Path) -> None:
    names = [write_sentinel2(tmp_path / "in", date=day).stem for day in ("20230823", "20230828")]
    source = ImageSource(
        "in/{id}.SAFE", ["B02", "B05"], sensor="sentinel2_l2a", unit="digital_number", cloud_band="SCL", dated=True
    )
    plain = DatasetNormalise({"S2": [0.1, 0.1]}, {"S2": [1.0, 1.0]})
    data = ChipSplits(str(tmp_path), {"S2": source}, plain, tile=64, halo=0).dataset("predict")
    assert {record.raster_id or record.id for record in data.records} == set(names)
    assert len(data.records) == 8
    sample = data.read(0)
    assert sample.images["S2"].raster.pixels[:, 5, 5] == pytest.approx([0.01, 0.04])
    assert sample.images["S2"].dates == (date(2023, 8, 23),)


def test_on_the_grid_of_a_place_aligned_pixels_are_those_of_the_product(tmp_path: Path) -> None:
    own = {number: noise(number) for number in ("B02", "B05")}
    product = write_sentinel2(tmp_path, pixels=own)
    (whole, *_) = (layer.grid for layer in facts_of(Href(str(product))))
    place = whole.window(20, 30, 40, 40)
    record = record_of(product, grids={"S2": place}, frames={"S2": ((SceneFiles((Href(str(product)),)),),)})
    image = image_reader(bands=["B02", "B05"], resampling="nearest").read(record)
    expected = [np.kron(own[number], np.ones((times, times))) for number, times in (("B02", 1), ("B05", 2))]
    np.testing.assert_allclose(image.raster.pixels, (np.stack(expected)[:, 20:60, 30:70] - 1000) / 10000, atol=1e-6)


@pytest.mark.parametrize("kind", ["folder", "metadata", "zip"])
def test_a_changed_band_file_is_a_changed_input(tmp_path: Path, kind: str) -> None:
    product = write_sentinel2(tmp_path)
    named = {"folder": product, "metadata": product / "MTD_MSIL2A.xml", "zip": zipped(product)}[kind]
    reader = SampleReader({"S2": image_reader(bands=["B02"])}, None, "segmentation", root=tmp_path)
    inputs = reader.inputs(record_of(named))
    state = inputs.state()
    assert inputs.unchanged_since(state)
    write_jp2(product / B02, noise("B02"), 10)
    if kind == "zip":
        zipped(product)
    assert not inputs.unchanged_since(state)


def test_the_report_on_files_shows_the_product(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    product = write_sentinel2(tmp_path)
    inspect(["--facts", str(product)])
    shown = capsys.readouterr().out
    assert f"{product.stem} (Sentinel-2 L2A, tile T32UQV, sensing began 2023-08-23 09:55:59 UTC)" in shown
    assert "sensor: sentinel2_l2a, unit: digital_number, cloud_band: SCL, cloud_kind: scl" in shown
    assert "Sentinel-2 L2A, 120 x 120 px, 4 bands" in shown
    assert "1 RED_EDGE_1" in shown
    assert "EPSG:32632, pixels of 60 x 60, corner 600000, 5700000" in shown
    assert read(product, ImageSource("", ["SCL"], unit="native")).pixels.shape == (1, 60, 60)
