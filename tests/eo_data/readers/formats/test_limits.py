"""A file reads nothing but itself: no other file that nobody named, no server, no pipe, and no more than fits."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray
from rasters import vrt_band, write_vrt
from small_files import constant_bands, hrefs, level2a

from eo_core.paths import Roots
from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import Record
from eo_data.catalog.sources import ImageSource, LabelSource
from eo_data.raster.sample import SampleError
from eo_data.readers.files import opened
from eo_data.readers.formats.limits import Limits
from eo_data.readers.image_bands import read_file
from eo_data.readers.labels import read_label

BANDS = ("B2", "B3")


@pytest.fixture
def server() -> Iterator[tuple[int, list[bytes]]]:
    """A server that only counts who asks: its port, and what was asked."""
    asked: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            asked.append(connection.recv(100))
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            connection.close()

    threading.Thread(target=answer, daemon=True).start()
    yield listening.getsockname()[1], asked
    listening.close()


def _read(path: Path, *roots: Path | str) -> np.ndarray:
    limits = Limits(Roots(tuple(map(str, roots))))
    return read_file(Href(str(path)), level2a(), limits=limits).pixels


def _vrt(path: Path, source: str, relative: int = 1) -> Path:
    bands = [vrt_band(i, source, name).replace('ToVRT="1"', f'ToVRT="{relative}"') for i, name in enumerate(BANDS, 1)]
    return write_vrt(path, 4, bands)


@pytest.mark.parametrize("name", ["a.tif", "a.img", "a.bin", "a.vrt", "a.png"])
@pytest.mark.parametrize("start", ["/vsicurl/http", "http"])
def test_no_file_asks_a_server_that_nobody_named(
    server: tuple[int, list[bytes]], tmp_path: Path, name: str, start: str
) -> None:
    port, asked = server
    _vrt(tmp_path / name, f"{start}://127.0.0.1:{port}/x.tif", 0)
    with pytest.raises(SampleError, match=f"{name}"):
        _read(tmp_path / name, tmp_path)
    service = (
        f"<GDAL_WMS><Service name='TMS'><ServerUrl>http://127.0.0.1:{port}/${{z}}</ServerUrl></Service></GDAL_WMS>"
    )
    (tmp_path / name).write_text(service)
    with pytest.raises(SampleError, match=f"{name}"):
        _read(tmp_path / name, tmp_path)
    assert not asked


def test_a_server_is_asked_where_the_config_names_it(server: tuple[int, list[bytes]], tmp_path: Path) -> None:
    port, asked = server
    address = f"/vsicurl/http://127.0.0.1:{port}/"
    _vrt(tmp_path / "a.vrt", f"{address}x.tif", 0)
    with pytest.raises(SampleError, match=r"a\.vrt"):
        _read(tmp_path / "a.vrt", tmp_path, address)
    assert asked


def test_a_vrt_reads_what_lies_below_the_roots(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    write_tif(root / "in/x.tif", constant_bands(1, 2), BANDS)
    outside = write_tif(other / "x.tif", constant_bands(3, 4), BANDS)
    inside = _vrt(root / "a.vrt", "in/x.tif")
    assert _read(inside, root)[:, 0, 0].tolist() == [1, 2]
    assert _read(_vrt(root / "nested.vrt", "a.vrt"), root)[:, 0, 0].tolist() == [1, 2]
    for source, relative in (("../other/x.tif", 1), (str(outside), 0), (f"GTIFF_DIR:1:{outside}", 0)):
        leading = _vrt(root / "out.vrt", source, relative)
        with pytest.raises(SampleError, match=r"out.vrt: its source .* lies outside of .*root.*other_roots"):
            _read(leading, root)
        assert _read(leading, root, other)[:, 0, 0].tolist() == [3, 4]
        assert _read(leading)[:, 0, 0].tolist() == [3, 4], "without roots there is no limit"
        with pytest.raises(SampleError, match=r"lies outside of"):
            _read(_vrt(root / "nested.vrt", "out.vrt"), root)
    # A linked VRT has its sources beside itself, as GDAL looks for them there.
    _vrt(other / "own.vrt", "x.tif")
    (root / "link.vrt").symlink_to(other / "own.vrt")
    assert _read(root / "link.vrt", root)[:, 0, 0].tolist() == [3, 4]


def test_a_vrt_under_another_name_is_no_source(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    outside = write_tif(tmp_path / "other/x.tif", constant_bands(3, 4), BANDS)
    root = tmp_path / "root"
    root.mkdir()
    shutil.move(_vrt(root / "b.vrt", str(outside), 0), root / "b.tif")
    with pytest.raises(SampleError, match=r"its source .*b.tif is a VRT under another name: its pixels may come from"):
        _read(_vrt(root / "a.vrt", "b.tif"), root)
    with pytest.raises(SampleError, match=r"b.tif: its name ends in '.tif', but it is a VRT under another name"):
        _read(root / "b.tif", root)


def test_a_vrt_with_entities_or_itself_as_a_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.vrt").write_text('<!DOCTYPE a [<!ENTITY b "c">]><VRTDataset>&b;</VRTDataset>')
    with pytest.raises(SampleError, match=r"a.vrt: it has a document type"):
        _read(tmp_path / "a.vrt", tmp_path)
    with pytest.raises(SampleError, match=r"has itself as a source"):
        _read(_vrt(tmp_path / "b.vrt", "b.vrt"), tmp_path)


@pytest.mark.parametrize("name", ["a.tif", "a.nc", "a.h5", "a.npy", "a.vrt", "a.dat", "a.tif.aux.xml", "a.tif.msk"])
def test_a_pipe_is_refused_before_it_is_waited_for(write_tif: Callable[..., Path], tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    path = tmp_path / name
    if name.startswith("a.tif."):
        path = write_tif(tmp_path / "a.tif", constant_bands(1, 2), BANDS)
    with pytest.raises(SampleError, match=f"{name}.*is a named pipe") as error:
        _read(path, tmp_path)
    assert str(error.value).count(name) == 1
    with pytest.raises(SampleError, match=f"The label .*{name}.*is a named pipe"):
        read_label(Record("x", {}, label=Href(str(path))), LabelSource(classes=2), "segmentation", None)


def _h5(path: Path) -> Href:
    return Href(str(path))


def test_hdf5_with_numbers_in_other_files_is_refused(tmp_path: Path) -> None:
    """The bytes of ``/etc/passwd`` would be pixels."""
    (tmp_path / "secret").write_bytes(bytes(range(32)))
    source = level2a(dataset="x", file_bands=list(BANDS))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (2, 4, 4), "u1", external=[(str(tmp_path / "secret"), 0, 32)])
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["x"] = np.ones((2, 4, 4), "u1")
        file["y"] = h5py.ExternalLink(str(tmp_path / "c.h5"), "/x")
    for name, kind in (("a.h5", "external storage"), ("b.h5", "external link")):
        for path in (tmp_path / name, shutil.copy(tmp_path / name, tmp_path / f"{name[0]}.nc")):
            with pytest.raises(SampleError, match=f"{kind}"), opened(_h5(Path(path)), source):
                pass
        label = Record("x", {}, label=_h5(tmp_path / name))
        with pytest.raises(SampleError, match=f"The label .*{kind}"):
            read_label(label, LabelSource(classes=2), "segmentation", None)


def test_a_virtual_array_is_read_below_the_roots(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    root.mkdir()
    other.mkdir()
    source = level2a(dataset="x", file_bands=list(BANDS))
    for folder, place in ((root, "part.h5"), (other, "../other/part.h5")):
        with h5py.File(folder / "part.h5", "w") as file:
            file["x"] = np.full((2, 4, 4), 7, "u1")
        layout = h5py.VirtualLayout((2, 4, 4), "u1")
        layout[:] = h5py.VirtualSource(place, "x", shape=(2, 4, 4))
        with h5py.File(root / f"{folder.name}.h5", "w") as file:
            file.create_virtual_dataset("x", layout)
    limits = Limits(Roots((str(root),)))
    assert read_file(_h5(root / "root.h5"), source, limits=limits).pixels[0, 0, 0] == 7
    with pytest.raises(SampleError, match=r"lie in another file, ../other/part.h5 \(HDF5: virtual\)"):
        read_file(_h5(root / "other.h5"), source, limits=limits)


@pytest.mark.parametrize("kind", ["tif", "npy", "h5", "nc", "zarr2", "zarr3"])
def test_a_header_that_claims_more_than_the_limit_is_refused_before_a_read(tmp_path: Path, kind: str) -> None:
    """A file of some kB may say that it has 20 GB of pixels, or one block of them."""
    import rasterio

    side, source = 100_000, level2a(dataset="pixels", file_bands=list(BANDS), pixel_size=10)
    path = tmp_path / f"a.{kind.rstrip('23')}"
    if kind == "tif":
        options = {"compress": "deflate", "tiled": True, "blockxsize": 1024, "blockysize": 1024, "sparse_ok": True}
        with rasterio.open(path, "w", "GTiff", side, side, 2, dtype="uint16", **options):
            pass
    elif kind == "npy":
        np.lib.format.open_memmap(path, "w+", np.uint8, (2, side, side)).flush()  # a file with a hole
    elif kind in ("h5", "nc"):
        with h5py.File(path, "w") as file:
            array = file.create_dataset("pixels", (2, side, side), "u2", chunks=(1, 100, 100), compression="gzip")
            for i, (name, count) in enumerate((("band", 2), ("y", side), ("x", side))):
                file[name] = np.arange(count)
                file[name].make_scale(name)
                array.dims[i].attach_scale(file[name])
    else:
        import zarr

        array = zarr.create_array(
            path,
            name="pixels",
            shape=(2, side, side),
            chunks=(1, 100, 100),
            dtype="u2",
            zarr_format=int(kind[-1]),
            fill_value=0,
            dimension_names=["band", "y", "x"] if kind[-1] == "3" else None,
        )
        if kind[-1] == "2":
            array.attrs["_ARRAY_DIMENSIONS"] = ["band", "y", "x"]
    limits = Limits(max_bytes=2**30)
    with pytest.raises(
        SampleError, match=rf"{path.name}: .* takes .* GB of memory, and the limit is 1.07 GB.*max_memory"
    ):
        read_file(Href(str(path)), source, limits=limits)


def test_one_block_of_a_small_file_may_be_too_large(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    """A window of it would unpack all of it."""
    pixels = np.ones((1, 2000, 2000), np.uint8)
    path = write_tif(tmp_path / "a.tif", pixels, ("B2",), compress="deflate", blockysize=2000)
    with (
        pytest.raises(
            SampleError,
            match=r"a.tif: a block, .* takes 4 MB of memory, and the limit is 2 MB. Write .* smaller blocks",
        ),
        opened(Href(str(path)), level2a("B2"), Limits(max_bytes=2_000_000)),
    ):
        pass
    label = Record("x", {}, label=Href(str(write_tif(tmp_path / "l.tif", pixels, blockysize=1))))
    with pytest.raises(SampleError, match=r"The label .*l.tif .* takes .* MB of memory"):
        read_label(label, LabelSource(classes=2), "segmentation", None, Limits(max_bytes=2_000_000))


def test_a_finer_grid_than_fits_is_refused(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", constant_bands(1, 2), BANDS)
    with pytest.raises(SampleError, match=r"a.tif: it has 400000 x 400000 pixels.*takes 1.28 TB"):
        read_file(Href(str(path)), level2a(resample_to=1e-4))


def _zarr(path: Path, version: int) -> xarray.Dataset:
    values = (np.arange(64, dtype=np.uint16) + 1000).reshape(8, 8)
    cube = xarray.Dataset(
        dict.fromkeys(BANDS, (("y", "x"), values)),
        {"y": 5e6 - 10 * np.arange(8.0), "x": 5e5 + 10 * np.arange(8.0)},
    )
    encoding = {name: {"chunks": (4, 4)} for name in BANDS}
    cube.to_zarr(path, zarr_format=version, encoding=encoding, consolidated=False)
    return cube


@pytest.mark.parametrize(("version", "chunk"), [(2, "B3/0.1"), (3, "B3/c/0/1")])
def test_lost_chunks_are_reported_with_their_share(tmp_path: Path, version: int, chunk: str) -> None:
    """They are read as the fill value, 0, which looks like a dark measurement."""
    path = tmp_path / "a.zarr"
    _zarr(path, version)
    source = ImageSource(bands=BANDS, sensor="sentinel2_l2a", unit="digital_number", crs="EPSG:32632")
    whole = read_file(Href(str(path)), source).pixels
    (path / chunk).unlink()
    with pytest.warns(
        UserWarning, match=r"B3: 1 of 4 chunks \(25 %\) are not there: their pixels are (the fill value, )?0"
    ):
        pixels = read_file(Href(str(path)), source).pixels
    assert pixels[0].tolist() == whole[0].tolist()
    assert (pixels[1] == whole[1]).mean() == 0.75
    os.mkfifo(path / chunk)
    with pytest.raises(SampleError, match=r"is a named pipe"):
        read_file(Href(str(path)), source)


def test_metadata_of_zarr_that_make_no_sense_are_errors_of_the_sample(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    _zarr(path, 2)
    metadata = json.loads((path / "B3/.zarray").read_text())
    source = ImageSource(bands=BANDS, sensor="sentinel2_l2a", unit="digital_number", crs="EPSG:32632")
    for key, value in (("chunks", None), ("chunks", [0, 0]), ("shape", "x"), ("dtype", "|O"), ("fill_value", {})):
        (path / "B3/.zarray").write_text(json.dumps(metadata | {key: value}))
        with pytest.raises(SampleError, match=r"a\.zarr"):
            read_file(hrefs(path)[0], source)


_CUBE = ImageSource(bands=("B2",), sensor="sentinel2_l2a", unit="digital_number", crs="EPSG:32632")


def _series(path: Path, version: int, days: int, chunk: int | None = None, start: str = "2021-03-04") -> None:
    """Write a series as xarray does: it counts days from the first one, and leaves out chunks of nothing but 0."""
    times = np.datetime64(start, "ns") + np.arange(days) * np.timedelta64(1, "D")
    values = np.random.default_rng(0).integers(1, 4000, (days, 32, 32)).astype(np.uint16)
    axes = {"time": times, "y": 5e6 - 10 * np.arange(32.0), "x": 5e5 + 10 * np.arange(32.0)}
    compressor = _blosc(version)
    encoding: dict[str, dict[str, object]] = {name: dict(compressor) for name in ("B2", "y", "x", "time")}
    if chunk is not None:
        encoding["time"]["chunks"] = (chunk,)
    cube = xarray.Dataset({"B2": (("time", "y", "x"), values)}, axes)
    cube.to_zarr(path, zarr_format=version, encoding=encoding, consolidated=False)


def _blosc(version: int) -> dict[str, object]:
    if version == 2:
        from numcodecs import Blosc

        return {"compressors": (Blosc(),)}
    from zarr.codecs import BloscCodec

    return {"compressors": (BloscCodec(),)}


def _dates(path: Path) -> list[str]:
    return [str(day) for day in read_file(Href(str(path)), _CUBE).frame_dates]


def _key(version: int, name: str, *numbers: int) -> str:
    return "/".join((name, "c", *map(str, numbers))) if version == 3 else f"{name}/{'.'.join(map(str, numbers))}"


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("name", ["B2", "time", "x"])
def test_a_blosc_chunk_that_is_cut_off_is_not_decoded_beyond_its_end(tmp_path: Path, version: int, name: str) -> None:
    """Blosc reads on into whatever lies in memory there: another pixel, or another date."""
    path = tmp_path / "a.zarr"
    _series(path, version, 3)
    chunk = path / _key(version, name, *((0, 0, 0) if name == "B2" else (0,)))
    whole = chunk.read_bytes()
    for size in (len(whole) - 1, 15, 0):
        chunk.write_bytes(whole[:size])
        with pytest.raises(SampleError, match=rf"a\.zarr.*{name}.* is cut off: it has {size} of \d+ bytes.*again"):
            read_file(Href(str(path)), _CUBE)
    chunk.write_bytes(whole)
    assert _dates(path) == ["2021-03-04", "2021-03-05", "2021-03-06"]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("name", ["time", "x"])
@pytest.mark.parametrize("gone", ["removed", "a folder"])
def test_an_axis_that_is_lost_is_not_read_as_its_fill_value(tmp_path: Path, version: int, name: str, gone: str) -> None:
    """All frames would have the first date."""
    path = tmp_path / "a.zarr"
    _series(path, version, 3)
    chunk = path / _key(version, name, 0)
    chunk.unlink()
    if gone == "a folder":
        chunk.mkdir()
    with pytest.raises(SampleError, match=rf"a\.zarr: 1 of 1 chunks of its axis '{name}' are not there"):
        read_file(Href(str(path)), _CUBE)


@pytest.mark.parametrize("version", [2, 3])
def test_the_first_date_of_a_series_needs_no_chunk_as_xarray_writes_none(tmp_path: Path, version: int) -> None:
    _series(tmp_path / "one.zarr", version, 1)
    _series(tmp_path / "many.zarr", version, 3, chunk=1)
    for name in ("one", "many"):
        assert not (tmp_path / f"{name}.zarr" / _key(version, "time", 0)).exists(), "xarray writes all chunks now"
    assert _dates(tmp_path / "one.zarr") == ["2021-03-04"]
    assert _dates(tmp_path / "many.zarr") == ["2021-03-04", "2021-03-05", "2021-03-06"]
    (tmp_path / "many.zarr" / _key(version, "time", 2)).unlink()
    with pytest.raises(SampleError, match=r"2 of 3 chunks of its axis 'time' are not there"):
        _dates(tmp_path / "many.zarr")


@pytest.mark.parametrize("version", [2, 3])
def test_a_lone_date_that_would_be_of_1970_is_lost(tmp_path: Path, version: int) -> None:
    path = tmp_path / "a.zarr"
    _series(path, version, 1, start="1970-01-01")
    with pytest.raises(SampleError, match=r"1 of 1 chunks of its axis 'time' are not there"):
        _dates(path)
