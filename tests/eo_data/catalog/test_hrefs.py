"""What is no path is never joined to a folder, looked for on the disk, or taken apart as if it were one."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_files import touch

from eo_data.catalog.hrefs import Href, cause_to_show

FOREIGN = [
    "https://example.org/a/x.tif",
    "s3://bucket/x.tif",
    "/vsizip//data/a.zip/x.tif",
    "/vsicurl/https://example.org/x.tif",
    'NETCDF:"/data/x.nc":v',
    "HDF5:/data/x.h5://group/v",
    "SENTINEL2_L2A:/data/S2A.SAFE/MTD_MSIL2A.xml:10m:EPSG_32632",
]


@pytest.mark.parametrize("text", FOREIGN)
def test_what_is_no_path_stays_as_it_is_written(text: str) -> None:
    href = Href.from_root(text, Path("/root"))
    assert str(href) == text
    assert not href.is_local
    assert not href.is_missing
    with pytest.raises(ValueError, match="is no path on this machine"):
        _ = href.path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("img/a.tif", "data/img/a.tif"),
        ("/abs/a.tif", "/abs/a.tif"),
        ("./a.tif", "data/a.tif"),
        ("a b.tif", "data/a b.tif"),
    ],
)
def test_paths_start_from_the_root_and_keep_their_text(text: str, expected: str) -> None:
    """Manifests and batches list this text: for a path it is that of `pathlib`."""
    href = Href.from_root(text, Path("data"))
    assert str(href) == expected == str(Path("data") / text)
    assert href.is_local
    assert href.is_missing


def test_a_file_whose_name_looks_like_a_sub_dataset_is_a_file(tmp_path: Path) -> None:
    touch(tmp_path, "BAND:4.tif")
    href = Href.from_root("BAND:4.tif", tmp_path)
    assert href.is_local_file
    assert href.name == "BAND:4.tif"


@pytest.mark.parametrize(
    ("text", "name", "suffix"),
    [
        ("/data/A.TIF", "A.TIF", ".tif"),
        ("data/x.zarr", "x.zarr", ".zarr"),
        ("why?.tif", "why?.tif", ".tif"),
        ("https://example.org/a/x.tif?sig=a/b.c", "x.tif", ".tif"),
        ("/vsicurl/https://example.org/x.tif?sig=1", "x.tif", ".tif"),
        ("/vsizip//data/a.zip/in/x.tif", "x.tif", ".tif"),
        ('NETCDF:"/data/x.nc":v', "x.nc", ".nc"),
        ("HDF5:/data/x.h5://group/v", "x.h5", ".h5"),
        ("GTIFF_DIR:2:/data/x.tif", "x.tif", ".tif"),
        ("SENTINEL2_L2A:/data/S2A.SAFE/MTD_MSIL2A.xml:10m:EPSG_32632", "MTD_MSIL2A.xml", ".xml"),
    ],
)
def test_the_name_is_that_of_the_file(text: str, name: str, suffix: str) -> None:
    href = Href(text)
    assert (href.name, href.suffix) == (name, suffix)
    assert href.stem + href.suffix == name.replace("TIF", "tif")


def test_below_the_root_folders_count_and_elsewhere_only_the_name() -> None:
    root = Path("/data/download_19990101")
    assert Href("/data/download_19990101/2020/060/S2.tif").below(root) == "2020/060/S2.tif"
    assert Href("/elsewhere/2020/S2.tif").below(root) == "S2.tif"
    assert Href("/vsizip//data/download_19990101/a.zip/S2.tif").below(root) == "S2.tif"
    assert Href("/data/S2.tif").below(None) == "S2.tif"


def test_as_a_text_it_has_no_credentials_and_it_opens_with_them() -> None:
    href = Href("https://user:SECRET@example.org/a/x.tif?sig=SECRET&se=1")
    assert str(href) == href.shown == f"{href}" == "https://example.org/a/x.tif"
    assert repr(href) == "Href('https://example.org/a/x.tif')"
    assert "SECRET" in href.text
    with href.opening() as text:
        assert text == href.text
    with pytest.raises(ValueError, match=r"https://example.org/a/x.tif is no path on this machine"):
        _ = href.path


def test_a_local_path_is_shown_as_it_is() -> None:
    assert str(Href("/data/why?sig=1&token=2@x.tif")) == "/data/why?sig=1&token=2@x.tif"


def test_what_lies_on_a_server_is_told_from_what_lies_in_a_local_file() -> None:
    remote = [
        "https://h/x.tif",
        "s3://b/x.tif",
        "/vsis3/b/x.tif",
        "/vsizip//vsicurl/https://h/a.zip/x.tif",
        "/vsiaz_streaming/c/x",
    ]
    local = ["x.tif", "/vsizip//data/a.zip/x.tif", 'NETCDF:"/data/x.nc":v', "file:///data/x.tif", "/vsimem/x.tif"]
    assert [Href(text).is_remote for text in [*remote, *local]] == [True] * 5 + [False] * 5
    assert "unpack" in Href("/vsizip//data/a.zip/x.tif").unreadable(OSError("no"))
    assert "copy it again" in Href("x.tif").unreadable(OSError("no"))


def test_an_error_that_shows_a_signature_is_no_cause_to_print() -> None:
    clean, open_one = OSError("/data/x.tif"), OSError("https://h/x.tif?sig=SECRET")
    behind = OSError("something")
    behind.__context__ = open_one
    assert cause_to_show(clean) is clean
    assert cause_to_show(open_one) is None
    assert cause_to_show(behind) is None


def test_backslashes_of_windows_mean_folders_where_only_that_is_there(tmp_path: Path) -> None:
    touch(tmp_path, "s2/a/x.tif")
    assert Href.from_root("s2\\a\\x.tif", tmp_path) == Href(str(tmp_path / "s2/a/x.tif"))
    assert Href.from_root("s2\\none.tif", tmp_path) == Href(str(tmp_path / "s2\\none.tif"))
    touch(tmp_path, "s2\\b.tif")
    assert Href.from_root("s2\\b.tif", tmp_path).is_local_file
    touch(tmp_path, "s2/b.tif")
    with pytest.raises(ValueError, match=r"may be the file of that name or 's2/b.tif'.*forward slashes"):
        Href.from_root("s2\\b.tif", tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/me/data/s2/a.tif", "s2/a.tif"),
        ("/home/me/other/s2/a.tif", "s2/a.tif"),
        ("a.tif", "a.tif"),
        ('NETCDF:"/home/me/data/x.nc":v', 'NETCDF:"/home/me/data/x.nc":v'),
        ("https://me:secret@example.org/a.tif?sig=abc", "https://example.org/a.tif"),
    ],
)
def test_manifests_tell_nothing_of_the_folders_above_the_root(text: str, expected: str) -> None:
    assert Href(text).relative(Path("/home/me/data")) == expected


def test_what_lies_in_an_archive_is_named_from_the_root_on(tmp_path: Path) -> None:
    touch(tmp_path, "data/x.zip")
    assert Href(f"/vsizip/{tmp_path}/data/x.zip/a.tif").relative(tmp_path / "data") == "/vsizip/x.zip/a.tif"
    assert Href(f'NETCDF:"{tmp_path}/data/x.zip":v').relative(None) == 'NETCDF:"data/x.zip":v'


@pytest.mark.parametrize("text", ["s3:/bucket/x.tif", "s3:bucket/x.tif", "https:/host/x.tif", "gs:/bucket/x.tif"])
def test_an_address_with_a_slash_too_few_is_no_path_that_is_looked_for(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"Did you mean (s3|https|gs)://(bucket|host)/x.tif\?"):
        Href.from_root(text, tmp_path)
    (tmp_path / text).parent.mkdir(parents=True)
    (tmp_path / text).touch()
    assert Href.from_root(text, tmp_path) == Href(str(tmp_path / text))
