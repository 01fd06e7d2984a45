"""Exports by tiles of a stand-in encoder: by one process, by shards, and by two processes at once."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from affine import Affine
from sharded_runs import ended, started

from eo_data.catalog.shards import Shard
from eo_data.catalog.sources import ImageSource
from eo_data.dataset.batch import collate
from eo_data.dataset.chip_splits import ChipSplits
from eo_data.preprocess.dataset_normalise import DatasetNormalise
from eo_embed.export.exporter import Exporter
from eo_embed.export.flow.summary import Counts
from eo_embed.export.settings import ExportSettings
from eo_models.features import Features

PATCH, SHAPE = 4, (101, 203)
#: Rows and columns of the grid of such a raster.
CELLS = (26, 51)
#: Format and type of grids that make one file a raster.
FORMATS = [("geotiff", "float32"), ("geotiff", "float16"), ("geotiff", "int8"), ("zarr", "float32")]
_PLACE = Affine(10, 0, 600_000, 0, -10, 4_500_000)
_PATIENCE = 40


def write_raster(
    path: Path,
    seed: int = 0,
    shape: tuple[int, int] = SHAPE,
    blank: tuple[slice, slice] | None = None,
    dtype: str = "uint16",
) -> np.ndarray:
    """Write a raster of two bands of noise; of ``blank`` rows and columns nothing was observed (0, or NaN)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(1, 9000, (2, *shape)).astype(dtype)
    nodata = 0 if dtype == "uint16" else np.nan
    if blank is not None:
        values[:, *blank] = nodata
    profile = {"driver": "GTiff", "height": shape[0], "width": shape[1], "count": 2, "dtype": dtype}
    with rasterio.open(path, "w", crs="EPSG:32631", transform=_PLACE, nodata=nodata, **profile) as file:
        file.write(values)
        file.descriptions = ("RED", "NIR_BROAD")
    return values


class Tiles:
    """Batches of one tile: all, those of a shard, or every second one for a rank of two.

    Parameters
    ----------
    root : Path
        The data set.
    most : int, optional
        After so many batches this ends like a process that is killed.
    broken : int, optional
        A batch that cannot be read.
    tiles : mapping, optional
        Replaces how rasters are cut, such as ``blend``.
    """

    def __init__(
        self,
        root: Path,
        most: int | None = None,
        broken: int | None = None,
        shard: Shard | None = None,
        part: slice = slice(None),
        tiles: Mapping[str, Any] | None = None,
    ) -> None:
        source = ImageSource("{id}.tif", ["RED", "NIR_BROAD"], sensor="sentinel2_l2a", unit="digital_number", offset=0)
        prepare = DatasetNormalise({"S2": [0.0, 0.0]}, {"S2": [10000.0, 10000.0]})
        cut: dict[str, Any] = {"tile": 64, "halo": 8, "tile_align": PATCH, "shard": shard, **(tiles or {})}
        data = ChipSplits(str(root), {"S2": source}, prepare, georeference="always", **cut)
        self.dataset: Any = data.dataset("predict")
        self.most, self.broken, self.part = most, broken, part

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for number in range(len(self.dataset))[self.part]:
            if number == self.most:
                raise KeyboardInterrupt
            if number == self.broken:
                yield {"id": [self.dataset.records[number].id], "faults": {self.dataset.records[number].id: "broken"}}
                continue
            yield collate([self.dataset[number]])


def encode(image: Any, **_: Any) -> list[Features]:
    """Two numbers of the largest value of each patch, of length one."""
    grid = torch.nn.functional.max_pool2d(image.flatten(1, -3), PATCH, ceil_mode=True)
    grid = grid / grid.norm(dim=1, keepdim=True)
    return [Features(grid.flatten(2).transpose(1, 2), None, grid)]


def exporter(
    root: Path, out: Path, rank: int = 0, shard: Shard | None = None, encoder: Any = encode, **kind: Any
) -> Exporter:
    """An exporter of vectors and grids; ``kind`` replaces settings."""
    chosen = ExportSettings(**({"output": "both", "on_error": "skip"} | kind))
    return Exporter(out, encoder, chosen, {"task": chosen.facts()}, root=root, rank=rank, shard=shard)


def export(
    root: Path,
    out: Path,
    most: int | None = None,
    broken: int | None = None,
    shard: Shard | None = None,
    encoder: Any = encode,
    tiles: Mapping[str, Any] | None = None,
    **kind: Any,
) -> None:
    """Export in this process."""
    batches = Tiles(root, most, broken, shard, tiles=tiles)
    exporter(root, out, shard=shard, encoder=encoder, **kind).run(batches, alone=shard is None)


def export_by_two_processes(
    root: Path, out: Path, meeting: Path, killed: Mapping[int, int] | None = None, **kind: Any
) -> list[bool]:
    """Export by two processes that write at the same time, and return which were killed.

    Parameters
    ----------
    root, out : Path
        The data set and the folder of the export.
    meeting : Path
        A folder for this run alone, in which they tell each other how far they are.
    killed : mapping, optional
        Step on files at which a rank ends by kill -9; the other one is then killed, too, as a launcher does.

    The process that calls this must not have written a GeoTIFF itself: children do not have the threads of GDAL.
    """
    meeting.mkdir()
    steps = dict(killed or {})
    crew = [started(steps.get(rank), out, _rank(root, out, rank, meeting, kind)) for rank in (0, 1)]
    found: dict[int, bool] = {}
    until = time.monotonic() + _PATIENCE
    while len(found) < 2:
        for rank in {0, 1} - found.keys():
            done = ended(crew[rank])
            if done is not None:
                found[rank] = done
            late = time.monotonic() > until
            for other in {0, 1} - found.keys() if done or late else ():
                os.kill(crew[other], signal.SIGKILL)
            if late:
                raise TimeoutError(f"hung: {out}")
        time.sleep(0.002)
    return [found[0], found[1]]


def _rank(root: Path, out: Path, rank: int, meeting: Path, kind: Mapping[str, Any]) -> Callable[[], None]:
    def run() -> None:
        own = exporter(root, out, rank, **kind)
        batches = Tiles(root, part=slice(rank, None, 2))
        if rank:
            _wait_for(meeting / "0-opened")
        own.open(None, (), batches.dataset)
        _meet(meeting, rank, "opened")
        for batch in batches:
            own.add(batch)
        numbers = own.close().numbers()
        _meet(meeting, rank, "closed", " ".join(map(str, numbers)))
        if rank == 0:
            other = [float(text) for text in (meeting / "1-closed").read_text().split()]
            own.complete(Counts.of(numbers) + Counts.of(other))

    return run


def _meet(meeting: Path, rank: int, name: str, text: str = "") -> None:
    """Wait until both processes are so far."""
    (meeting / f".{rank}-{name}").write_text(text)
    (meeting / f".{rank}-{name}").rename(meeting / f"{rank}-{name}")
    _wait_for(meeting / f"{1 - rank}-{name}")


def _wait_for(file: Path) -> None:
    until = time.monotonic() + _PATIENCE / 2
    while not file.exists():
        if time.monotonic() > until:
            raise TimeoutError(f"no {file.name}")
        time.sleep(0.001)


def export_by_two_processes_and_kill(root: Path, folder: Path, seeds: int) -> list[tuple[str, str, int]]:
    """Export undisturbed, and so that each rank is killed once and all is run again, for each seed and both formats.

    Returns
    -------
    list of (str, str, int)
        Format and folder of each export, and how often a rank was killed.
    """
    made = []
    for form in ("geotiff", "zarr"):
        for seed in (None, *range(seeds)):
            own, draw = folder / f"{form}-{seed}", random.Random(f"{form} {seed}")  # noqa: S311
            own.mkdir()
            victims = [] if seed is None else draw.sample((0, 1), 2)
            plans: list[dict[int, int]] = [{victim: draw.randrange(5, 100)} for victim in victims]
            ends = [
                export_by_two_processes(root, own / "out", own / f"meeting-{i}", plan, grid_format=form)
                for i, plan in enumerate([*plans, {}])
            ]
            made.append((form, str(own / "out"), sum(any(end) for end in ends)))
    return made


if __name__ == "__main__":
    made_of = export_by_two_processes_and_kill(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    sys.stdout.write(json.dumps(made_of))
