"""Landsat products: reflectance and kelvin by hand, each grid of its own, clouds, and what a product may lack."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_files import image_reader, read, record_of
from small_landsat import CLEAR, CLOUD, LEFT, LEVEL1, LEVEL2, SIDE, TOP, mtl_text, tarred, write_landsat

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.dataset.chip_splits import ChipSplits
from eo_data.preprocess.dataset_normalise import DatasetNormalise
from eo_data.raster.raster import to_map
from eo_data.raster.sample import Image, SampleError
from eo_data.readers.files import facts_of, reader_of
from eo_data.readers.formats.facts import ProductFacts


def bands(*names: str, **options: Any) -> ImageSource:
    return ImageSource("x", names, **({"sensor": "landsat8", "unit": "digital_number"} | options))


def image(path: Path, *names: str, **options: Any) -> Image:
    reader = image_reader(bands=names, **({"sensor": "landsat8", "unit": "digital_number"} | options))
    return reader.read(record_of(path))


def products(path: Path) -> list[ProductFacts]:
    return [facts.product for facts in facts_of(Href(str(path))) if facts.product is not None]


def test_level_2_is_surface_reflectance_and_temperature(tmp_path: Path) -> None:
    path = write_landsat(tmp_path, LEVEL2, {"ST_B10": 44000})
    # 10000 * 2.75e-5 - 0.2 and 44000 * 0.00341802 + 149
    assert image(path, "B4", "NIR_NARROW").raster.pixels == pytest.approx(0.075, abs=1e-6)
    surface = image(path, "THERMAL_INFRARED_1")
    assert surface.raster.pixels == pytest.approx(299.39288, abs=1e-3)
    assert surface.unit == "kelvin"


def test_level_1_is_reflectance_at_the_top_of_the_atmosphere_with_the_sun(tmp_path: Path) -> None:
    path = write_landsat(tmp_path, LEVEL1)
    # (2e-5 * 10000 - 0.1) / sin(30 degrees)
    assert image(path, "BLUE", "CIRRUS").raster.pixels == pytest.approx(0.2, abs=1e-6)
    assert image(path, "PANCHROMATIC").raster.pixels == pytest.approx(0.2, abs=1e-6)


def test_level_1_thermal_bands_are_kelvin_by_their_constants(tmp_path: Path) -> None:
    numbers = np.full((SIDE, SIDE), 25000)
    numbers[0, 0] = 0
    path = write_landsat(tmp_path, LEVEL1, {"B10": numbers}, tagged=False)
    found = image(path, "B10", unit="kelvin")
    # L = 3.342e-4 * 25000 + 0.1 = 8.455; 1321.0789 / ln(774.8853 / 8.455 + 1) = 1321.0789 / 4.528809
    assert found.raster.pixels[0, 1:] == pytest.approx(291.7056, abs=1e-2)
    assert np.isnan(found.raster.pixels[0, 0, 0])
    assert any("brightness temperature" in note for note in found.notes)
    with pytest.raises(SampleError, match=f"{LEVEL1}.*unit is kelvin.*State unit: kelvin"):
        image(path, "B10")


def test_landsat_7_has_its_own_bands_and_two_gains(tmp_path: Path) -> None:
    name = LEVEL1.replace("LC08", "LE07")
    path = write_landsat(tmp_path, name, {"B6_VCID_1": 25000, "B6_VCID_2": 30000, "B4": 20000})
    assert image(path, "NIR_BROAD", sensor="landsat7").raster.pixels == pytest.approx(0.6, abs=1e-6)
    found = image(path, "B6_VCID_2", "B6", sensor="landsat7", unit="kelvin").raster.pixels
    # L = 10.126: 1321.0789 / ln(77.524225...)
    assert found[0] == pytest.approx(1321.0789 / np.log(774.8853 / 10.126 + 1), abs=1e-2)
    assert found[1] == pytest.approx(291.7056, abs=1e-2)


@pytest.mark.parametrize(("name", "side"), [("B4", SIDE), ("B8", 2 * SIDE - 1)])
def test_a_painted_pixel_is_at_its_place_on_either_grid(tmp_path: Path, name: str, side: int) -> None:
    numbers = np.full((side, side), 10000)
    numbers[7, 12] = 30000
    reading = read(write_landsat(tmp_path, LEVEL1, {name: numbers}), bands(name))
    row, column = np.unravel_index(reading.pixels[0].argmax(), reading.pixels[0].shape)
    assert reading.transform is not None
    place = to_map(reading.transform, column + 0.5, row + 0.5)
    # Centres of the first pixels of both grids agree.
    size = 30 if name == "B4" else 15
    assert place == pytest.approx((LEFT + 15 + 12 * size, TOP - 15 - 7 * size), abs=0.01)


def test_clouds_of_the_quality_layer_are_missing(tmp_path: Path) -> None:
    quality = np.full((SIDE, SIDE), CLEAR)
    quality[3, 4], quality[5, 6] = CLOUD, 1
    path = write_landsat(tmp_path, LEVEL2, {"QA_PIXEL": quality})
    found = image(path, "RED", cloud_band="QA_PIXEL", cloud_kind="qa_pixel")
    assert sorted(zip(*np.nonzero(~found.raster.valid), strict=True)) == [(3, 4), (5, 6)]
    assert products(path)[0].quality_band == "QA_PIXEL"


def test_folder_archives_and_mtl_give_the_same(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(8000, 20000, (SIDE, SIDE))
    path = write_landsat(tmp_path, LEVEL2, {"SR_B4": numbers})
    whole = image(path, "RED", dated=True)
    with zipfile.ZipFile(tmp_path / f"{LEVEL2}.zip", "w") as archive:
        for file in sorted(path.iterdir()):
            archive.write(file, f"{LEVEL2}/{file.name}")
    for other in (tarred(path), tmp_path / f"{LEVEL2}.zip", path / f"{LEVEL2}_MTL.txt"):
        again = image(other, "RED", dated=True)
        np.testing.assert_array_equal(again.raster.pixels, whole.raster.pixels)
        assert (again.dates, again.raster.transform) == (whole.dates, whole.raster.transform)
    assert [day.isoformat() for day in whole.dates] == ["2013-07-07"]


def test_the_date_is_that_of_the_metadata_where_the_name_has_none(tmp_path: Path) -> None:
    path = write_landsat(tmp_path)
    facts = facts_of(Href(str(path)))[0]
    assert facts.tags["DATE_ACQUIRED"] == "2013-07-07"
    product = facts.product
    assert product is not None
    assert (product.name, product.sensor, product.tile) == (LEVEL2, "landsat8", "195025")
    assert product.started is not None
    assert product.started.isoformat() == "2013-07-07T10:17:41.559088"


def test_landsat_8_and_9_are_one_kind_that_a_place_may_show(tmp_path: Path) -> None:
    """Else a place that both saw, as every place, would be refused."""
    kinds = {name: products(write_landsat(tmp_path, name))[0].kind for name in (LEVEL2, LEVEL2.replace("LC08", "LC09"))}
    assert len(set(kinds.values())) == 1
    assert products(write_landsat(tmp_path, LEVEL1))[0].kind not in kinds.values()


def test_products_are_samples_of_a_data_set(tmp_path: Path) -> None:
    write_landsat(tmp_path)
    write_landsat(tmp_path, LEVEL2.replace("20130707", "20130723"), {"SR_B4": 20000})
    source = ImageSource("{id}_T1", ["RED"], sensor="landsat8", unit="digital_number", dated=True)
    plain = DatasetNormalise({"L8": [0.0]}, {"L8": [1.0]})
    data = ChipSplits(str(tmp_path), {"L8": source}, plain, num_workers=0).dataset("predict")
    samples = [data.read(i).images["L8"] for i in range(len(data))]
    assert [str(sample.dates[0]) for sample in samples] == ["2013-07-07", "2013-07-23"]
    assert [float(sample.raster.pixels[0, 0, 0]) for sample in samples] == pytest.approx([0.075, 0.35])


def _cut_mtl(folder: Path) -> None:
    (folder / f"{folder.name}_MTL.txt").write_text(mtl_text(LEVEL2)[:400])


def _without(*patterns: str) -> Callable[[Path], None]:
    def remove(folder: Path) -> None:
        for pattern in patterns:
            for file in folder.glob(pattern):
                file.unlink()

    return remove


def _other_grid(folder: Path) -> None:
    other = write_landsat(folder / "x", LEVEL1)
    shutil.move(other / f"{LEVEL1}_B8.TIF", folder / f"{LEVEL2}_SR_B4.TIF")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without("*_MTL.txt"), "lacks its metadata .*_MTL.txt.*Download or unpack it again"),
        (_cut_mtl, f"{LEVEL2}_MTL.txt cannot be understood: .*Download or unpack the product again"),
        (_without("*_SR_B4.TIF"), f"lacks the file of the band RED .{LEVEL2}_SR_B4.TIF.*Download.*or leave the band"),
        (_without("*_B*.TIF", "*_QA_PIXEL.TIF"), "lacks the file of the band BLUE"),
        (
            _other_grid,
            "SR_B4.TIF: it has 39 x 39 pixels of 15 x 15, .* 20 x 20 of 30 x 30.*Download or unpack the product again",
        ),
    ],
)
def test_what_a_product_lacks_is_named(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    path = write_landsat(tmp_path)
    damage(path)
    with pytest.raises(SampleError, match=f"{LEVEL2}.*{message}"):
        read(path, bands("BLUE", "RED"))


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_half_an_archive_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"{LEVEL2}{suffix}"
    path.write_bytes(tarred(write_landsat(tmp_path)).read_bytes()[:300])
    with pytest.raises(SampleError, match=f"{LEVEL2}{suffix} cannot be read: .*truncated"):
        read(path, bands("RED"))


def test_a_band_that_nobody_wants_may_be_missing(tmp_path: Path) -> None:
    path = write_landsat(tmp_path)
    (path / f"{LEVEL2}_SR_B7.TIF").unlink()
    assert read(path, bands("BLUE")).pixels.shape == (1, SIDE, SIDE)


def test_products_of_other_sensors_and_two_in_one_folder_are_refused(tmp_path: Path) -> None:
    older = write_landsat(tmp_path / "a").rename(tmp_path / LEVEL2.replace("LC08", "LT05"))
    (older / f"{LEVEL2}_MTL.txt").rename(older / f"{older.name}_MTL.txt")
    with pytest.raises(SampleError, match="LT05.*product of Landsat 5.*Landsat 7, 8 and 9"):
        read(older, bands("RED"))
    several = write_landsat(tmp_path / "b")
    shutil.copy(several / f"{LEVEL2}_MTL.txt", several / f"{LEVEL1}_MTL.txt")
    assert products(several)[0].name == LEVEL2
    renamed = several.rename(tmp_path / LEVEL1.replace("2020", "2021"))
    with pytest.raises(SampleError, match="metadata of 2 products.*folder of its own"):
        read(renamed, bands("RED"))
    with pytest.raises(SampleError, match="sensor is landsat8.*sensor: landsat7.*State sensor: landsat8"):
        read(write_landsat(tmp_path / "c"), bands("RED", sensor="landsat7"))


def test_files_of_single_bands_are_read_as_ever(tmp_path: Path) -> None:
    path = write_landsat(tmp_path)
    assert reader_of(Href(str(path / f"{LEVEL2}_SR_B4.TIF"))).name == "GDAL"
    assert reader_of(Href(f"https://x.org/{LEVEL2}.tar")).name == "GDAL"
    pattern = ImageSource(f"{LEVEL2}/{{id}}_SR_{{band}}.TIF", ["B4"], sensor="landsat8", unit="digital_number")
    data = ChipSplits(str(tmp_path), {"L8": pattern}, DatasetNormalise({"L8": [0.0]}, {"L8": [1.0]}), num_workers=0)
    assert data.dataset("predict").read(0).images["L8"].raster.pixels == pytest.approx(0.075, abs=1e-6)
