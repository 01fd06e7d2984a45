"""All kinds of files on a disk that gets full, for test_full_disk.

``python full_disk.py limit FOLDER SIZES`` writes each kind with a limit to the size of a file, at as many sizes from
nothing to the whole, as a disk that is full at that moment. ``python full_disk.py disk FOLDER SIZES`` leaves only so
much of the file system free, which must be a small one. Prints JSON: by kind and size how it ended.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from matplotlib.figure import Figure
from rasterio.windows import Window

from eo_core.files import write_file, write_text
from eo_data.preprocess.statistics import BandStatistics
from eo_data.raster.geotiff_output import GeotiffInParts
from eo_embed.pictures.command import _write_cog
from eo_embed.pictures.quicklook import Ground
from eo_embed.writers.embedding import Embedding
from eo_embed.writers.formats import FORMATS
from eo_embed.writers.quantise import Encoding
from eo_embed.writers.rasters.makers import RasterWriter, finish_raster
from eo_embed.writers.rasters.work import WORK, Whole

UTM = Affine(10, 0, 500_000, 0, -10, 5_000_000)
NOISE = np.random.default_rng(0).standard_normal((6, 60, 70)).astype(np.float32)
Write = Callable[[Path], object]


def _grid(name: Any) -> Write:
    def write(folder: Path) -> None:
        item = Embedding("tile", grid=NOISE, shape=(60, 70), transform=UTM, crs="EPSG:32633")
        FORMATS[name].writer(folder, Encoding("float32")).write(item)

    return write


def _in_parts(folder: Path) -> None:
    """With a small cache, so that blocks are written while there are more to come."""
    whole = np.random.default_rng(1).integers(0, 9, (1, 600, 700)).astype(np.int16)
    profile = {"driver": "GTiff", "count": 1, "height": 600, "width": 700, "dtype": "int16", "transform": UTM}
    profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "nodata": -1}
    with (
        rasterio.Env(GDAL_CACHEMAX=200_000),
        GeotiffInParts(folder / "map.tif", profile, lambda file: file.update_tags(class_0="x" * 500)) as file,
    ):
        for row in range(0, 600, 150):
            file.write(whole[:, row : row + 150], Window(0, row, 700, 150))
            file.park()


def _raster(name: Any) -> Write:
    def write(folder: Path) -> None:
        names = tuple(f"e{i}" for i in range(6))
        whole = Whole("big", "", NOISE.shape, "float32", UTM[:6], "EPSG:32633", names)
        _, part = RasterWriter(folder, FORMATS[name]).write(whole, NOISE, 0, 0)
        entry = {"id": "big/0", "dates": [], "sources": [], "valid_fraction": 1, "cells": part[:4], **part.entry()}
        finish_raster(folder, FORMATS[name], "big", "", [entry], lambda *_: None)

    return write


def _statistics(folder: Path) -> None:
    statistics = BandStatistics([f"B{i}" for i in range(60)], "reflectance")
    statistics.update(np.random.default_rng(0).random((60, 4, 4)))
    statistics.write_yaml(folder / "statistics.yaml")


def _picture(folder: Path) -> None:
    figure = Figure()
    figure.add_subplot().imshow(NOISE[0])
    write_file(folder / "a.png", lambda file: figure.savefig(file, format="png"))


def _colours(folder: Path) -> None:
    bands = np.random.default_rng(0).integers(0, 255, (4, 60, 70)).astype(np.uint8)
    _write_cog(folder / "colours.tif", bands, Ground(UTM, "EPSG:32633", 60, 70))


def _table(folder: Path) -> None:
    write_text(folder / "report.csv", "\n".join(f"{i},{i * 7}" for i in range(5000)))


KINDS: dict[str, Write] = {
    **{f"grid {name}": _grid(name) for name in FORMATS},
    "raster": _raster("geotiff"), "raster in Zarr": _raster("zarr"),
    "raster of tiles": _in_parts, "statistics": _statistics, "picture": _picture,
    "colours": _colours, "table": _table,
}  # fmt: skip


def _label_maps() -> dict[str, Write]:
    """In a function of its own: what they need takes ten seconds to import."""
    from eo_data.dataset.sample_grid import SampleGrid
    from eo_finetune.label_maps import write_map

    def label_map(folder: Path) -> None:
        values = np.random.default_rng(0).integers(0, 9, (200, 200)).astype(np.int16)
        valid = np.ones((200, 200), dtype=bool)
        write_map(folder / "map.tif", values, SampleGrid("a", ("a.tif",), UTM, "EPSG:32633", valid, ()), ["x", "y"])

    return {"label map": label_map}


@contextmanager
def limited(size: int) -> Iterator[None]:
    """Let no file grow beyond a size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def filled(folder: Path, size: int) -> Iterator[None]:
    """Leave so much of a file system free, in whole pages."""
    disk = os.statvfs(folder)
    ballast = folder / "ballast"
    ballast.write_bytes(b"x" * max(0, disk.f_bavail * disk.f_frsize - size))
    try:
        yield
    finally:
        ballast.unlink()


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder, but the groups of a Zarr store that hold its items, and work files."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: path.read_bytes()
        for name, path in found.items()
        if name != "grids.zarr/zarr.json" and not name.startswith(WORK)
    }


def fault(write: Write, folder: Path, whole: dict[str, bytes], hindered: Any) -> str:
    """Write on a disk that gets full; say what is wrong afterwards, or how it ended: ``whole`` or ``refused``."""
    folder.mkdir()
    try:
        with hindered:
            write(folder)
        end = "whole"
    except OSError as error:
        end = "refused" if str(folder) in str(error) else f"the error names no file: {error}"
    except Exception as error:  # noqa: BLE001
        end = f"{type(error).__name__}: {error}"
    left = contents(folder)
    if end == "whole" and left != whole:
        return f"no error, and {sorted(left)} differ from what was to be written"
    if end == "refused" and left:
        return f"an error, but {sorted(left)} are there"
    return end


def main(how: str, place: Path, sizes: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    found: dict[str, dict[int, str]] = {}
    for kind, write in (KINDS | _label_maps()).items():
        write(place / "whole")
        whole = contents(place / "whole")
        shutil.rmtree(place / "whole")
        # Small files take whole pages of a disk.
        most = (
            sum(len(content) + 4096 for content in whole.values()) if how == "disk" else max(map(len, whole.values()))
        )
        if how == "disk" and kind in ("raster", "raster in Zarr"):
            most *= 4  # the work file and the overviews lie beside what is made of them
        for i in range(sizes):
            size = (most + 32768) * i // (sizes - 1)
            hindered = filled(place, size) if how == "disk" else limited(size)
            found.setdefault(kind, {})[size] = fault(write, place / "tried", whole, hindered)
            shutil.rmtree(place / "tried")
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
