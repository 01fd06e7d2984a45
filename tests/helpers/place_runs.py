"""Many places from a catalogue: its servers in a process of their own, and runs over them in others, to be killed.

python place_runs.py serve FOLDER SIDE DATES BANDS    a STAC API and a server of ranges; a line asks for what was given
python place_runs.py run                        each line is a run, see `run`, in a process of its own
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from affine import Affine
from pyproj import Transformer
from range_server import range_server
from small_scenes import CORNER
from small_stac import KEYS, bounds, item, stac_api

from eo_data.raster.raster import to_map
from eo_models.precision.numbers import Arithmetic

#: Keys of the assets of Sentinel-2 as the catalogue has them.
ASSETS = KEYS["planetary-computer"]
WINDOW = ("2022-06-01", "2022-08-01")
#: Pixels of 10 m between a scene and the lone one beside it.
APART = 50
#: Half of the side of a place, in metres.
BUFFER = 80.0


def scene(
    folder: Path, name: str, day: str, shape: tuple[int, int, int], seed: int, corner: Affine, address: str
) -> dict[str, Any]:
    """Write a scene as tiled, compressed files of one band each, and return its item."""
    random, (bands, side, _) = np.random.default_rng(seed), shape
    assets, steps = {}, -(-side // 16)
    for key in ASSETS[:bands]:
        coarse = np.kron(random.integers(400, 4000, (steps, steps)), np.ones((16, 16)))[:side, :side]
        values = (coarse + random.integers(0, 16, (side, side))).astype(np.uint16)
        path = folder / name / f"{key}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        profile = {"count": 1, "height": side, "width": side, "dtype": "uint16", "nodata": 0, "crs": "EPSG:32632"}
        tiled = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
        with rasterio.open(path, "w", driver="GTiff", transform=corner, **profile, **tiled) as file:
            file.write(values, 1)
        assets[key] = {"href": f"{address}/{name}/{key}.tif"}
    tags = {"platform": "sentinel-2a", "s2:processing_baseline": "02.14", "s2:mgrs_tile": "32TNR"}
    return item(name, "sentinel-2-l2a", bounds(shape[1:], corner), f"{day}T10:20:31Z", assets, **tags)


def corners(side: int) -> tuple[Affine, Affine]:
    """Corner of the scene that shows all places but one, and of the one beside it that shows that."""
    return CORNER, CORNER @ Affine.translation(side + APART, 0)


def places(count: int, side: int, lone: int) -> list[tuple[float, float]]:
    """Longitude and latitude of places at random, of which one lies in the lone scene."""
    pixels = np.random.default_rng(7).uniform(20, side - 20, (count, 2))
    pixels[lone] = (side + APART + 32, 32)
    x, y = np.array([to_map(CORNER, column, row) for column, row in pixels]).T
    lon, lat = Transformer.from_crs(32632, 4326, always_xy=True).transform(x, y)
    return list(zip(lon.tolist(), lat.tolist(), strict=True))


def serve(folder: Path, side: int, dates: int, bands: int) -> None:
    """Serve scenes of so many dates; ends with its input."""
    with range_server(folder) as files:
        address = f"http://{files.host}"
        items = []
        whole, lone = corners(side)
        for number in range(dates):
            day = f"2022-06-{1 + 5 * number:02d}"
            items.append(scene(folder, f"whole-{number}", day, (bands, side, side), number, whole, address))
            items.append(scene(folder, f"lone-{number}", day, (bands, 64, 64), 100 + number, lone, address))
        with stac_api(items, page=50) as api:
            sys.stdout.write(f"{api.url}\n")
            sys.stdout.flush()
            for _ in sys.stdin:
                said = {"searches": len(api.searches), "asked": len(files.asked), "given": files.given}
                sys.stdout.write(f"{json.dumps(said)}\n")
                sys.stdout.flush()
                api.searches.clear()
                files.forget()


@dataclass(frozen=True)
class Given:
    """What servers gave since they were last asked."""

    searches: int
    asked: int
    given: list[tuple[str, int, int]]

    @property
    def ranges(self) -> list[tuple[str, int, int]]:
        """Ranges of more than the byte by which a file is known to be the same."""
        return [own for own in self.given if own[2] - own[1] > 1]

    @property
    def bytes(self) -> int:
        return sum(stop - start for _, start, stop in self.given)


@dataclass(frozen=True)
class Server:
    """Servers in a process of their own."""

    url: str
    process: subprocess.Popen[str]

    def given(self) -> Given:
        """What they gave since the last call."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        said = json.loads(self.process.stdout.readline())
        return Given(said["searches"], said["asked"], [tuple(own) for own in said["given"]])


@contextmanager
def served(folder: Path, side: int, dates: int, bands: int) -> Iterator[Server]:
    """Write scenes to a folder and serve them, in a process of its own."""
    command = [sys.executable, __file__, "serve", *map(str, (folder, side, dates, bands))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        try:
            yield Server(process.stdout.readline().strip(), process)
        finally:
            process.communicate(timeout=20)


def run(given: Mapping[str, Any]) -> None:
    """Embed places with an encoder that takes no time, and write what it cost.

    Parameters
    ----------
    given : mapping
        ``source``, ``out``, ``cache``: as of `embed`; ``count``, ``side``, ``lone``: of `places`; ``killed_before``:
        number of the time that a file is synced, in the cache or the export, before which the process is killed;
        ``killed_at``: number of the place at which it is;
        ``command``: whether to go by ``eo embed``; ``cost``: the file for what it cost.
    """
    from eo_embed import Export, PointBuffer, embed
    from eo_embed.one_call import run as run_module
    from eo_embed.one_call.command import main

    memory: list[float] = []
    run_module.encoder_for = lambda *_: StandIn(memory, given.get("killed_at", 0))  # type: ignore[assignment]
    kill_before(given.get("killed_before", 0))
    where = places(given["count"], given["side"], given["lone"])
    start, said = time.perf_counter(), dict[str, Any]()
    if given.get("command"):
        file = Path(given["out"]).with_suffix(".geojson")
        write_table(file, where)
        options = {"id_column": "name", "buffer_m": BUFFER, "remote_cache": given["cache"], "frames": "median"}
        more = [word for name, value in options.items() for word in ("--option", f"{name}={value}")]
        places_and_time = ["--places", str(file), "--time", *WINDOW, "--source", given["source"]]
        try:
            main(["thor_v1_tiny", *places_and_time, "--output", "pooled", "--out", given["out"], *more])
        except SystemExit as end:
            said = {"status": end.code}
    else:
        table = [PointBuffer(lon, lat, BUFFER, id=f"p{number:04d}") for number, (lon, lat) in enumerate(where)]
        export = embed(
            "thor_v1_tiny", table, source=given["source"], time=WINDOW, remote_cache=given["cache"],
            out=given["out"], output="pooled", frames="median", progress=False,
        )  # fmt: skip
        assert isinstance(export, Export)
        said = {"failures": dict(export.failures)}
    cost = {"seconds": time.perf_counter() - start, "memory": memory, **said}
    Path(given["cost"]).write_text(json.dumps(cost))


def kill_before(step: int) -> None:
    """Have this process killed before a file is synced for the nth time."""
    steps, sync = itertools.count(1), os.fsync

    def counted(file: int) -> None:
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        sync(file)

    os.fsync = counted  # type: ignore[assignment]


def write_table(path: Path, where: Sequence[tuple[float, float]]) -> None:
    """Write points as a file of GeoJSON."""
    features = [
        {
            "type": "Feature",
            "properties": {"name": f"p{number:04d}"},
            "geometry": {"type": "Point", "coordinates": list(own)},
        }
        for number, own in enumerate(where)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


class StandIn:
    """An encoder whose vector is the mean of each band."""

    weights_sha256 = "0" * 64
    arithmetic = Arithmetic("32-true", "highest", torch.device("cpu"))

    def __init__(self, memory: list[float], last: int) -> None:
        from types import SimpleNamespace

        self.memory, self.last = memory, last
        self.extractor = SimpleNamespace(backbone=SimpleNamespace(load_report=None))

    def __call__(self, image: Any, **_: Any) -> list[Any]:
        import torch

        from eo_models.contract import Features

        pixels = next(iter(image.values())) if isinstance(image, Mapping) else image
        grid = torch.nn.functional.avg_pool2d(pixels.flatten(1, -3), 8)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.memory.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
        if len(self.memory) == self.last:
            os.kill(os.getpid(), signal.SIGKILL)
        return [Features(grid.flatten(2).transpose(1, 2), None, grid)]


def run_by_lines() -> None:
    """Do each run of the input in a forked process, so that imports are paid for once; answer with its exit status."""
    import torch

    import eo_embed.one_call.call
    import eo_embed.one_call.command  # noqa: F401

    torch.set_num_threads(1)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = 1
            sys.stdout = sys.stderr  # the answer alone goes there
            try:
                run(json.loads(line))
                status = 0
            finally:
                if status:
                    traceback.print_exc()
                os._exit(status)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


@dataclass(frozen=True)
class Runner:
    """Does runs, one after the other."""

    process: subprocess.Popen[str]
    folder: Path

    def run(self, **given: Any) -> dict[str, Any]:
        """Return the exit status of a run, and if it was not killed, what it cost; see `run`."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        cost = self.folder / "cost.json"
        cost.unlink(missing_ok=True)
        self.process.stdin.write(f"{json.dumps({**given, 'cost': str(cost)})}\n")
        self.process.stdin.flush()
        exit_status = int(self.process.stdout.readline())
        return {"exit": exit_status, **(json.loads(cost.read_text()) if cost.is_file() else {})}


@contextmanager
def runner(folder: Path) -> Iterator[Runner]:
    """Start what does runs; it ends with the block."""
    command = [sys.executable, "-W", "ignore", __file__, "run"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            yield Runner(process, folder)
        finally:
            process.communicate(timeout=60)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(Path(sys.argv[2]), *map(int, sys.argv[3:]))
    else:
        run_by_lines()
