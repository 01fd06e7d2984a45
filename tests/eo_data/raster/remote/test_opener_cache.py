"""What was fetched is not fetched again, unless it has changed."""

from __future__ import annotations

import itertools
import os
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from range_server import RangeServer
from rasterio.errors import RasterioIOError
from rasterio.windows import Window
from remote_rasters import QUICK, WINDOW, href_of, read_window, window_of, write_remote

from eo_core.files import PARTIAL
from eo_data.catalog.hrefs import Href
from eo_data.raster.remote.opener import look_at, open_remote
from eo_data.raster.remote.ranges import USUAL
from eo_data.readers.formats.geotiff import open_dataset


def test_a_second_run_asks_for_no_pixels(server: RangeServer, pixels: np.ndarray, tmp_path: Path) -> None:
    href = href_of(server, tmp_path / "cache")
    first = read_window(href)
    server.forget()
    second = read_window(href)
    np.testing.assert_array_equal(first, window_of(pixels))
    np.testing.assert_array_equal(second, first)
    # One byte tells that the file has not changed; that nothing lies beside it is known.
    assert server.given == [("x.tif", 0, 1)]
    assert server.asked == ["/x.tif"]


def test_overlapping_windows_fetch_only_what_is_new(server: RangeServer, pixels: np.ndarray, tmp_path: Path) -> None:
    for left in (0, 64, 200, 10):
        with open_dataset(href_of(server, tmp_path / "cache")) as file:
            read = file.read(window=Window(left, 0, 130, 130))
        np.testing.assert_array_equal(read, pixels[:, :130, left : left + 130])
    spans = sorted((start, stop) for _, start, stop in server.given if stop - start > 1)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


def test_a_file_that_was_changed_is_read_anew(server: RangeServer, pixels: np.ndarray, tmp_path: Path) -> None:
    read_window(href_of(server, tmp_path / "cache"))
    changed = write_remote(server.folder / "x.tif", seed=1)
    assert not np.array_equal(changed, pixels)
    np.testing.assert_array_equal(read_window(href_of(server, tmp_path / "cache")), window_of(changed))


@pytest.mark.usefixtures("pixels")
@pytest.mark.parametrize("weak", [False, True])
def test_a_file_that_changes_while_it_is_read_is_an_error_and_no_mixture(server: RangeServer, weak: bool) -> None:
    """Of a server whose weak tag is that of both contents, the time tells."""
    server.weak = weak
    os.utime(server.folder / "x.tif", (1_700_000_000, 1_700_000_000))

    def read() -> None:
        with open_remote(href_of(server), QUICK) as file:
            write_remote(server.folder / "x.tif", seed=1)
            file.read(window=WINDOW)

    with pytest.raises(RasterioIOError, match="was changed on the server while it was read"):
        read()


def test_a_file_of_which_no_change_would_show_is_not_kept(
    server: RangeServer, pixels: np.ndarray, tmp_path: Path
) -> None:
    server.etags = False
    read_window(href_of(server, tmp_path / "cache"))
    write_remote(server.folder / "x.tif", seed=1)
    assert not (tmp_path / "cache").exists()
    assert pixels.any()


def test_a_new_signature_finds_what_the_old_one_fetched_and_none_is_on_the_disk(
    server: RangeServer, pixels: np.ndarray, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    for signature in ("SECRET1", "SECRET2"):
        server.forget()
        server.signature = signature
        read = read_window(href_of(server, cache, f"?se=2030&sig={signature}"))
        np.testing.assert_array_equal(read, window_of(pixels))
    assert server.given == [("x.tif", 0, 1)]
    with pytest.raises(RasterioIOError, match="403"):  # whoever may not read the file does not get it from the cache
        read_window(href_of(server, cache, "?sig=SECRET1"))
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert files
    assert not any(b"SECRET" in path.read_bytes() or "SECRET" in str(path) for path in files)
    assert not any(server.host.encode() in path.read_bytes() for path in files)


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
    truth = [write_remote(server.folder / f"{i}.tif", seed=i) for i in range(40)]
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
        np.testing.assert_array_equal(read_window(href, USUAL), window_of(pixels))
    assert {path for path in server.asked if path.endswith((".msk", ".xml"))} == set()
    assert min(start for _, start, _ in server.given) > 0  # pixels, no heads


def test_a_full_disk_of_the_cache_neither_stops_a_run_nor_changes_it(
    server: RangeServer, pixels: np.ndarray, tmp_path: Path
) -> None:
    """What was fetched is right; that it cannot be kept concerns the next run only."""

    def read_twice() -> None:
        for _ in range(2):
            np.testing.assert_array_equal(read_window(href_of(server, tmp_path / "cache")), window_of(pixels))

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
    np.testing.assert_array_equal(read_window(href_of(server, tmp_path / "cache")), window_of(pixels))
    assert server.given  # now it fits
    server.forget()
    read_window(href_of(server, tmp_path / "cache"))
    assert server.given == [("x.tif", 0, 1)]


def test_a_file_that_is_opened_for_many_places_is_asked_for_its_head_once(
    server: RangeServer, pixels: np.ndarray
) -> None:
    """Its tables and what is not beside it would be asked for again for each of a thousand places."""
    for left in range(0, 320, 32):
        with open_dataset(href_of(server)) as file:
            read = file.read(window=Window(left, 0, 32, 32))
        np.testing.assert_array_equal(read, pixels[:, :32, left : left + 32])
    assert sum(start == 0 for _, start, _ in server.given) == 1
    assert sorted(server.asked)[-2:] == ["/x.tif.aux.xml", "/x.tif.msk"]
    assert len(server.asked) <= 3 + 10


@pytest.mark.usefixtures("pixels")
def test_a_remembered_file_that_has_changed_is_an_error_once_and_no_mixture(server: RangeServer) -> None:
    """The tables of the old file would cut the new one at the wrong places."""
    with open_dataset(href_of(server)):
        pass
    changed = write_remote(server.folder / "x.tif", seed=1)
    with pytest.raises(RasterioIOError, match="was changed on the server"), open_dataset(href_of(server)) as file:
        file.read()
    with open_dataset(href_of(server)) as file:
        np.testing.assert_array_equal(file.read(), changed)
