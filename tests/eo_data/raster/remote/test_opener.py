"""Rasters on servers: each fault has its behaviour, little is fetched, and what was fetched is not fetched again."""

from __future__ import annotations

import time
import traceback
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from range_server import Fault, RangeServer
from rasterio.errors import RasterioIOError
from rasterio.windows import Window
from remote_rasters import BANDS, QUICK, SIDE, WINDOW, href_of, read_window, tile_bytes, window_of

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.raster.remote.memory import known_files
from eo_data.raster.remote.opener import gdal_patience, look_at, open_remote, reads_ranges
from eo_data.raster.sample import SampleError
from eo_data.readers.files import opened
from eo_data.readers.formats.facts import Part
from eo_data.readers.formats.geotiff import open_dataset
from eo_data.readers.formats.limits import Limits
from eo_data.readers.image_bands import read_file

_MASK = {"transform": Affine.scale(10, -10), "count": 1, "height": SIDE, "width": SIDE, "dtype": "uint8"}


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize(
    "fault", [Fault(500), Fault(503), Fault(429), Fault(truncated=True), Fault(seconds=0.8)], ids=str
)
def test_what_passes_is_tried_again_and_the_pixels_are_whole(
    server: RangeServer, pixels: np.ndarray, fault: Fault, at: int
) -> None:
    """GDAL alone takes half a range for a broken file, and a slow server for an unknown format."""
    server.faults = [*[Fault()] * at, fault]
    np.testing.assert_array_equal(read_window(href_of(server)), window_of(pixels))


def test_a_server_that_says_when_to_come_again_is_left_alone_until_then(
    server: RangeServer, pixels: np.ndarray
) -> None:
    server.faults = [Fault(429, retry_after="1")]
    start = time.monotonic()
    np.testing.assert_array_equal(read_window(href_of(server)), window_of(pixels))
    assert 1.0 <= time.monotonic() - start < 2.5


@pytest.mark.usefixtures("pixels")
def test_a_server_that_wants_a_long_rest_is_an_error_at_once(server: RangeServer) -> None:
    server.faults = [Fault(429, retry_after="3600")]
    with pytest.raises(RasterioIOError, match=r"429 .*left alone for 3600 s"):
        read_window(href_of(server))
    assert len(server.asked) == 1


@pytest.mark.parametrize("fault", [Fault(500), Fault(429), Fault(truncated=True), Fault(seconds=0.8)], ids=str)
@pytest.mark.parametrize("good", [0, 1])
def test_tries_are_bounded_and_no_half_picture_leaves(
    server: RangeServer, pixels: np.ndarray, fault: Fault, good: int
) -> None:
    server.faults = [*[Fault()] * good, *[fault] * 40]
    reason = {500: "500 Internal", 429: "429 Too Many"}.get(fault.status, "ended early" if fault.truncated else "")
    with pytest.raises(RasterioIOError, match=f"{reason}.*tried 4 times"):
        read_window(href_of(server))
    assert server.asked.count("/x.tif") == good + 4
    server.faults = []
    np.testing.assert_array_equal(read_window(href_of(server)), window_of(pixels))


@pytest.mark.usefixtures("pixels")
@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_is_told_at_once_with_the_remedy_and_without_the_signature(server: RangeServer, status: int) -> None:
    server.faults = [Fault(status)] * 9
    href = href_of(server, query="?sig=SECRET")
    source = ImageSource(bands=list(BANDS), sensor="sentinel2_l2a", unit="digital_number", offset=0)
    with pytest.raises(SampleError, match=rf"x.tif cannot be read: .*{status}.*signature may have expired") as raised:
        read_file(href, source)
    assert "SECRET" not in "".join(traceback.format_exception(raised.value))
    assert len(server.asked) == 1


def test_a_server_that_is_gone_is_an_error_that_shows_no_signature(server: RangeServer) -> None:
    href = Href("http://127.0.0.1:9/x.tif?sig=SECRET")
    with pytest.raises(RasterioIOError, match="cannot be reached.*tried 4 times") as raised:
        read_window(href)
    assert "SECRET" not in "".join(traceback.format_exception(raised.value))


def test_no_more_than_twice_the_tiles_of_a_window_is_fetched(server: RangeServer, pixels: np.ndarray) -> None:
    with open_dataset(href_of(server)) as file:
        read = file.read(window=WINDOW)
    np.testing.assert_array_equal(read, window_of(pixels))
    needed = tile_bytes(server.folder / "x.tif")
    assert needed < server.bytes_given < 2 * needed
    assert len(server.given) < 8


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
        with opened(href_of(server, query="?sig=SECRET"), None, Limits(remote_cache=tmp_path / "cache")) as layers:
            stored = layers[0].stored([0], Part(0, 0, 64, 64))
        np.testing.assert_array_equal(np.isnan(stored[0]), mask == 0)


@pytest.mark.usefixtures("pixels")
def test_a_refused_mask_is_asked_for_again_when_it_may_be_read(server: RangeServer, tmp_path: Path) -> None:
    """A signature that ran out in between must not make the cache forget a mask for ever."""
    cache = tmp_path / "cache"
    server.refused = {"x.tif.msk"}
    for known in (False, True):
        server.forget()
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE"), open_remote(href_of(server, cache), QUICK) as file:
            file.read_masks(1)
        known_files().forget(f"http://{server.host}/x.tif")  # as in the next run
        assert "/x.tif.msk" in server.asked
        assert ("/x.tif.aux.xml" in server.asked) != known


def test_a_server_without_ranges_gives_the_whole_of_a_small_file(server: RangeServer, pixels: np.ndarray) -> None:
    server.ranges = False
    np.testing.assert_array_equal(read_window(href_of(server)), window_of(pixels))
    assert [name for name, *_ in server.given] == ["x.tif"]


def test_what_is_no_raster_is_named_without_the_random_name_under_which_rasterio_opens_it(server: RangeServer) -> None:
    """Else the list of failures differs from run to run."""
    (server.folder / "x.tif").write_text("Sign in")
    with pytest.raises(RasterioIOError, match="^'x.tif' not recognized"):
        read_window(href_of(server))


def test_a_damaged_raster_is_an_error(server: RangeServer, pixels: np.ndarray) -> None:
    path = server.folder / "x.tif"
    path.write_bytes(path.read_bytes()[:60_000])
    with pytest.raises(RasterioIOError) as raised:
        read_window(href_of(server))
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
        read_window(href_of(server))


def test_where_a_user_of_gdal_signs_in_by_its_options_gdal_reads(server: RangeServer) -> None:
    """They would be lost, and with them the right to read."""
    assert reads_ranges(href_of(server))
    with rasterio.Env(GDAL_HTTP_HEADERS="Authorization: Bearer x"):
        assert not reads_ranges(href_of(server))
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
        read_window(Href(f"http://{server.host}/x.jp2"))
    assert not reads_ranges(Href(f"http://{server.host}/x.png"))


@pytest.mark.usefixtures("pixels")
@pytest.mark.parametrize("status", [403, 404])
def test_a_look_at_what_is_refused_is_the_error_of_opening_it(server: RangeServer, status: int) -> None:
    server.faults = [Fault(status)]
    with pytest.raises(RasterioIOError, match=str(status)):
        look_at(href_of(server))


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
        with rasterio.Env(GDAL_NUM_THREADS="ALL_CPUS"), open_remote(href, QUICK) as file:
            return np.asarray(file.read())

    np.testing.assert_array_equal(read(), pixels)
    known_files().forget(href.text)
    server.faults = [*[Fault()] * good, *[Fault(truncated=True)] * 99]
    with pytest.raises(RasterioIOError, match="ended early"):
        read()


def test_a_page_in_place_of_a_file_is_told(server: RangeServer) -> None:
    """Servers answer 200 with a page that says 'not found', or asks for a sign-in."""
    (server.folder / "x.tif").write_text("\n<!DOCTYPE html><html>Sign in</html>")
    with pytest.raises(RasterioIOError, match="page of a web site"):
        read_window(href_of(server))


def test_a_page_in_place_of_a_mask_is_no_mask(server: RangeServer, pixels: np.ndarray) -> None:
    for end in (".msk", ".aux.xml"):
        (server.folder / f"x.tif{end}").write_text("<html>We looked everywhere</html>")
    np.testing.assert_array_equal(read_window(href_of(server)), window_of(pixels))


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
        file.write(np.zeros((1, SIDE, SIDE), "uint8"))
        file.update_tags(INTERNAL_MASK_FLAGS_1="2", INTERNAL_MASK_FLAGS_2="2")
    with rasterio.Env(**options), open_dataset(href_of(server)) as file:
        np.testing.assert_array_equal(file.read(window=WINDOW), window_of(pixels))
        assert not file.read_masks(1, window=WINDOW).any()


def test_tiles_with_a_halo_fetch_each_block_about_once(server: RangeServer, pixels: np.ndarray) -> None:
    """Each tile opens the file anew; with its neighbours it shares blocks."""
    tile, step = 96, 64
    for top in range(0, SIDE - tile + 1, step):
        for left in range(0, SIDE - tile + 1, step):
            with open_dataset(href_of(server)) as file:
                read = file.read(window=Window(left, top, tile, tile))
            np.testing.assert_array_equal(read, pixels[:, top : top + tile, left : left + tile])
    size = (server.folder / "x.tif").stat().st_size
    assert server.bytes_given < 1.05 * size
