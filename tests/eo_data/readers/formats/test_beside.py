"""A mask, world file or product file that changes what is read is known as a part of the input."""

from __future__ import annotations

from pathlib import Path

import pytest

from eo_data.catalog.hrefs import Href
from eo_data.readers.formats.beside import FilesBeside


def names(folder: Path, href: str) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in FilesBeside().of(Href(href))]


@pytest.mark.parametrize(
    "beside",
    ["a.tif.aux.xml", "a.tif.msk", "a.tfw", "a.TFW", "a.wld", "a.prj", "a.hdr", "a.json", "a.stac.json", "item.json"],
)  # fmt: skip
def test_what_gdal_or_we_read_beside_a_raster_counts(tmp_path: Path, beside: str) -> None:
    for name in ("a.tif", beside, "b.tif", "b.tfw", "a.png", "a.txt"):
        (tmp_path / name).touch()
    assert names(tmp_path, f"{tmp_path}/a.tif") == ["a.tif", beside]


def test_metadata_of_the_product_count(tmp_path: Path) -> None:
    product = tmp_path / "S2A_MSIL2A_20220101T100000_N0400_R022_T32TQM_20220101T120000.SAFE"
    band = product / "GRANULE/L2A/IMG_DATA/R10m/T32TQM_20220101T100000_B02_10m.jp2"
    band.parent.mkdir(parents=True)
    for path in (band, product / "MTD_MSIL2A.xml"):
        path.touch()
    assert FilesBeside().of(Href(str(band))) == [band, product / "MTD_MSIL2A.xml"]


def test_a_store_counts_as_a_whole_and_an_archive_for_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "c.zarr" / "s2").mkdir(parents=True)
    (tmp_path / "x.zip").touch()
    assert names(tmp_path, f"{tmp_path}/c.zarr") == ["c.zarr"]
    assert names(tmp_path, f"/vsizip/{tmp_path}/x.zip/a.tif") == ["x.zip"]


def test_of_an_address_nothing_is_on_this_machine() -> None:
    assert FilesBeside().of(Href("https://example.org/a.tif?token=1")) == []


def test_of_a_vrt_its_sources_count_and_theirs(tmp_path: Path) -> None:
    for name in ("a.tif", "a.tfw", "sub/b.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    band = '<VRTDataset><VRTRasterBand><SimpleSource><SourceFilename relativeToVRT="1">{}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>'  # noqa: E501
    (tmp_path / "outer.vrt").write_text(band.format("sub/inner.vrt"))
    (tmp_path / "sub/inner.vrt").write_text(band.format("../a.tif"))
    assert names(tmp_path.resolve(), f"{tmp_path.resolve()}/outer.vrt") == [
        "outer.vrt",
        "sub/inner.vrt",
        "sub/../a.tif",
        "sub/../a.tfw",
    ]
    (tmp_path / "outer.vrt").write_text("no XML")
    assert names(tmp_path, f"{tmp_path}/outer.vrt") == ["outer.vrt"]
