"""Addresses ``s3://`` of the user's own: keys, region and store are what the environment says, and stay there."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from range_server import Fault
from rasterio.errors import RasterioIOError
from s3_server import ACCESS, SECRET, Store, s3_server

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.raster.remote.opener import open_remote, reads_ranges
from eo_data.raster.remote.own_stores import OwnStore, address, own_store
from eo_data.raster.remote.ranges import Patience, RemoteError
from eo_data.raster.remote.signing import located
from eo_data.raster.sample import SampleError
from eo_data.readers.image_bands import read_file

_QUICK = Patience(timeout=0.5, waits=(0.01, 0.02), longest_wait=3.0, trust=0.0)
_NAMES = (
    *("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE", "REGION", "DEFAULT_REGION", "ENDPOINT_URL"),
    *("ENDPOINT_URL_S3", "NO_SIGN_REQUEST", "REQUEST_PAYER", "CONFIG_FILE", "SHARED_CREDENTIALS_FILE"),
)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment in which nothing is set."""
    for name in _NAMES:
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".aws").mkdir()
    return tmp_path


@pytest.fixture
def store(bare: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    (bare / "store" / "my-bucket" / "a b").mkdir(parents=True)
    with s3_server(bare / "store") as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.endpoint)
        monkeypatch.setenv("AWS_REGION", running.region)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        yield running


@pytest.fixture
def pixels(store: Store) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(300, 5000, (2, 256, 256), dtype="uint16")
    profile = {"driver": "GTiff", "count": 2, "height": 256, "width": 256, "dtype": "uint16"}
    place = {"crs": "EPSG:32631", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 4_000_000)}
    path = store.server.folder / "my-bucket" / "a b" / "x+1.tif"
    with rasterio.open(path, "w", tiled=True, blockxsize=64, blockysize=64, **profile, **place) as file:
        file.write(pixels)
    return pixels


_HREF = "s3://my-bucket/a b/x+1.tif"
_SOURCE = ImageSource(bands=["B04", "B03"], sensor="sentinel2_l2a", unit="digital_number", offset=0)


def _read(text: str = _HREF, cache: Path | None = None) -> np.ndarray:
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE"), open_remote(Href(text, cache), _QUICK) as file:
        return np.asarray(file.read())


def test_a_bucket_is_read_by_signed_ranges_that_the_store_checks(
    store: Store, pixels: np.ndarray, tmp_path: Path
) -> None:
    store.server.faults = [Fault(), Fault(503), Fault(truncated=True)]
    np.testing.assert_array_equal(_read(cache=tmp_path / "cache"), pixels)
    assert {"/my-bucket/a%20b/x%2B1.tif"} <= set(store.server.asked)
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert kept
    assert not any(word in path.read_bytes() for path in kept for word in (b"SECRET", ACCESS.encode()))


def test_keys_region_and_store_may_stand_in_the_files_of_profiles(
    store: Store, pixels: np.ndarray, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ENDPOINT_URL", "REGION", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.delenv(f"AWS_{name}")
    monkeypatch.setenv("AWS_PROFILE", "lab")
    own = f"aws_access_key_id = {ACCESS}\naws_secret_access_key = {SECRET}\n"
    (bare / ".aws" / "credentials").write_text(f"[default]\n[lab]\n{own}")
    (bare / ".aws" / "config").write_text(
        f"[default]\nregion = us-west-1\n[profile lab]\nregion = {store.region}\nendpoint_url = {store.endpoint}\n"
    )
    np.testing.assert_array_equal(_read(), pixels)


def test_a_wrong_region_is_corrected_by_what_the_store_says_and_asked_once(
    store: Store, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    np.testing.assert_array_equal(_read(), pixels)
    np.testing.assert_array_equal(_read(), pixels)
    given = sum(name == "x+1.tif" for name, *_ in store.server.given)
    assert sum("x%2B1.tif" in path and not path.endswith((".msk", ".xml")) for path in store.server.asked) == given + 1


def test_a_bucket_whose_reader_pays_asks_for_the_word_that_says_so(
    store: Store, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.payers.add("my-bucket")
    with pytest.raises(RasterioIOError, match=r"403 .*AccessDenied.*AWS_REQUEST_PAYER=requester"):
        _read()
    monkeypatch.setenv("AWS_REQUEST_PAYER", "requester")
    np.testing.assert_array_equal(_read(), pixels)
    monkeypatch.setenv("AWS_REQUEST_PAYER", "me")
    with pytest.raises(ValueError, match="only 'requester'"):
        _read()


def test_keys_count_though_terratorch_asks_for_unsigned_requests(
    store: Store, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its command line sets the variable for every run, so that a private bucket could never be read."""
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "YES")
    np.testing.assert_array_equal(_read(), pixels)


def test_a_public_bucket_is_read_without_keys(
    store: Store, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.public.add("my-bucket")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert not reads_ranges(Href(_HREF))  # GDAL may know a role
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "YES")
    assert reads_ranges(Href(_HREF))
    queries: list[str] = []
    store.server.before = queries.append
    np.testing.assert_array_equal(_read(), pixels)
    assert not any("X-Amz" in query for query in queries)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AWS_SECRET_ACCESS_KEY", "SECRETWRONG", r"403 .*SignatureDoesNotMatch.*AWS_PROFILE"),
        ("AWS_ACCESS_KEY_ID", "SECRETWRONG", r"403 .*InvalidAccessKeyId"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9", r"cannot be reached.*127.0.0.1:9 \(AWS_ENDPOINT_URL\)"),
        ("AWS_ENDPOINT_URL", "my-store", r"AWS_ENDPOINT_URL.*no address.*https://host"),
    ],
)
@pytest.mark.usefixtures("pixels")
def test_what_is_set_wrong_is_named_without_keys(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises((RasterioIOError, ValueError), match=said) as raised:
        _read()
    text = "".join(traceback.format_exception(raised.value))
    assert not any(word in text for word in ("SECRET", ACCESS))


def test_what_is_not_there_is_named_as_it_was_written(store: Store) -> None:
    for text, said in (("s3://my-bucket/none.tif", "NoSuchKey"), ("s3://other/x.tif", "NoSuchBucket")):
        with pytest.raises(SampleError, match=rf"^{text} cannot be read: .*404.*{said}") as raised:
            read_file(Href(text), _SOURCE)
        assert not any(word in str(raised.value) for word in ("SECRET", ACCESS, "X-Amz"))


def test_without_keys_a_cube_says_what_to_set(bare: Path) -> None:
    with pytest.raises(ValueError, match="AWS_ACCESS_KEY_ID.*AWS_NO_SIGN_REQUEST"):
        located(Href("s3://my-bucket/x.zarr"))
    assert own_store() is None


@pytest.mark.parametrize("text", ["s3://my-bucket", "s3://my-bucket/", "s3:///x.tif"])
@pytest.mark.usefixtures("bare")
def test_an_address_without_a_bucket_or_a_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="s3://bucket/key"):
        located(Href(text))


@pytest.mark.parametrize(
    ("region", "bucket", "expected"),
    [
        ("eu-north-1", "b", "https://b.s3.eu-north-1.amazonaws.com/k%20y"),
        ("cn-north-1", "b", "https://b.s3.cn-north-1.amazonaws.com.cn/k%20y"),
        ("us-west-2", "b.c", "https://s3.us-west-2.amazonaws.com/b.c/k%20y"),
    ],
)
@pytest.mark.usefixtures("bare")
def test_amazons_buckets_are_asked_where_their_region_is(region: str, bucket: str, expected: str) -> None:
    asked: list[str] = []
    OwnStore("", region, None, pays=False).asked(address(bucket, "k y"), asked.append)
    assert asked == [expected]


@pytest.mark.usefixtures("bare")
def test_a_bucket_of_amazon_elsewhere_is_asked_there_and_then_known() -> None:
    asked: list[str] = []

    def ask(url: str) -> str:
        asked.append(url)
        if "eu-west-3" not in url:
            raise RemoteError("the server answers 301 Moved", 301, "eu-west-3")
        return "bytes"

    store = OwnStore("", "us-east-1", None, pays=False)
    url = address("far-away", "k")
    assert [store.asked(url, ask), store.asked(url, ask)] == ["bytes", "bytes"]
    assert asked == [
        "https://far-away.s3.us-east-1.amazonaws.com/k",
        *["https://far-away.s3.eu-west-3.amazonaws.com/k"] * 2,
    ]
