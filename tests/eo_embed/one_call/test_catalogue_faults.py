"""Places of catalogues whose servers fail: what passes is waited for, what stays is listed, and the others go on."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from affine import Affine
from pyproj import Transformer
from range_server import Fault, RangeServer, range_server
from small_scenes import CORNER, numbers
from small_stac import sentinel2_item, stac_api

from eo_data.catalog.scenes.catalogues.stac.source import StacCatalogue
from eo_data.raster.remote import memory, ranges
from eo_embed import PointBuffer, embed
from eo_embed.export.opening import Export
from eo_embed.one_call.result import EmbeddedPlaces

NAMES = "abcdefgh"
JUNE: dict[str, Any] = {"time": ("2022-06-01", "2022-07-01"), "pretrained": False, "progress": False}
FAULTS = {
    "b": (Fault(404), "404"),
    "c": (Fault(401), "401.*right to read"),
    "d": (Fault(403), "403.*signature may have expired"),
    "e": (Fault(500), "500.*tried 5 times"),
    "f": (Fault(429, retry_after="3600"), "429.*left alone for 3600 s"),
    "g": (Fault(truncated=True), "ended early.*tried 5 times"),
}


def _corner(name: str) -> Affine:
    return Affine(10, 0, CORNER.c + NAMES.index(name) * 12_800, 0, -10, CORNER.f)


def _place(name: str) -> PointBuffer:
    corner = _corner(name)  # the place is not in the first bytes of the files
    middle = Transformer.from_crs(32632, 4326, always_xy=True).transform(corner.c + 960, corner.f - 960)
    return PointBuffer(*middle, 160, id=name)


def _items(server: RangeServer, names: str, address: str, form: str = "planetary-computer") -> list[dict[str, Any]]:
    """Items of scenes that lie in the container ``l2``, of which each shows one place."""
    return [
        sentinel2_item(
            server.folder,
            form,
            f"l2/{name}",
            numbers(side=128, seed=NAMES.index(name)) + np.uint16(1000),
            transform=_corner(name),
            address=address,
        )
        for name in names
    ]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RangeServer]:
    """A store of the files; nobody waits as long as for a real one."""
    monkeypatch.setattr(ranges, "time", SimpleNamespace(sleep=lambda _: None, monotonic=ranges.time.monotonic))
    with range_server(tmp_path / "cogs") as running:
        yield running


def _alone(server: RangeServer, name: str) -> np.ndarray:
    """The vector of a place, of the files themselves."""
    with stac_api(_items(server, name, "")) as here:
        return np.asarray(_embedded(here.url, name)[0].vector)


def _embedded(source: object, names: str, **options: Any) -> EmbeddedPlaces:
    found = embed("thor_v1_tiny", [_place(name) for name in names], source=source, **JUNE, **options)
    assert isinstance(found, EmbeddedPlaces)
    return found


def _exported(source: object, names: str, folder: Path) -> Export:
    places: Any = [_place(name) for name in names]
    where: dict[str, Any] = {"out": folder / "out", "remote_cache": folder / "cache"}
    found = embed("thor_v1_tiny", places, source=source, **where, **JUNE)
    assert isinstance(found, Export)
    return found


def _new_run() -> None:
    """Forget what this process remembers, as another one would have to."""
    memory._of_process.cache_clear()


def test_what_passes_is_waited_for_and_changes_nothing(server: RangeServer) -> None:
    """Each of these alone would be a hole in the embeddings, or worse, half a picture."""
    wrong = [Fault(500), Fault(429, retry_after="1"), Fault(503), Fault(truncated=True)]
    server.faults = [fault for one in wrong for fault in (Fault(), Fault(), Fault(), one)] * 2
    with stac_api(_items(server, "ab", f"http://{server.host}")) as api:
        api.faults = [500, 429]
        found = _embedded(api.url, "ab")
    assert not server.faults
    for one in found:
        np.testing.assert_array_equal(one.vector, _alone(server, one.id))
    assert [one.id for one in found] == ["a", "b"]


def test_places_whose_files_stay_ill_are_listed_with_the_reason_and_the_others_go_on(server: RangeServer) -> None:
    server.always = {f"l2/{name}/B04": fault for name, (fault, _) in FAULTS.items()}
    with (
        stac_api(_items(server, NAMES, f"http://{server.host}"), page=100) as api,
        pytest.warns(UserWarning, match="6 of 8 places failed"),
    ):
        found = _embedded(api.url, NAMES)
    assert [one.id for one in found] == ["a", "h"]
    for one in found:
        np.testing.assert_array_equal(one.vector, _alone(server, one.id))
    assert set(found.failures) == set(FAULTS)
    for name, (_, said) in FAULTS.items():
        assert re.search(rf"l2/{name}/B04\.tif cannot be read: .*{said}", found.failures[name])


def test_signed_files_are_read_at_any_time_and_the_place_that_no_signature_opens_is_listed(
    server: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signature of the plan is over before the last place is read, in the middle of a file at that."""
    monkeypatch.setenv("http_proxy", f"http://{server.host}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server.signature, account = "SECRET1", f"account{server.host.rpartition(':')[2]}"
    count = Counter[str]()

    def before(path: str) -> None:
        count["requests"] += 1
        server.signature = f"SECRET{1 + (count['requests'] > 50)}"

    server.before = before
    server.always = {"l2/b/B04": Fault(403)}
    items = _items(server, "abc", f"http://{account}.blob.core.windows.net")
    with stac_api(items) as api, pytest.warns(UserWarning, match="1 of 3 places failed"):
        out = _exported(StacCatalogue(api.url, tokens=server.service), "acb", tmp_path)
    assert set(server.tokens) == {f"{account}/l2"}
    assert len(server.tokens) == 2
    assert "also with a new signature of 127.0.0.1" in out.failures["b"]
    assert out.pooled is not None
    vectors = {row.id: np.asarray(row.embedding, np.float32) for row in out.pooled.itertuples()}
    for name in "ac":
        np.testing.assert_array_equal(vectors[name], _alone(server, name))
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in kept if b"SECRET" in path.read_bytes()]
    assert f"http://{account}.blob.core.windows.net/l2/a/B02.tif" in json.dumps(out.manifest)


def test_files_of_a_store_with_keys_are_those_of_the_disk_and_without_keys_it_says_where_to_get_them(
    server: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with stac_api(_items(server, "a", "s3:/", "copernicus")) as api:
        source = StacCatalogue(api.url, store=f"http://{server.host}")
        with pytest.raises(ValueError, match="B02_10m.*AWS_ACCESS_KEY_ID"):
            _embedded(source, "a")
        assert server.asked == []
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "NAME1")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRET1")
        (found,) = _embedded(source, "a", remote_cache=tmp_path / "cache")
    np.testing.assert_array_equal(found.vector, _alone(server, "a"))
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if b"SECRET1" in path.read_bytes() or b"NAME1" in path.read_bytes()]


def test_a_run_asks_little_and_a_second_one_for_no_pixels(server: RangeServer, tmp_path: Path) -> None:
    """Files are looked at to plan, to check and to read: three times their tables, each with a search beside it."""
    with stac_api(_items(server, "a", f"http://{server.host}")) as api:
        _embedded(api.url, "a", remote_cache=tmp_path / "cache")
        asked = Counter(server.asked)
        tables = {path: count for path, count in asked.items() if path.endswith(".tif")}
        assert len(tables) == 10
        # Its head, its pixels; and once what may lie beside it.
        assert max(tables.values()) <= 2
        assert max(asked.values()) <= 2
        assert sum(asked.values()) <= 4 * 10
        server.forget()
        _new_run()
        _embedded(api.url, "a", remote_cache=tmp_path / "cache")
    assert Counter(server.asked) == Counter(dict.fromkeys(tables, 1))
    assert {(start, stop) for _, start, stop in server.given} == {(0, 1)}


def test_the_first_place_may_be_the_one_that_fails(server: RangeServer) -> None:
    """What one scene says stands for all; a thousand places would be lost with a file of the first."""
    server.always = {"l2/a/B03": Fault(404)}
    with stac_api(_items(server, "ab", f"http://{server.host}")) as api:
        with pytest.warns(UserWarning, match="1 of 2 places failed"):
            found = _embedded(api.url, "ab")
        server.always["l2/b/B04"] = Fault(404)
        _new_run()
        with pytest.raises(ValueError, match=r"l2/a/B03\.tif cannot be read: .*404"):
            _embedded(api.url, "ab")
    assert list(found.failures) == ["a"]
    np.testing.assert_array_equal(found[0].vector, _alone(server, "b"))
