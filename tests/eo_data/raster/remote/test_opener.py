"""Rasters on servers: each fault has its behaviour, little is fetched, and what was fetched is not fetched again."""

from __future__ import annotations

import itertools
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from range_server import Fault, RangeServer, range_server
from rasterio.errors import RasterioIOError
from rasterio.windows import Window

from eo_core.files import PARTIAL
from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.raster.remote.memory import KnownFile, KnownFiles, known_files
from eo_data.raster.remote.opener import gdal_patience, look_at, open_remote, reads_ranges
from eo_data.raster.remote.ranges import USUAL, Patience
from eo_data.raster.sample import SampleError
from eo_data.readers.files import opened
from eo_data.readers.formats.facts import Part
from eo_data.readers.formats.geotiff import open_dataset
from eo_data.readers.formats.limits import Limits
from eo_data.readers.image_bands import read_file

_QUICK = Patience(timeout=0.5, waits=(0.01, 0.02, 0.04), longest_wait=3.0, trust=0.0)
_SIDE, _TILE = 512, 128
_WINDOW = Window(100, 140, 200, 100)
_BANDS = ("BLUE", "GREEN")
_MASK = {"transform": Affine.scale(10, -10), "count": 1, "height": _SIDE, "width": _SIDE, "dtype": "uint8"}


def _write(path: Path, seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(300, 5000, (2, _SIDE, _SIDE), dtype="uint16")
    place = {"crs": "EPSG:32631", "transform": Affine(10, 0, 500_000, 0, -10, 4_000_000)}
    profile = {"driver": "COG", "blocksize": _TILE, "compress": "deflate", "overviews": "none"}
    size = {"count": 2, "height": _SIDE, "width": _SIDE, "dtype": "uint16"}
    with rasterio.open(path, "w", **profile, **size, **place) as file:
        file.write(pixels)
        file.descriptions = _BANDS
    return pixels


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RangeServer]:
    (tmp_path / "server").mkdir()
    with range_server(tmp_path / "server") as running:
        yield running


@pytest.fixture
def pixels(server: RangeServer) -> np.ndarray:
    return _write(server.folder / "x.tif")


def _href(server: RangeServer, cache: Path | None = None, query: str = "") -> Href:
    return Href(f"http://{server.host}/x.tif{query}", cache)


def _read(href: Href, patience: Patience = _QUICK) -> np.ndarray:
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE"), open_remote(href, patience) as file:
        return np.asarray(file.read(window=_WINDOW))


def _part(pixels: np.ndarray) -> np.ndarray:
    return pixels[:, 140:240, 100:300]


def _tile_bytes(path: Path) -> int:
    """Bytes of the tiles that the window touches, by the file's own table."""
    with rasterio.open(path) as file:

        def tag(what: str, column: int, row: int, band: int) -> int:
            return int(file.get_tag_item(f"BLOCK_{what}_{column}_{row}", "TIFF", bidx=band))

        # Bands may share a tile, hence the offsets.
        sizes = {
            tag("OFFSET", column, row, band): tag("SIZE", column, row, band)
            for band in (1, 2)
            for row in range(140 // _TILE, 239 // _TILE + 1)
            for column in range(100 // _TILE, 299 // _TILE + 1)
        }
    return sum(sizes.values())


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize(
    "fault", [Fault(500), Fault(503), Fault(429), Fault(truncated=True), Fault(seconds=0.8)], ids=str
)
def test_what_passes_is_tried_again_and_the_pixels_are_whole(
    server: RangeServer, pixels: np.ndarray, fault: Fault, at: int
) -> None:
    """GDAL alone takes half a range for a broken file, and a slow server for an unknown format."""
    server.faults = [*[Fault()] * at, fault]
    np.testing.assert_array_equal(_read(_href(server)), _part(pixels))


def test_a_server_that_says_when_to_come_again_is_left_alone_until_then(
    server: RangeServer, pixels: np.ndarray
) -> None:
    server.faults = [Fault(429, retry_after="1")]
    start = time.monotonic()
    np.testing.assert_array_equal(_read(_href(server)), _part(pixels))
    assert 1.0 <= time.monotonic() - start < 2.5


@pytest.mark.usefixtures("pixels")
def test_a_server_that_wants_a_long_rest_is_an_error_at_once(server: RangeServer) -> None:
    server.faults = [Fault(429, retry_after="3600")]
    with pytest.raises(RasterioIOError, match=r"429 .*left alone for 3600 s"):
        _read(_href(server))
    assert len(server.asked) == 1


@pytest.mark.parametrize("fault", [Fault(500), Fault(429), Fault(truncated=True), Fault(seconds=0.8)], ids=str)
@pytest.mark.parametrize("good", [0, 1])
def test_tries_are_bounded_and_no_half_picture_leaves(
    server: RangeServer, pixels: np.ndarray, fault: Fault, good: int
) -> None:
    server.faults = [*[Fault()] * good, *[fault] * 40]
    reason = {500: "500 Internal", 429: "429 Too Many"}.get(fault.status, "ended early" if fault.truncated else "")
    with pytest.raises(RasterioIOError, match=f"{reason}.*tried 4 times"):
        _read(_href(server))
    assert server.asked.count("/x.tif") == good + 4
    server.faults = []
    np.testing.assert_array_equal(_read(_href(server)), _part(pixels))


@pytest.mark.usefixtures("pixels")
@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_is_told_at_once_with_the_remedy_and_without_the_signature(server: RangeServer, status: int) -> None:
    server.faults = [Fault(status)] * 9
    href = _href(server, query="?sig=SECRET")
    source = ImageSource(bands=list(_BANDS), sensor="sentinel2_l2a", unit="digital_number", offset=0)
    with pytest.raises(SampleError, match=rf"x.tif cannot be read: .*{status}.*signature may have expired") as raised:
        read_file(href, source)
    assert "SECRET" not in "".join(traceback.format_exception(raised.value))
    assert len(server.asked) == 1


def test_a_server_that_is_gone_is_an_error_that_shows_no_signature(server: RangeServer) -> None:
    href = Href("http://127.0.0.1:9/x.tif?sig=SECRET")
    with pytest.raises(RasterioIOError, match="cannot be reached.*tried 4 times") as raised:
        _read(href)
    assert "SECRET" not in "".join(traceback.format_exception(raised.value))


def test_no_more_than_twice_the_tiles_of_a_window_is_fetched(server: RangeServer, pixels: np.ndarray) -> None:
    with open_dataset(_href(server)) as file:
        read = file.read(window=_WINDOW)
    np.testing.assert_array_equal(read, _part(pixels))
    needed = _tile_bytes(server.folder / "x.tif")
    assert needed < server.bytes_given < 2 * needed
    assert len(server.given) < 8


def test_a_second_run_asks_for_no_pixels(server: RangeServer, pixels: np.ndarray, tmp_path: Path) -> None:
    href = _href(server, tmp_path / "cache")
    first = _read(href)
    server.forget()
    second = _read(href)
    np.testing.assert_array_equal(first, _part(pixels))
    np.testing.assert_array_equal(second, first)
    # One byte tells that the file has not changed; that nothing lies beside it is known.
    assert server.given == [("x.tif", 0, 1)]
    assert server.asked == ["/x.tif"]


def test_overlapping_windows_fetch_only_what_is_new(server: RangeServer, pixels: np.ndarray, tmp_path: Path) -> None:
    for left in (0, 64, 200, 10):
        with open_dataset(_href(server, tmp_path / "cache")) as file:
            read = file.read(window=Window(left, 0, 130, 130))
        np.testing.assert_array_equal(read, pixels[:, :130, left : left + 130])
    spans = sorted((start, stop) for _, start, stop in server.given if stop - start > 1)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


def test_a_file_that_was_changed_is_read_anew(server: RangeServer, pixels: np.ndarray, tmp_path: Path) -> None:
    _read(_href(server, tmp_path / "cache"))
    changed = _write(server.folder / "x.tif", seed=1)
    assert not np.array_equal(changed, pixels)
    np.testing.assert_array_equal(_read(_href(server, tmp_path / "cache")), _part(changed))


@pytest.mark.usefixtures("pixels")
@pytest.mark.parametrize("weak", [False, True])
def test_a_file_that_changes_while_it_is_read_is_an_error_and_no_mixture(server: RangeServer, weak: bool) -> None:
    """Of a server whose weak tag is that of both contents, the time tells."""
    server.weak = weak
    os.utime(server.folder / "x.tif", (1_700_000_000, 1_700_000_000))

    def read() -> None:
        with open_remote(_href(server), _QUICK) as file:
            _write(server.folder / "x.tif", seed=1)
            file.read(window=_WINDOW)

    with pytest.raises(RasterioIOError, match="was changed on the server while it was read"):
        read()


def test_a_file_of_which_no_change_would_show_is_not_kept(
    server: RangeServer, pixels: np.ndarray, tmp_path: Path
) -> None:
    server.etags = False
    _read(_href(server, tmp_path / "cache"))
    _write(server.folder / "x.tif", seed=1)
    assert not (tmp_path / "cache").exists()
    assert pixels.any()


def test_a_mask_beside_a_file_counts_also_behind_a_signature_and_from_the_cache(
    server: RangeServer, tmp_path: Path
) -> None:
    """Pixels that the mask says are missing would be taken for measured ones."""
    with rasterio.open(
        server.folder / "x.tif",
        "w",
        driver="GTiff",
        count=1,
        height=64,
        width=64,
        dtype="uint16",
        transform=Affine(10, 0, 500_000, 0, -10, 4_000_000),
        crs="EPSG:32631",
    ) as file:
        file.write(np.full((1, 64, 64), 700, "uint16"))
    mask = np.full((64, 64), 255, "uint8")
    mask[:, :9] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(server.folder / "x.tif", "r+") as file:
        file.write_mask(mask)
    assert (server.folder / "x.tif.msk").exists()
    server.signature = "SECRET"
    for _ in range(2):
        with opened(_href(server, query="?sig=SECRET"), None, Limits(remote_cache=tmp_path / "cache")) as layers:
            stored = layers[0].stored([0], Part(0, 0, 64, 64))
        np.testing.assert_array_equal(np.isnan(stored[0]), mask == 0)


@pytest.mark.usefixtures("pixels")
def test_a_refused_mask_is_asked_for_again_when_it_may_be_read(server: RangeServer, tmp_path: Path) -> None:
    """A signature that ran out in between must not make the cache forget a mask for ever."""
    cache = tmp_path / "cache"
    server.refused = {"x.tif.msk"}
    for known in (False, True):
        server.forget()
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE"), open_remote(_href(server, cache), _QUICK) as file:
            file.read_masks(1)
        known_files().forget(f"http://{server.host}/x.tif")  # as in the next run
        assert "/x.tif.msk" in server.asked
        assert ("/x.tif.aux.xml" in server.asked) != known


def test_a_new_signature_finds_what_the_old_one_fetched_and_none_is_on_the_disk(
    server: RangeServer, pixels: np.ndarray, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    for signature in ("SECRET1", "SECRET2"):
        server.forget()
        server.signature = signature
        read = _read(_href(server, cache, f"?se=2030&sig={signature}"))
        np.testing.assert_array_equal(read, _part(pixels))
    assert server.given == [("x.tif", 0, 1)]
    with pytest.raises(RasterioIOError, match="403"):  # whoever may not read the file does not get it from the cache
        _read(_href(server, cache, "?sig=SECRET1"))
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert files
    assert not any(b"SECRET" in path.read_bytes() or "SECRET" in str(path) for path in files)
    assert not any(server.host.encode() in path.read_bytes() for path in files)


def test_a_server_without_ranges_gives_the_whole_of_a_small_file(server: RangeServer, pixels: np.ndarray) -> None:
    server.ranges = False
    np.testing.assert_array_equal(_read(_href(server)), _part(pixels))
    assert [name for name, *_ in server.given] == ["x.tif"]


_READER = """
import sys
import rasterio
from pathlib import Path
from eo_core.files import PARTIAL
from eo_data.catalog.hrefs import Href
from eo_data.readers.formats.geotiff import open_dataset
print("ready", flush=True)
for i in range(100_000):
    with open_dataset(Href(sys.argv[1].replace("x.tif", f"{i % 40}.tif"), Path(sys.argv[2]))) as file:
        file.read()
"""


def test_a_process_that_is_killed_leaves_a_cache_that_serves_others(server: RangeServer, tmp_path: Path) -> None:
    truth = [_write(server.folder / f"{i}.tif", seed=i) for i in range(40)]
    address, cache = f"http://{server.host}/x.tif", tmp_path / "cache"
    readers = [
        subprocess.Popen([sys.executable, "-c", _READER, address, str(cache)], stdout=subprocess.PIPE)  # noqa: S603
        for _ in range(2)
    ]
    try:
        for reader in readers:
            assert reader.stdout is not None
            reader.stdout.readline()
        until = time.monotonic() + 20
        while len(server.given) < 30 and time.monotonic() < until:
            time.sleep(0.01)
    finally:
        for reader in readers:
            os.kill(reader.pid, signal.SIGKILL)
            reader.wait()
            assert reader.stdout is not None
            reader.stdout.close()
    assert any(cache.rglob("*-*"))
    for i, expected in enumerate(truth):
        with open_dataset(Href(address.replace("x.tif", f"{i}.tif"), cache)) as file:
            np.testing.assert_array_equal(file.read(), expected)


def test_what_is_no_raster_is_named_without_the_random_name_under_which_rasterio_opens_it(server: RangeServer) -> None:
    """Else the list of failures differs from run to run."""
    (server.folder / "x.tif").write_text("Sign in")
    with pytest.raises(RasterioIOError, match="^'x.tif' not recognized"):
        _read(_href(server))


def test_a_damaged_raster_is_an_error(server: RangeServer, pixels: np.ndarray) -> None:
    path = server.folder / "x.tif"
    path.write_bytes(path.read_bytes()[:60_000])
    with pytest.raises(RasterioIOError) as raised:
        _read(_href(server))
    assert "vsiriopener" not in str(raised.value)
    assert pixels.any()


def test_a_file_that_is_cut_off_on_the_server_is_an_error_and_not_zeros(server: RangeServer) -> None:
    """The server states the size of what it has; the rest would be 0, which is no data or a value."""
    pixels = np.random.default_rng(0).integers(300, 5000, (1, 256, 256), dtype="uint16")
    path = server.folder / "x.tif"
    profile = {"driver": "GTiff", "count": 1, "height": 256, "width": 256, "dtype": "uint16"}
    with rasterio.open(
        path, "w", crs="EPSG:32631", transform=Affine(10, 0, 500_000, 0, -10, 4_000_000), **profile
    ) as file:
        file.write(pixels)
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(RasterioIOError, match="cut off: it has 20000 bytes"):
        _read(_href(server))


def test_where_a_user_of_gdal_signs_in_by_its_options_gdal_reads(server: RangeServer) -> None:
    """They would be lost, and with them the right to read."""
    assert reads_ranges(_href(server))
    with rasterio.Env(GDAL_HTTP_HEADERS="Authorization: Bearer x"):
        assert not reads_ranges(_href(server))
    assert not reads_ranges(Href(f"/vsicurl/http://{server.host}/x.tif"))


def test_gdal_too_is_patient_unless_its_user_says_otherwise() -> None:
    with rasterio.Env(GDAL_HTTP_MAX_RETRY="9"):
        options = gdal_patience()
    assert "GDAL_HTTP_MAX_RETRY" not in options
    assert options["GDAL_HTTP_CONNECTTIMEOUT"] == "30"
    assert "GDAL_HTTP_MAX_RETRY" in gdal_patience()


@pytest.mark.usefixtures("pixels")
def test_a_file_of_another_kind_than_its_suffix_says_is_not_opened(server: RangeServer) -> None:
    """A driver that opens files in threads of its own would give what lies in the memory."""
    (server.folder / "x.tif").rename(server.folder / "x.jp2")
    with pytest.raises(RasterioIOError, match="'x.jp2' not recognized"):
        _read(Href(f"http://{server.host}/x.jp2"))
    assert not reads_ranges(Href(f"http://{server.host}/x.png"))


def test_a_file_that_was_looked_at_is_opened_without_a_request(
    server: RangeServer, pixels: np.ndarray, tmp_path: Path
) -> None:
    """Threads may look at files while a server takes its time; none of them may open one."""
    names = [f"{i}.tif" for i in range(6)]
    for name in names:
        (server.folder / name).write_bytes((server.folder / "x.tif").read_bytes())
    hrefs = [Href(f"http://{server.host}/{name}", cache=tmp_path / "cache") for name in names]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(look_at, hrefs))
    server.forget()
    for href in hrefs:
        np.testing.assert_array_equal(_read(href, USUAL), _part(pixels))
    assert {path for path in server.asked if path.endswith((".msk", ".xml"))} == set()
    assert min(start for _, start, _ in server.given) > 0  # pixels, no heads


@pytest.mark.usefixtures("pixels")
@pytest.mark.parametrize("status", [403, 404])
def test_a_look_at_what_is_refused_is_the_error_of_opening_it(server: RangeServer, status: int) -> None:
    server.faults = [Fault(status)]
    with pytest.raises(RasterioIOError, match=str(status)):
        look_at(_href(server))


@pytest.mark.parametrize("good", range(1, 4))
def test_jpeg_2000_is_whole_or_an_error_whatever_threads_gdal_may_use(server: RangeServer, good: int) -> None:
    """Its driver opens the file again in each thread; where that fails it gives what lies in the memory, silently."""
    pixels = np.random.default_rng(0).integers(300, 5000, (1, 256, 256), dtype="uint16")
    place = {"crs": "EPSG:32631", "transform": Affine(10, 0, 500_000, 0, -10, 4_000_000)}
    options = {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES", "blockxsize": 64, "blockysize": 64}
    with rasterio.open(
        server.folder / "x.jp2", "w", count=1, height=256, width=256, dtype="uint16", **options, **place
    ) as file:
        file.write(pixels)
    href = Href(f"http://{server.host}/x.jp2")

    def read() -> np.ndarray:
        with rasterio.Env(GDAL_NUM_THREADS="ALL_CPUS"), open_remote(href, _QUICK) as file:
            return np.asarray(file.read())

    np.testing.assert_array_equal(read(), pixels)
    known_files().forget(href.text)
    server.faults = [*[Fault()] * good, *[Fault(truncated=True)] * 99]
    with pytest.raises(RasterioIOError, match="ended early"):
        read()


def test_a_full_disk_of_the_cache_neither_stops_a_run_nor_changes_it(
    server: RangeServer, pixels: np.ndarray, tmp_path: Path
) -> None:
    """What was fetched is right; that it cannot be kept concerns the next run only."""

    def read_twice() -> None:
        for _ in range(2):
            np.testing.assert_array_equal(_read(_href(server, tmp_path / "cache")), _part(pixels))

    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, usual[1]))
    try:
        with pytest.warns(UserWarning, match="takes no more.*the run goes on") as warned:
            read_twice()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert len({str(own.message) for own in warned}) == 1  # of which Python shows one
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in kept) < 20_000
    assert not [path for path in kept if path.name.startswith(PARTIAL)]
    server.forget()
    np.testing.assert_array_equal(_read(_href(server, tmp_path / "cache")), _part(pixels))
    assert server.given  # now it fits
    server.forget()
    _read(_href(server, tmp_path / "cache"))
    assert server.given == [("x.tif", 0, 1)]


def test_a_file_that_is_opened_for_many_places_is_asked_for_its_head_once(
    server: RangeServer, pixels: np.ndarray
) -> None:
    """Its tables and what is not beside it would be asked for again for each of a thousand places."""
    for left in range(0, 320, 32):
        with open_dataset(_href(server)) as file:
            read = file.read(window=Window(left, 0, 32, 32))
        np.testing.assert_array_equal(read, pixels[:, :32, left : left + 32])
    assert sum(start == 0 for _, start, _ in server.given) == 1
    assert sorted(server.asked)[-2:] == ["/x.tif.aux.xml", "/x.tif.msk"]
    assert len(server.asked) <= 3 + 10


@pytest.mark.usefixtures("pixels")
def test_a_remembered_file_that_has_changed_is_an_error_once_and_no_mixture(server: RangeServer) -> None:
    """The tables of the old file would cut the new one at the wrong places."""
    with open_dataset(_href(server)):
        pass
    changed = _write(server.folder / "x.tif", seed=1)
    with pytest.raises(RasterioIOError, match="was changed on the server"), open_dataset(_href(server)) as file:
        file.read()
    with open_dataset(_href(server)) as file:
        np.testing.assert_array_equal(file.read(), changed)


def test_what_is_remembered_is_bounded() -> None:
    """Of a hundred thousand files, the tables alone would fill the memory."""
    files = KnownFiles(most_bytes=20_000_000)
    for i in range(6000):
        file = KnownFile(10**6, "v", 0.0)
        files.add(str(i), file)
        for start in range(0, 10**5, 20_000):
            files.keep(file, (start, start + 20_000), bytes(20_000))
    found = [file for i in range(6000) if (file := files.find(str(i)))]
    assert 500 < len(found) < 6000
    assert files.find("5999") is not None
    assert sum(len(data) for file in found for data in file.ranges.values()) == 20_000_000
    for i in range(6000):
        files.forget(str(i))
    assert files.recall(found[-1], (0, 20_000)) is None


def test_bytes_that_were_used_last_stay() -> None:
    """A row of tiles shares its blocks with the next row: what was used longest ago goes, not what came first."""
    files, file = KnownFiles(most_bytes=30), KnownFile(100, "v", 0.0)
    files.add("x", file)
    for start in (0, 10, 20):
        files.keep(file, (start, start + 10), bytes(10))
    assert files.recall(file, (0, 10)) is not None
    files.keep(file, (30, 40), bytes(10))
    assert [files.recall(file, (start, start + 10)) is not None for start in (0, 10, 20, 30)] == [
        True,
        False,
        True,
        True,
    ]


def test_a_page_in_place_of_a_file_is_told(server: RangeServer) -> None:
    """Servers answer 200 with a page that says 'not found', or asks for a sign-in."""
    (server.folder / "x.tif").write_text("\n<!DOCTYPE html><html>Sign in</html>")
    with pytest.raises(RasterioIOError, match="page of a web site"):
        _read(_href(server))


def test_a_page_in_place_of_a_mask_is_no_mask(server: RangeServer, pixels: np.ndarray) -> None:
    for end in (".msk", ".aux.xml"):
        (server.folder / f"x.tif{end}").write_text("<html>We looked everywhere</html>")
    np.testing.assert_array_equal(_read(_href(server)), _part(pixels))


@pytest.mark.parametrize(
    "options",
    [
        {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "VSI_CACHE": "TRUE"},
        {"CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".nc", "GDAL_HTTP_MULTIRANGE": "SERIAL", "GDAL_PAM_ENABLED": "NO"},
    ],
    ids=str,
)
def test_what_a_host_has_set_for_gdal_changes_nothing(
    server: RangeServer, pixels: np.ndarray, options: dict[str, str]
) -> None:
    with rasterio.open(server.folder / "x.tif.msk", "w", driver="GTiff", **_MASK) as file:
        file.write(np.zeros((1, _SIDE, _SIDE), "uint8"))
        file.update_tags(INTERNAL_MASK_FLAGS_1="2", INTERNAL_MASK_FLAGS_2="2")
    with rasterio.Env(**options), open_dataset(_href(server)) as file:
        np.testing.assert_array_equal(file.read(window=_WINDOW), _part(pixels))
        assert not file.read_masks(1, window=_WINDOW).any()


def test_tiles_with_a_halo_fetch_each_block_about_once(server: RangeServer, pixels: np.ndarray) -> None:
    """Each tile opens the file anew; with its neighbours it shares blocks."""
    tile, step = 96, 64
    for top in range(0, _SIDE - tile + 1, step):
        for left in range(0, _SIDE - tile + 1, step):
            with open_dataset(_href(server)) as file:
                read = file.read(window=Window(left, top, tile, tile))
            np.testing.assert_array_equal(read, pixels[:, top : top + tile, left : left + tile])
    size = (server.folder / "x.tif").stat().st_size
    assert server.bytes_given < 1.05 * size
