"""Sentinel-2 products that lack something, or hold another thing than they say: an error that names it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rasters import vrt_band, write_vrt
from sentinel2_products import B02, GRANULE, reflectance
from small_files import image_reader, record_of
from small_products import write_sentinel2, zipped

from eo_data.raster.sample import SampleError


def without(name: str) -> Callable[[Path], None]:
    return lambda product: (product / name).unlink()


def without_granule(product: Path) -> None:
    shutil.rmtree(product / "GRANULE")


def truncated(product: Path) -> None:
    (product / B02).write_bytes((product / B02).read_bytes()[:400])


def replaced(name: str, old: str, new: str) -> Callable[[Path], None]:
    def harm(product: Path) -> None:
        file = product / name
        file.write_text(file.read_text().replace(old, new))

    return harm


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (without("MTD_MSIL2A.xml"), "lacks its metadata .*MTD_MSIL2A.xml.* Download or unpack it again"),
        (without_granule, r"has no granule \(GRANULE/\*/MTD_TL.xml\).* Download or unpack it again"),
        (without(f"{GRANULE}/MTD_TL.xml"), "has no granule .* Download or unpack it again"),
        (truncated, "B02_10m.jp2"),
        (replaced("MTD_MSIL2A.xml", "</n1:", "</x:"), "its MTD_MSIL2A.xml cannot be understood: .*Download"),
        (replaced("MTD_MSIL2A.xml", "<n1:Lev", "<!DOCTYPE a><n1:Lev"), "cannot be understood: .*document type"),
        (replaced("MTD_MSIL2A.xml", ">10000<", ">0<"), "BOA_QUANTIFICATION_VALUE is 0, expected a positive number"),
        (replaced("MTD_MSIL2A.xml", "BOA_Q", "X_Q"), "BOA_QUANTIFICATION_VALUE is not there"),
        (replaced(f"{GRANULE}/MTD_TL.xml", "ULX>", "X>"), "MTD_TL.xml cannot be .*of 10 m have no ULX"),
        (replaced(f"{GRANULE}/MTD_TL.xml", "HORIZONTAL_CS_CODE", "X"), "has no HORIZONTAL_CS_CODE"),
        (replaced(f"{GRANULE}/MTD_TL.xml", "<XDIM>10<", "<XDIM>0<"), "MTD_TL.xml cannot be .*is no place"),
        (replaced("MTD_MSIL2A.xml", "BOA_ADD_OFFSET", "X"), "have an offset of -1000. State offset: auto"),
    ],
)
def test_an_incomplete_product_is_named_with_what_it_lacks(
    tmp_path: Path, harm: Callable[[Path], None], message: str
) -> None:
    product = write_sentinel2(tmp_path)
    harm(product)
    with pytest.raises(SampleError, match=message) as error:
        reflectance(product, "BLUE")
    assert product.name in str(error.value)
    with pytest.raises(SampleError, match=message.replace("B02_10m.jp2", "B02_10m.jp2 cannot be read")) as error:
        reflectance(zipped(product), "BLUE")
    assert product.name in str(error.value)


def test_a_band_file_that_is_not_there_is_missed_only_where_it_is_wanted(tmp_path: Path) -> None:
    product = write_sentinel2(tmp_path, copies=False)
    (product / B02).unlink()
    assert reflectance(product, "GREEN").shape == (1, 120, 120)
    with pytest.raises(SampleError, match=f"lacks the file of the band BLUE .{B02}.*Download or unpack it again"):
        reflectance(product, "GREEN", "B2")
    scl = next(product.rglob("*_SCL_20m.jp2"))
    scl.unlink()
    with pytest.raises(SampleError, match="lacks the file of the band SCL .*SCL_20m.jp2"):
        reflectance(product, "GREEN", cloud_band="SCL")


def test_a_coarser_copy_of_a_band_is_not_taken_in_silence(tmp_path: Path) -> None:
    product = write_sentinel2(tmp_path)
    shutil.rmtree(product / GRANULE / "IMG_DATA/R10m")
    with pytest.raises(SampleError, match="has pixels of 20 m, but its bands have a GSD of 10 m"):
        reflectance(product, "BLUE", "B05")
    image = image_reader(bands=["BLUE", "B05"], pixel_size=20).read(record_of(product))
    assert image.raster.pixels.shape == (2, 60, 60)
    assert any(note.startswith("BLUE has pixels of 20 m, as its file of 10 m is not") for note in image.notes)


def test_only_the_bands_that_are_read_are_opened(tmp_path: Path) -> None:
    product = write_sentinel2(tmp_path)
    for image in product.rglob("*.jp2"):
        if "B03_10m" not in image.name:
            image.write_bytes(b"no image")
    assert reflectance(product, "GREEN")[0, 0, 0] == pytest.approx(0.02)


def test_a_raster_in_disguise_is_not_read(tmp_path: Path) -> None:
    product = write_sentinel2(tmp_path)
    write_vrt(product / B02, 120, [vrt_band(1, "../secret.tif", "BLUE")])
    with pytest.raises(SampleError, match="B02_10m.jp2"):
        reflectance(product, "BLUE")
    with pytest.raises(SampleError, match="B02_10m.jp2.* kind VRT, expected JP2"):
        reflectance(zipped(product), "BLUE")
