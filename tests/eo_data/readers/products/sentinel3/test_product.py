"""Which names are products of Sentinel-3, and archives as the two agencies pack them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from small_products import zipped
from small_sentinel3 import OLCI_NAME, write_olci

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.raster.sample import SampleError
from eo_data.readers.files import reader_of
from eo_data.readers.image_bands import read_file
from eo_data.readers.products.sentinel3.product import is_sen3

SOURCE = ImageSource("{id}.SEN3", ["Oa08"], sensor="sentinel3_olci")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (f"a/{OLCI_NAME}.SEN3", True),
        (f"a/{OLCI_NAME}.SEN3.zip", True),
        (f"a/{OLCI_NAME}.zip", True),
        ("renamed.sen3", True),
        ("renamed.SEN3/xfdumanifest.xml", True),
        ("renamed.SEN3/Oa08_radiance.nc", False),
        ("other.zip", False),
        ("S2A_MSIL2A_20220601T102031_N0400_R065_T32UQV_20220601T170000.zip", False),
        (f"https://server.org/{OLCI_NAME}.SEN3", False),
        (f"/vsizip/a.zip/{OLCI_NAME}.SEN3", False),
    ],
)
def test_a_product_is_known_by_its_name(name: str, expected: bool) -> None:
    assert is_sen3(Href(name)) is expected
    assert (reader_of(Href(name)).name == "Sentinel-3") is expected


def test_an_archive_may_hold_other_files_beside_the_product(tmp_path: Path) -> None:
    product = write_olci(tmp_path)
    archive = zipped(product)
    with zipfile.ZipFile(archive, "a") as file:  # as EUMETSAT's Data Store packs them
        file.writestr("EOPMetadata.xml", "<eop/>")
        file.writestr("manifest.xml", "<manifest/>")
    pixels = [read_file(Href(str(path)), SOURCE).pixels for path in (product, archive)]
    np.testing.assert_array_equal(*pixels)


def test_an_archive_that_is_cut_short_or_lacks_a_file_is_named(tmp_path: Path) -> None:
    product = write_olci(tmp_path)
    (product / "geo_coordinates.nc").unlink()
    archive = zipped(product)
    with pytest.raises(SampleError, match=rf"{archive.name}: it has no geolocation"):
        read_file(Href(str(archive)), SOURCE)
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(SampleError, match=rf"{archive.name} cannot be read: .*copy it again"):
        read_file(Href(str(archive)), SOURCE)


def test_a_start_of_sensing_that_is_no_time_is_refused(tmp_path: Path) -> None:
    product = write_olci(tmp_path)
    manifest = product / "xfdumanifest.xml"
    manifest.write_text(manifest.read_text().replace("2022-06-01T09:55:12.123456Z", "yesterday"))
    with pytest.raises(SampleError, match=r"does not say when sensing began. Expected a .* got 'yesterday'"):
        read_file(Href(str(product)), SOURCE)
