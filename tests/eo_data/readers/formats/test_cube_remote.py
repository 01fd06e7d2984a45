"""Cubes on servers: a window asks for its chunks and little more, and what is lost or cut off is no value."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray
from range_server import Fault, RangeServer, range_server
from s3_server import ACCESS, SECRET, Store, s3_server
from small_cubes import NAMES, by_variable, in_utm, numbers

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.raster.remote.memory import known_files
from eo_data.raster.sample import SampleError
from eo_data.readers.files import opened
from eo_data.readers.formats.facts import Part
from eo_data.readers.formats.limits import Limits
from eo_data.readers.image_bands import read_file

_SIDE, _CHUNK, _SHARD = 256, 64, 128
_PIXELS = numbers(3, _SIDE)
_PART = Part(top=100, left=30, height=70, width=60)
_SOURCE = ImageSource(bands=list(NAMES), sensor="sentinel2_l2a", unit="digital_number", offset=0)
_SIGNATURE = "?sig=SECRET"
_KINDS = ("v2.zarr", "v3.zarr", "sharded.zarr", "x.nc")


@pytest.fixture(scope="module")
def cubes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cube in the ways in which tools write it."""
    folder = tmp_path_factory.mktemp("cubes")
    data = in_utm(by_variable(_PIXELS))
    chunks = {name: {"chunks": (_CHUNK, _CHUNK)} for name in NAMES}
    shards = {name: own | {"shards": (_SHARD, _SHARD)} for name, own in chunks.items()}
    for name, options in {
        "v2": {"zarr_format": 2, "encoding": chunks, "consolidated": True},
        "v3": {"zarr_format": 3, "encoding": chunks, "consolidated": True},
        "sharded": {"zarr_format": 3, "encoding": shards, "consolidated": True},
        "loose2": {"zarr_format": 2, "encoding": chunks, "consolidated": False},
        "loose3": {"zarr_format": 3, "encoding": chunks, "consolidated": False},
    }.items():
        data.to_zarr(folder / f"{name}.zarr", **options)
    stored = {name: {"chunksizes": (_CHUNK, _CHUNK), "zlib": True} for name in NAMES}
    data.to_netcdf(folder / "x.nc", engine="h5netcdf", encoding=stored)
    return folder


@pytest.fixture
def server(cubes: Path, tmp_path: Path) -> Iterator[RangeServer]:
    shutil.copytree(cubes, tmp_path / "server")
    with range_server(tmp_path / "server") as running:
        yield running


def _href(server: RangeServer, name: str, query: str = "") -> Href:
    return Href(f"http://{server.host}/{name}{query}")


def _window(href: Href, limits: Limits | None = None, part: Part = _PART) -> np.ndarray:
    with opened(href, _SOURCE, limits or Limits()) as layers:
        names = [band.name for band in layers[0].facts.bands]  # in the order in which a store lists them
        return layers[0].stored([names.index(name) for name in NAMES], part)


def _of(part: Part = _PART) -> np.ndarray:
    return _PIXELS[:, part.top : part.top + part.height, part.left : part.left + part.width]


@pytest.mark.parametrize("name", _KINDS)
def test_a_window_asks_for_its_chunks_and_little_more(server: RangeServer, name: str) -> None:
    np.testing.assert_array_equal(_window(_href(server, name)), _of())
    touched = 3 * (169 // _CHUNK - 100 // _CHUNK + 1) * (89 // _CHUNK - 30 // _CHUNK + 1)
    chunks = touched * _CHUNK * _CHUNK * 2
    # Zarr fetches what lies between two chunks of a shard, too, where that is less than a request costs.
    assert 0.5 * chunks < server.bytes_given < (4 if name == "sharded.zarr" else 1) * chunks + 150_000
    server.forget()
    np.testing.assert_array_equal(_window(_href(server, name)), _of())
    assert server.bytes_given == 0  # tiles that overlap share chunks
    assert not server.asked


@pytest.mark.parametrize("name", _KINDS)
def test_a_cube_on_a_server_says_of_itself_what_it_says_on_this_machine(server: RangeServer, name: str) -> None:
    with opened(_href(server, name), None) as remote, opened(Href(str(server.folder / name)), None) as local:
        assert remote[0].facts == local[0].facts
    image = read_file(_href(server, name), _SOURCE)
    np.testing.assert_array_equal(image.pixels, _PIXELS)


@pytest.mark.parametrize("name", _KINDS)
@pytest.mark.parametrize("at", [0, 3])
def test_what_passes_is_tried_again(server: RangeServer, name: str, at: int) -> None:
    server.faults = [*[Fault()] * at, Fault(503), Fault(truncated=True)]
    np.testing.assert_array_equal(_window(_href(server, name)), _of())


@pytest.mark.parametrize("name", _KINDS)
@pytest.mark.parametrize("good", [0, 5])
def test_a_refusal_is_an_error_that_shows_no_signature(server: RangeServer, name: str, good: int) -> None:
    """HDF5 and Zarr have words of their own for it, from which nobody learns what happened."""
    server.faults = [*[Fault()] * good, *[Fault(403)] * 99]
    with pytest.raises(SampleError, match=rf"{name} cannot be read: .*403") as raised:
        _window(_href(server, name, _SIGNATURE), part=Part(0, 0, _SIDE, _SIDE))
    assert "SECRET" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize("name", _KINDS)
def test_what_was_fetched_is_kept_on_the_disk_without_the_signature(
    server: RangeServer, name: str, tmp_path: Path
) -> None:
    limits = Limits(remote_cache=tmp_path / "cache")
    np.testing.assert_array_equal(_window(_href(server, name, _SIGNATURE), limits), _of())
    known_files.__globals__["_of_process"].cache_clear()
    server.forget()
    np.testing.assert_array_equal(_window(_href(server, name, _SIGNATURE), limits), _of())
    assert server.bytes_given < 100  # that nothing has changed
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert kept
    assert not any(b"SECRET" in path.read_bytes() or "SECRET" in path.name for path in kept)


def test_a_file_that_changes_between_two_windows_is_no_mixture(server: RangeServer) -> None:
    def read() -> None:
        with opened(_href(server, "x.nc"), _SOURCE) as layers:
            layers[0].stored([0], _PART)
            (server.folder / "x.nc").touch()
            layers[0].stored([0, 1, 2], Part(0, 0, _SIDE, _SIDE))

    with pytest.raises(SampleError, match="changed on the server"):
        read()


def test_a_chunk_that_is_not_there_is_told_and_one_of_an_axis_is_refused(server: RangeServer) -> None:
    shutil.rmtree(server.folder / "v3.zarr" / NAMES[0] / "c" / "2")
    with pytest.warns(UserWarning, match=r"B02: 2 of 4 chunks .* are not there"):
        _window(_href(server, "v3.zarr"))
    (server.folder / "v2.zarr" / "x" / "0").unlink()
    with pytest.raises(SampleError, match="chunks of its axis 'x' are not there"):
        _window(_href(server, "v2.zarr"))


def test_a_chunk_that_is_cut_off_is_refused(server: RangeServer) -> None:
    """Blosc takes whatever lies in memory after it."""
    chunk = server.folder / "v2.zarr" / NAMES[1] / "2.1"
    content = chunk.read_bytes()
    chunk.write_bytes(content[: len(content) // 2])
    with pytest.raises(SampleError, match="B03/2.1 is cut off"):
        _window(_href(server, "v2.zarr"))


def test_a_shard_that_is_cut_off_is_refused(server: RangeServer) -> None:
    shard = server.folder / "sharded.zarr" / NAMES[1] / "c" / "0" / "0"
    content = shard.read_bytes()
    shard.write_bytes(content[:9_000] + content[-100:])
    with pytest.raises(SampleError, match=r"v?sharded.zarr"):
        _window(_href(server, "sharded.zarr"))


def test_what_is_no_cube_says_what_to_do(server: RangeServer) -> None:
    in_utm(by_variable(numbers(3))).to_netcdf(server.folder / "old.nc", format="NETCDF3_CLASSIC", engine="scipy")
    (server.folder / "page.nc").write_text("<html>Sign in</html>")
    for name, said in {
        "old.nc": "NetCDF 3.*nccopy",
        "page.nc": "page of a web site",
        "none.zarr": r"no Zarr is there.*zarr.json",
        "loose3.zarr": "zarr.consolidate_metadata",
        "folder/": "address of a folder",
    }.items():
        with pytest.raises(SampleError, match=said):
            _window(_href(server, name))


@pytest.mark.parametrize("text", ["gs://bucket/x.zarr", "az://container/x.nc"])
def test_a_cube_in_another_kind_of_store_says_how_it_is_addressed(text: str) -> None:
    with pytest.raises(SampleError, match=r"https://storage.googleapis.com.*blob.core.windows.net"):
        _window(Href(text))


def test_numbers_of_other_files_are_not_read(server: RangeServer) -> None:
    """A file on a server must not make this machine open its own."""
    with h5py.File(server.folder / "x.nc", "r+") as file:
        file["link"] = h5py.ExternalLink("/etc/passwd", "/x")
    with pytest.raises(SampleError, match="/etc/passwd .*external link"):
        _window(_href(server, "x.nc"))


@pytest.fixture
def store(cubes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    shutil.copytree(cubes, tmp_path / "store" / "bucket" / "a b")
    with s3_server(tmp_path / "store") as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.endpoint)
        monkeypatch.setenv("AWS_REGION", running.region)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        yield running


@pytest.mark.parametrize("name", [*_KINDS, "loose2.zarr", "loose3.zarr"])
def test_a_bucket_is_read_and_listed_where_a_zarr_has_no_metadata_in_one_place(store: Store, name: str) -> None:
    np.testing.assert_array_equal(_window(Href(f"s3://bucket/a b/{name}")), _of())
    assert bool(store.listed) == name.startswith("loose")


def test_a_series_by_time_is_read_frame_by_frame(tmp_path: Path) -> None:
    pixels = np.stack([_PIXELS, _PIXELS + 1])
    data = in_utm(
        xarray.Dataset(
            {name: (("time", "y", "x"), pixels[:, i]) for i, name in enumerate(NAMES)},
            coords={**by_variable(_PIXELS).coords, "time": np.array(["2022-06-01", "2022-07-01"], "datetime64[ns]")},
        )
    )
    chunks = {name: {"chunks": (1, _CHUNK, _CHUNK)} for name in NAMES}
    data.to_zarr(tmp_path / "t.zarr", zarr_format=2, consolidated=True, encoding=chunks)
    with range_server(tmp_path) as server:
        got = _window(_href(server, "t.zarr"))
    np.testing.assert_array_equal(got, np.stack([_of(), _of() + 1]))
