"""Catalogues of files, and an API, as sources of scenes."""

from __future__ import annotations

import socket
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import shapely
from small_stac import Api, item, stac_api, write_catalogue

from eo_data.catalog.scenes.catalogues.stac import source as module
from eo_data.catalog.scenes.catalogues.stac.source import StacCatalogue, is_catalogue

HERE, THERE = (11.0, 45.0, 11.1, 45.1), (20.0, 45.0, 20.1, 45.1)
PLACE = shapely.box(11.02, 45.02, 11.03, 45.03)
JUNE = (date(2022, 6, 1), date(2022, 7, 1))


def s2(name: str, when: str, box: tuple[float, ...] = HERE, collection: str = "sentinel-2-l2a") -> dict[str, Any]:
    return item(name, collection, box, when, {"B02": {"href": f"/x/{name}.tif"}})


def s1(name: str, day: str, orbit: str) -> dict[str, Any]:
    assets = {key: {"href": f"/x/{name}_{key}.tif"} for key in ("vv", "vh")}
    return item(name, "sentinel-1-rtc", HERE, f"{day}T05:00:00Z", assets, **{"sat:orbit_state": orbit})


ITEMS = [
    s2("a", "2022-05-31T23:59:59Z"),
    s2("b", "2022-06-01T00:00:00Z"),
    s2("c", "2022-06-15T10:00:00Z"),
    s2("d", "2022-06-30T23:59:59.500Z"),
    s2("e", "2022-07-01T00:00:00Z"),
    s2("f", "2022-06-15T10:00:00Z", THERE),
    item("g", "io-lulc", HERE, "2022-06-15T10:00:00Z", {"data": {"href": "x"}}),
    s1("h", "2022-06-03", "ascending"),
    s1("i", "2022-06-04", "descending"),
    s1("j", "2022-06-16", "descending"),
]


@pytest.fixture
def api() -> Iterator[Api]:
    with stac_api(ITEMS) as running:
        yield running


def names(source: StacCatalogue, *sensors: str, place: Any = PLACE, time: Any = JUNE) -> list[str]:
    return [scene.id.partition("/")[2] for scene in source.search(place, time, sensors)]


def test_files_and_an_api_give_the_scenes_of_the_window_and_no_others(tmp_path: Path, api: Api) -> None:
    """The last second of a window counts, the first after it does not; other pages must not be lost."""
    for source in (StacCatalogue(str(write_catalogue(tmp_path, ITEMS))), StacCatalogue(api.url)):
        assert names(source, "sentinel2_l2a") == ["b", "c", "d"]
        assert names(source, "sentinel2_l2a", time=None) == ["a", "b", "c", "d", "e"]
        assert names(source, "landsat8") == []
    assert api.searches[0]["collections"] == ["sentinel-2-l2a"]
    assert len(api.searches) == 2 + 3  # pages of two


def test_a_place_across_the_date_line_is_searched_on_both_sides() -> None:
    """One box around both parts would be the whole earth."""
    west, east = (-180.0, -18.0, -179.9, -17.9), (179.9, -18.0, 180.0, -17.9)
    items = [s2("w", "2022-06-02T10:00:00Z", west), s2("e", "2022-06-02T10:00:00Z", east), *ITEMS]
    place = shapely.union_all([shapely.box(-180, -17.96, -179.98, -17.95), shapely.box(179.98, -17.96, 180, -17.95)])
    with stac_api(items) as running:
        assert names(StacCatalogue(running.url), "sentinel2_l2a", place=place) == ["e", "w"]
        assert all(asked["bbox"][2] - asked["bbox"][0] < 1 for asked in running.searches)


def test_only_passes_that_are_asked_for(tmp_path: Path) -> None:
    """Slopes are bright from one side and dark from the other; which of them counts by default, the place decides."""
    path = str(write_catalogue(tmp_path, ITEMS))
    assert names(StacCatalogue(path), "sentinel1") == ["h", "i", "j"]
    assert names(StacCatalogue(path, orbit="ascending"), "sentinel1") == ["h"]


def test_only_collections_that_are_asked_for(tmp_path: Path) -> None:
    """Two collections of one sensor show the same acquisitions with other numbers."""
    items = [s2("x", "2022-06-02T10:00:00Z", collection="sentinel-2-c1-l2a"), *ITEMS]
    asked = ("sentinel-2-c1-l2a",)
    assert names(StacCatalogue(str(write_catalogue(tmp_path, items)), asked)) == ["x"]
    with stac_api(items) as running:
        assert names(StacCatalogue(running.url, asked)) == ["x"]
    with pytest.raises(ValueError, match="io-lulc"):
        StacCatalogue("earth-search", ("io-lulc",))


def test_an_item_that_cannot_be_used_is_left_out_by_name(tmp_path: Path) -> None:
    """The others go on."""
    broken = item("k", "sentinel-2-l2a", HERE, "2022-06-15T10:00:00Z", {"thumbnail": {"href": "x"}})
    source = StacCatalogue(str(write_catalogue(tmp_path, [broken, *ITEMS])))
    with pytest.warns(UserWarning, match=r"item k of sentinel-2-l2a has no band .* left out"):
        assert names(source, "sentinel2_l2a") == ["b", "c", "d"]


def test_a_catalogue_that_refuses_is_named_without_credentials(api: Api) -> None:
    """Faults of the server and too many requests are tried again; a refusal is not."""
    source = StacCatalogue(f"{api.url}?token=SECRET1")
    api.faults += [500, 429]
    assert names(source, "sentinel2_l2a") == ["b", "c", "d"]
    api.faults += [403]
    with pytest.raises(OSError, match=r"127\.0\.0\.1.* cannot be searched: status 403.*check the right") as error:
        names(source, "sentinel2_l2a")
    assert "SECRET1" not in str(error.value)
    assert "SECRET1" not in str(source)


def test_a_catalogue_that_is_not_there_or_knows_nothing_is_an_error(tmp_path: Path) -> None:
    """Nothing found would read as: nothing was acquired."""
    with pytest.raises(OSError, match=r"none\.json cannot be searched: .*No such file"):
        names(StacCatalogue(str(tmp_path / "none.json")))
    (tmp_path / "labels.json").write_text("{}")
    with pytest.raises(OSError, match=r"labels\.json cannot be searched"):
        names(StacCatalogue(str(tmp_path / "labels.json")))
    with stac_api(ITEMS[6:7]) as running, pytest.raises(ValueError, match="no collection .* it has io-lulc"):
        names(StacCatalogue(running.url))


@contextmanager
def answering(status: int, content: bytes, headers: Mapping[str, str]) -> Iterator[str]:
    """Serve the same answer for everything."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_catalogue_that_takes_a_call_and_is_silent_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client drops the time-out of what reads for it; a run would wait for ever."""
    monkeypatch.setattr(module, "_WAIT", 0.2)
    monkeypatch.setattr(module, "_SILENT", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = StacCatalogue(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(OSError, match=r"cannot be searched: it gave no answer within 0.2 s\. Check the address"):
            names(source)


@pytest.mark.parametrize("name", ["", "/catalog.json"])
def test_a_catalogue_that_is_down_shows_no_key_in_messages_logs_and_causes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """The client's text has the path and the query of the request, without the host, and so have its logs."""
    monkeypatch.setattr(module, "_TRIES", 1)
    key = str(11**16)  # not as a text, which tracebacks show
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}{name}"
    caplog.set_level("DEBUG")
    with pytest.raises(OSError, match="cannot be searched: it cannot be reached") as error:
        names(StacCatalogue(f"{address}?api_key={key}"))
    assert "Retrying" in caplog.text
    assert key not in caplog.text
    assert key not in "".join(traceback.format_exception(error.value))


def test_a_catalogue_that_wants_a_long_rest_is_an_error_at_once() -> None:
    """Its answer would be waited for as long as it says, without a word."""
    headers = {"Retry-After": "86400"}
    with (
        answering(429, b"", headers) as url,
        pytest.raises(OSError, match=r"status 429\. It has had too many requests"),
    ):
        names(StacCatalogue(url))


@pytest.mark.parametrize("content", [b"[]", b"null", b'{"type": "Catalog"}', b"<html>", bytes(range(128, 200))])
def test_what_is_no_catalogue_is_named(content: bytes) -> None:
    """A page to sign in, or another service; the client fails at that in ways of its own."""
    with answering(200, content, {}) as url, pytest.raises(OSError, match=f"{url} cannot be searched: "):
        names(StacCatalogue(url))


def test_without_its_client_a_catalogue_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "pystac_client", None)
    with pytest.raises(ValueError, match=r'pip install "thor-anysat-terratorch\[stac\]"'):
        names(StacCatalogue(str(tmp_path / "catalog.json")))


def test_names_addresses_and_json_files_are_catalogues_and_folders_are_not() -> None:
    """A folder that is taken for a catalogue is not found, and the other way round."""
    assert all(map(is_catalogue, ("earth-search", "https://example.org/v1", "x/catalog.json", "http://a/catalog.json")))
    assert not any(map(is_catalogue, ("scenes", "x/earth-search", "C:/scenes", "s3://bucket/scenes")))
    assert "https://earth-search.aws.element84.com/v1 (sentinel-2-c1-l2a)" in str(StacCatalogue("earth-search"))
    assert "(sentinel-2-l2a, sentinel-1-rtc" in str(
        StacCatalogue("https://planetarycomputer.microsoft.com/api/stac/v1/")
    )


@pytest.mark.parametrize("asked", [(), ("sentinel-1-rtc",)])
def test_a_catalogue_of_files_without_a_known_collection_says_what_it_has(
    tmp_path: Path, asked: tuple[str, ...]
) -> None:
    """Else it seems that no scene shows the place."""
    made = item("a", "naip", (11.0, 45.0, 11.1, 45.1), "2022-06-01T10:20:31Z", {})
    catalogue = StacCatalogue(str(write_catalogue(tmp_path, [made])), asked)
    with pytest.raises(ValueError, match="has no collection.*it has naip"):
        catalogue.search(PLACE, None, ())
