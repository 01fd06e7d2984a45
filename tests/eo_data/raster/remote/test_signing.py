"""Files that are given to signed requests only: signed when they are read, and anew when that is over."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import rasterio
from range_server import Fault, RangeServer, range_server
from rasterio.errors import RasterioIOError

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.raster.remote import signing
from eo_data.raster.remote.memory import known_files
from eo_data.raster.remote.opener import open_remote
from eo_data.raster.remote.ranges import Patience
from eo_data.raster.sample import SampleError
from eo_data.readers.image_bands import read_file

_QUICK = Patience(timeout=0.5, waits=(0.01, 0.02), longest_wait=3.0, trust=0.0)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RangeServer]:
    """A store that answers for a host of Azure (by way of a proxy), and its service of tokens."""
    (tmp_path / "server" / "l2").mkdir(parents=True)
    with range_server(tmp_path / "server") as running:
        monkeypatch.setenv("http_proxy", f"http://{running.host}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        running.signature = "SECRET1"
        yield running


@pytest.fixture
def pixels(server: RangeServer) -> np.ndarray:
    return _write(server.folder / "l2" / "x.tif", seed=0)


def _write(path: Path, seed: int) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(300, 5000, (2, 256, 256), dtype="uint16")
    profile = {"driver": "GTiff", "count": 2, "height": 256, "width": 256, "dtype": "uint16"}
    place = {"crs": "EPSG:32631", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 4_000_000)}
    with rasterio.open(path, "w", tiled=True, blockxsize=64, blockysize=64, **profile, **place) as file:
        file.write(pixels)
    return pixels


def _account(server: RangeServer) -> str:
    """A name of its own for each test, as what is read of it is remembered for a minute."""
    return f"account{server.host.rpartition(':')[2]}"


def _href(server: RangeServer, name: str = "x.tif", cache: Path | None = None) -> Href:
    return Href(f"http://{_account(server)}.blob.core.windows.net/l2/{name}", cache, server.service)


def _read(href: Href) -> np.ndarray:
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE"), open_remote(href, _QUICK) as file:
        return np.asarray(file.read())


def _new_signature(server: RangeServer, after: int) -> Callable[[str], None]:
    """Let the signatures that were given run out after some requests."""
    count = iter(range(10**6))

    def before(_: str) -> None:
        if next(count) == after:
            server.signature = "SECRET2"

    return before


def test_a_file_is_signed_when_it_is_read_and_not_when_it_is_planned(
    server: RangeServer, pixels: np.ndarray, tmp_path: Path
) -> None:
    """Plans are made, pickled for workers, and read an hour later."""
    planned = pickle.loads(pickle.dumps(_href(server, cache=tmp_path / "cache")))  # noqa: S301
    assert server.tokens == []
    server.signature = "SECRET9"
    np.testing.assert_array_equal(_read(planned), pixels)
    _write(server.folder / "l2" / "y.tif", seed=1)
    _read(_href(server, "y.tif"))
    assert server.tokens == [f"{_account(server)}/l2"]
    assert planned.text == str(planned) == f"http://{_account(server)}.blob.core.windows.net/l2/x.tif"
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert kept
    assert not any(b"SECRET" in path.read_bytes() or "SECRET" in str(path) for path in kept)


@pytest.mark.parametrize("after", range(3))
def test_a_signature_that_runs_out_in_the_middle_of_a_file_is_replaced(
    server: RangeServer, pixels: np.ndarray, after: int
) -> None:
    """Of many places one would fail for no fault of its own, or lose the mask beside its file."""
    server.before = _new_signature(server, after)
    np.testing.assert_array_equal(_read(_href(server)), pixels)
    assert len(server.tokens) == 2


def test_a_token_near_its_end_is_not_used(
    server: RangeServer, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.token_seconds = 90.0
    _read(_href(server))
    # A clock that is wrong by hours would else ask for one before each range.
    assert len(server.tokens) == 1
    monkeypatch.setattr(signing, "_AT_MOST_EVERY", 0.0)
    known_files().forget(_href(server).text)
    np.testing.assert_array_equal(_read(_href(server)), pixels)
    assert len(server.tokens) > 2


@pytest.mark.usefixtures("pixels")
def test_a_file_that_no_token_opens_is_refused_with_the_reason_and_without_asking_for_ever(server: RangeServer) -> None:
    server.refused = {"x.tif"}
    source = ImageSource(bands=["B"], sensor=None, unit="reflectance")
    for _ in range(3):
        with pytest.raises(SampleError, match=r"l2/x\.tif cannot be read: .*403.* also with a new signature") as raised:
            read_file(_href(server), source)
        assert "SECRET" not in "".join(traceback.format_exception(raised.value))
    assert len(server.tokens) == 2
    assert len(server.asked) == 4  # with each token, and then with the last one


def test_a_busy_service_of_tokens_is_waited_for(server: RangeServer, pixels: np.ndarray) -> None:
    server.token_faults = [Fault(503), Fault(429, retry_after="1")]
    np.testing.assert_array_equal(_read(_href(server)), pixels)
    assert len(server.tokens) == 3


@pytest.mark.usefixtures("pixels")
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(500), r"127\.0\.0\.1, gives no signature: the server answers 500 .*tried 3 times"),
        (Fault(403), r"127\.0\.0\.1, gives no signature: the server answers 403"),
        (Fault(truncated=True), "expected JSON with msft:expiry and token"),
    ],
    ids=str,
)
def test_a_service_that_gives_no_token_is_named_and_not_the_file(server: RangeServer, fault: Fault, said: str) -> None:
    """A refusal of the service must not count as one of a mask beside the file, which would be left out."""
    server.token_faults = [fault] * 9
    with pytest.raises(RasterioIOError, match=said):
        _read(_href(server))
    assert server.asked == []


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RangeServer]:
    """A store with S3's interface, of which the user has keys in a file."""
    (tmp_path / "store" / "eodata" / "a b").mkdir(parents=True)
    keys = tmp_path / "credentials"
    keys.write_text("[default]\naws_access_key_id = NAME1\naws_secret_access_key = SECRET1\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(keys))
    with range_server(tmp_path / "store") as running:
        yield running


def test_a_store_with_keys_is_read_range_by_range_and_kept(
    store: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GDAL's own reader of such stores knows neither our cache nor our patience."""
    pixels = _write(store.folder / "eodata" / "a b" / "x.tif", seed=0)
    href = Href("s3://eodata/a b/x.tif", tmp_path / "cache", f"http://{store.host}")
    queries: list[dict[str, list[str]]] = []
    store.before = lambda path: queries.append(parse_qs(urlsplit(path).query))
    store.faults = [Fault(), Fault(500), Fault(truncated=True)]
    np.testing.assert_array_equal(_read(href), pixels)
    assert set(store.asked) >= {"/eodata/a%20b/x.tif"}
    assert all(query["X-Amz-Credential"][0].startswith("NAME1/") for query in queries)
    store.forget()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "NAME2")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRET2")
    np.testing.assert_array_equal(_read(href), pixels)
    assert store.given == [("x.tif", 0, 1)]
    assert queries[-1]["X-Amz-Credential"][0].startswith("NAME2/")
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert not any(word in path.read_bytes() for path in kept for word in (b"SECRET", b"NAME"))


def test_without_keys_the_error_says_where_to_get_them_and_nothing_is_asked(
    store: RangeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A store answers 403 as for a wrong key, after which nobody knows that none was given."""
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    source = ImageSource(bands=["B"], sensor=None, unit="reflectance")
    with pytest.raises(SampleError, match=r"eodata/x\.jp2: .*keys.*AWS_ACCESS_KEY_ID.*credentials"):
        read_file(Href("s3://eodata/x.jp2", None, f"http://{store.host}"), source)
    assert store.asked == []
