"""Inputs that no accident makes: pipes, devices, files that lead elsewhere, and headers that claim more than there is.

All of them must be refused by a message that names the file.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import rasterio
import small_cubes
import xarray
from affine import Affine

from eo_data.raster.sample import SampleError
from tests.faults.inputs.images import SIDE, numbers
from tests.faults.inputs.reading import read_image
from tests.faults.outcome import Outcome

PLACE = Affine(10, 0, 500000, 0, -10, 5000000)
_SECRET = b"root:x:0:0:root\n" * 200
_BY_HAND = {"file_bands": ["B2", "B3"]}
_IN_HDF5 = {"dataset": "s2", "file_bands": ["B2", "B3"]}


@dataclass(frozen=True)
class Hostile:
    """One such input.

    Parameters
    ----------
    name, file : str
        Name of the case, and the file that is read.
    write : callable
        Writes it to a folder, beside which ``outside`` holds a file that must not be read.
    options : mapping
        Of the source.
    warns : bool
        Whether it may be accepted with a warning.
    """

    name: str
    file: str
    write: Callable[[Path], None]
    options: Mapping[str, Any] = field(default_factory=dict)
    warns: bool = False

    def run(self, work: Path) -> Outcome:
        """Write and read it in an empty folder."""
        root = work / "root"
        root.mkdir()
        (work / "outside").write_bytes(_SECRET)
        self.write(root)
        with _listener() as calls:
            try:
                image, seen = read_image(root, self.file, self.options)
            except SampleError as error:
                if calls():
                    return Outcome("wrong", "a connection was opened")
                return Outcome("refused") if self.file in str(error) else Outcome("unexpected", f"no file in {error}")
            except BaseException as error:  # noqa: BLE001  (that none comes is what is tested)
                return Outcome("unexpected", f"{type(error).__name__}: {str(error)[:200]}")
        if self.warns and any(self.file in text for text in seen):
            return Outcome("changed")
        return Outcome("wrong", f"accepted: {image.raster.pixels.shape}, {image.raster.transform}")


#: Where a server listens that must not be called.
_PORT = 9713


@contextmanager
def _listener() -> Iterator[Callable[[], bool]]:
    """Listen; gives a function that tells whether somebody has called."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", _PORT))
        server.listen()
        server.setblocking(False)

        def called() -> bool:
            try:
                server.accept()[0].close()
            except BlockingIOError:
                return False
            return True

        yield called


def _fifo(name: str) -> Hostile:
    return Hostile(f"pipe {name}", name, lambda root: os.mkfifo(root / name), _IN_HDF5)


def _link(name: str, target: str) -> Hostile:
    return Hostile(f"link {name} to {target}", name, lambda root: (root / name).symlink_to(target), _IN_HDF5)


def _no_file(name: str) -> Hostile:
    return Hostile(f"empty {name}", name, lambda root: (root / name).touch(), _IN_HDF5)


def _folder(name: str) -> Hostile:
    return Hostile(f"folder {name}", name, lambda root: (root / name).mkdir(), _IN_HDF5)


def _vrt(name: str, source: str, file: str = "x.tif", relative: int = 0) -> Hostile:
    """A VRT, also under another suffix, whose bands lie elsewhere."""
    bands = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{i}"><Description>B{i + 1}</Description><SimpleSource>'
        f'<SourceFilename relativeToVRT="{relative}">{source}</SourceFilename><SourceBand>{i}</SourceBand>'
        "</SimpleSource></VRTRasterBand>"
        for i in (1, 2)
    )
    return _text(f"vrt {name}", file, _in_vrt(bands))


def _raw(name: str, file: str) -> Hostile:
    """A VRT of the bytes of any file."""
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{i}" subClass="VRTRawRasterBand"><Description>B{i + 1}</Description>'
        '<SourceFilename relativeToVRT="0">OUTSIDE</SourceFilename><ImageOffset>0</ImageOffset><PixelOffset>1'
        f"</PixelOffset><LineOffset>{SIDE}</LineOffset></VRTRasterBand>"
        for i in (1, 2)
    )
    return _text(f"vrt {name}", file, _in_vrt(bands))


def _in_vrt(bands: str) -> str:
    return (
        f'<VRTDataset rasterXSize="{SIDE}" rasterYSize="{SIDE}"><SRS>EPSG:32633</SRS>'
        f"<GeoTransform>500000,10,0,5000000,0,-10</GeoTransform>{bands}</VRTDataset>"
    )


def _text(name: str, file: str, text: str) -> Hostile:
    def write(root: Path) -> None:
        (root / file).write_text(text.replace("OUTSIDE", str(root.parent / "outside")))

    return Hostile(name, file, write, _IN_HDF5)


def _tif(path: Path, pixels: np.ndarray | None, transform: Affine, **options: Any) -> None:
    shape = {"count": 2, "height": SIDE, "width": SIDE, "dtype": "uint16" if pixels is None else pixels.dtype}
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32633", transform=transform, **(shape | options)) as file:
        if pixels is not None:
            file.write(pixels)
        file.descriptions = ("B2", "B3", *("x",) * (file.count - 2))


def _claims(name: str, **options: Any) -> Hostile:
    return Hostile(
        f"tiff claims {name}", "x.tif", lambda root: _tif(root / "x.tif", None, PLACE, SPARSE_OK=True, **options)
    )


def _values(value: float, dtype: str) -> Hostile:
    def write(root: Path) -> None:
        pixels = numbers(dtype=dtype)
        pixels[1] = value
        _tif(root / "x.tif", pixels, PLACE)

    return Hostile(f"a whole band of {value:g} ({dtype})", "x.tif", write, warns=True)


def _place(*six: float) -> Hostile:
    text = "<PAMDataset><GeoTransform>" + ", ".join(map(str, six)) + "</GeoTransform></PAMDataset>"

    def write(root: Path) -> None:
        _tif(root / "x.tif", numbers(), PLACE)
        (root / "x.tif.aux.xml").write_text(text)

    return Hostile(f"place {six}", "x.tif", write)


def _coordinates(name: str, values: np.ndarray, file: str = "x.nc") -> Hostile:
    def write(root: Path) -> None:
        places = small_cubes.places(SIDE) | {"x": values}
        data = small_cubes.stacked(numbers(), band=["B02", "B03"], **places)
        small_cubes.written(root / file, small_cubes.in_utm(data))

    return Hostile(f"{name} coordinates in {file}", file, write)


def _huge_npy(root: Path) -> None:
    header = {"descr": "<u2", "fortran_order": False, "shape": (2, 10**6, 10**6)}
    with (root / "x.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(1000))


def _sparse_npy(root: Path) -> None:
    """All of it is there, as a file with a hole."""
    header = {"descr": "<u2", "fortran_order": False, "shape": (2, 200_000, 200_000)}
    with (root / "x.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
    os.truncate(root / "x.npy", 128 + 2 * 2 * 200_000 * 200_000)


def _pickled_npy(root: Path) -> None:
    np.save(root / "x.npy", np.array([[{}]], dtype=object), allow_pickle=True)


def _huge_zarr(root: Path) -> None:
    small_cubes.written(root / "x.zarr", small_cubes.in_utm(small_cubes.stacked(numbers(), band=["B02", "B03"])))
    for name, shape in (("s2", [2, 300_000, 300_000]), ("x", [300_000]), ("y", [300_000])):
        file = root / "x.zarr" / name / ".zarray"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"shape": shape}))


def _huge_hdf5(root: Path) -> None:
    with h5py.File(root / "x.h5", "w") as file:
        file.create_dataset("s2", (2, 300_000, 300_000), "u2", chunks=(1, 512, 512))


def _huge_netcdf(root: Path) -> None:
    small_cubes.written(root / "x.nc", small_cubes.in_utm(small_cubes.stacked(numbers(), band=["B02", "B03"])))
    with h5py.File(root / "x.nc", "a") as file:
        attributes, scales = dict(file["s2"].attrs), [file[name] for name in ("band", "y", "x")]
        del file["s2"]
        own = file.create_dataset("s2", (2, 300_000, 300_000), "u2", chunks=(1, 512, 512))
        for key, value in attributes.items():
            if key not in ("DIMENSION_LIST", "_Netcdf4Coordinates"):
                own.attrs[key] = value
        for i, scale in enumerate(scales):
            own.dims[i].attach_scale(scale)


def _external(file: str) -> Callable[[Path], None]:
    """HDF5 whose pixels are the bytes of another file."""

    def write(root: Path) -> None:
        with h5py.File(root / file, "w") as own:
            size = 2 * SIDE * SIDE
            own.create_dataset("s2", (2, SIDE, SIDE), "u1", external=[(str(root.parent / "outside"), 0, size)])

    return write


def _external_link(root: Path) -> None:
    with h5py.File(root.parent / "other.h5", "w") as other:
        other["s2"] = numbers()
    with h5py.File(root / "x.h5", "w") as own:
        own["s2"] = h5py.ExternalLink(str(root.parent / "other.h5"), "/s2")


def _virtual(root: Path) -> None:
    with h5py.File(root.parent / "other.h5", "w") as other:
        other["s2"] = numbers()
    layout = h5py.VirtualLayout((2, SIDE, SIDE), "u2")
    layout[:] = h5py.VirtualSource(str(root.parent / "other.h5"), "s2", (2, SIDE, SIDE))
    with h5py.File(root / "x.h5", "w") as own:
        own.create_virtual_dataset("s2", layout)


def _many_frames(root: Path) -> None:
    data = xarray.Dataset(
        {"s2": (("time", "band", "y", "x"), np.zeros((1, 2, SIDE, SIDE), "u2"))},
        coords={"time": np.array(["2021-03-04"], "datetime64[ns]"), "band": ["B02", "B03"], **small_cubes.places(SIDE)},
    )
    small_cubes.written(root / "x.zarr", small_cubes.in_utm(data))
    for name in ("s2", "time"):
        file = root / "x.zarr" / name / ".zarray"
        content = json.loads(file.read_text())
        file.write_text(json.dumps(content | {"shape": [400_000_000, *content["shape"][1:]]}))


def hostile_inputs() -> list[Hostile]:
    """Return all of them."""
    suffixes = ("x.tif", "x.nc", "x.h5", "x.npy", "x.vrt", "x.jp2")
    nan, inf = float("nan"), float("inf")
    steps = small_cubes.places(SIDE)["x"]
    return [
        *(_fifo(name) for name in (*suffixes, "x.zarr")),
        *(_no_file(name) for name in suffixes),
        *(_folder(name) for name in (*suffixes, "x.zarr")),
        *(_link(name, target) for name in ("x.tif", "x.npy", "x.h5") for target in ("x.tif", "nothing", "/dev/zero")),
        _vrt("to a server", f"http://127.0.0.1:{_PORT}/x.tif"),
        _vrt("to a server by GDAL's name", f"/vsicurl/http://127.0.0.1:{_PORT}/x.tif"),
        _vrt("to a server, by its suffix", f"/vsicurl/http://127.0.0.1:{_PORT}/x.tif", "x.vrt"),
        _vrt("of itself", "x.vrt", "x.vrt", relative=1),
        _vrt("of nothing", "nothing.tif", "x.vrt", relative=1),
        _raw("of bytes outside", "x.vrt"),
        _raw("of bytes outside, as tif", "x.tif"),
        _text("xml of WMS", "x.tif", f'<GDAL_WMS><Service name="TMS"><ServerUrl>http://127.0.0.1:{_PORT}/</ServerUrl></Service></GDAL_WMS>'),
        _text("aaigrid as tif", "x.tif", "ncols 2\nnrows 2\nxllcorner 0\nyllcorner 0\ncellsize 10\n1 2\n3 4\n"),
        _claims("100 Gpx", width=300_000, height=300_000, tiled=True, compress="deflate"),
        _claims("one long row", width=2**31 - 1, height=1, compress="deflate"),
        _claims("60 000 bands", count=60_000, width=512, height=512, tiled=True, interleave="band"),
        Hostile("npy claims", "x.npy", _huge_npy, _BY_HAND),
        Hostile("npy with a hole", "x.npy", _sparse_npy, _BY_HAND),
        Hostile("npy with objects", "x.npy", _pickled_npy, _BY_HAND),
        Hostile("zarr claims", "x.zarr", _huge_zarr),
        Hostile("zarr claims frames", "x.zarr", _many_frames),
        Hostile("hdf5 claims", "x.h5", _huge_hdf5, _IN_HDF5),
        Hostile("netcdf claims", "x.nc", _huge_netcdf),
        Hostile("hdf5 stored outside", "x.h5", _external("x.h5"), _IN_HDF5),
        Hostile("hdf5 linked outside", "x.h5", _external_link, _IN_HDF5),
        Hostile("hdf5 virtual", "x.h5", _virtual, _IN_HDF5),
        *(_values(*own) for own in ((65535, "uint16"), (-9999, "int16"), (1e30, "float32"))),
        *(_place(*six) for six in (
            (nan, 10, 0, 5e6, 0, -10), (5e5, nan, 0, 5e6, 0, -10), (5e5, 0, 0, 5e6, 0, 0), (5e5, 10, 0, 5e6, 0, -1),
            (1e300, 10, 0, 5e6, 0, -10), (5e5, 1e300, 0, 5e6, 0, -1e300), (5e5, inf, 0, 5e6, 0, -10),
            (5e5, 1e-300, 0, 5e6, 0, -1e-300),
        )),
        _coordinates("constant", np.full(SIDE, 500000.0)),
        _coordinates("no", np.full(SIDE, nan)),
        _coordinates("infinite", np.where(np.arange(SIDE) == 3, inf, steps), "x.zarr"),
        _coordinates("one missing of the", np.where(np.arange(SIDE) == 3, nan, steps)),
        _coordinates("uneven", steps + np.arange(SIDE) ** 2),
    ]  # fmt: skip
