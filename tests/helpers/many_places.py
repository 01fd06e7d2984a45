"""Many places from a catalogue: its server in a process of its own, and a run over them in another, to be killed.

    python many_places.py serve FOLDER SIDE DATES    a STAC API and a server of ranges; a line asks for what was given
    python many_places.py run '{"source": ..., ...}'    see `run`
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from pyproj import Transformer
from range_server import range_server
from small_scenes import CORNER
from small_stac import KEYS, bounds, item, stac_api

FORM, BANDS = "planetary-computer", 4
WINDOW = ("2022-06-01", "2022-08-01")
#: Pixels of 10 m between a scene and the lone one beside it.
APART = 50
#: Half of the side of a place, in metres.
BUFFER = 80.0


def scene(folder: Path, name: str, day: str, side: int, seed: int, corner: Affine, address: str) -> dict[str, Any]:
    """Write a scene as tiled, compressed files of one band each, and return its item."""
    random = np.random.default_rng(seed)
    assets = {}
    for key in KEYS[FORM][:BANDS]:
        steps = -(-side // 16)
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
    return item(name, "sentinel-2-l2a", bounds((side, side), corner), f"{day}T10:20:31Z", assets, **tags)


def corners(side: int) -> tuple[Affine, Affine]:
    """Corner of the scene that shows all places but one, and of the one beside it that shows that."""
    return CORNER, CORNER @ Affine.translation(side + APART, 0)


def places(count: int, side: int, lone: int) -> list[tuple[float, float]]:
    """Longitude and latitude of places at random, of which one lies in the lone scene."""
    pixels = np.random.default_rng(7).uniform(20, side - 20, (count, 2))
    pixels[lone] = (side + APART + 32, 32)
    x, y = CORNER @ pixels.T
    lon, lat = Transformer.from_crs(32632, 4326, always_xy=True).transform(x, y)
    return list(zip(lon.tolist(), lat.tolist(), strict=True))


def serve(folder: Path, side: int, dates: int) -> None:
    """Serve scenes of so many dates; ends with its input."""
    with range_server(folder) as files:
        address = f"http://{files.host}"
        items = []
        whole, lone = corners(side)
        for number in range(dates):
            day = f"2022-06-{1 + 5 * number:02d}"
            items.append(scene(folder, f"whole-{number}", day, side, number, whole, address))
            items.append(scene(folder, f"lone-{number}", day, 64, 100 + number, lone, address))
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
def served(folder: Path, side: int, dates: int = 5) -> Iterator[Server]:
    """Write scenes to a folder and serve them, in a process of its own."""
    command = [sys.executable, __file__, "serve", str(folder), str(side), str(dates)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        yield Server(process.stdout.readline().strip(), process)
        process.communicate(timeout=20)


def run(given: Mapping[str, Any]) -> None:
    """Embed places with an encoder that takes no time; prints a line for each place, and at last what it cost."""
    import torch  # noqa: PLC0415

    from eo_embed import PointBuffer, embed  # noqa: PLC0415
    from eo_embed.one_call import run as run_module  # noqa: PLC0415

    torch.set_num_threads(1)
    memory: list[float] = []
    run_module.encoder_for = lambda *_: StandIn(memory)  # type: ignore[assignment]
    start = time.perf_counter()
    table = [
        PointBuffer(lon, lat, BUFFER, id=f"p{number:04d}")
        for number, (lon, lat) in enumerate(places(given["count"], given["side"], given["lone"]))
    ]
    export = embed(
        "thor_v1_tiny", table, source=given["source"], time=WINDOW, remote_cache=given["cache"], out=given["out"],
        output="pooled", pretrained=False, image_size=16, frames="median", progress=False, device="cpu",
    )  # fmt: skip
    seconds = time.perf_counter() - start
    sys.stdout.write(f"{json.dumps({'seconds': seconds, 'memory': memory, 'failures': dict(export.failures)})}\n")


class StandIn:
    """An encoder whose vector is the mean of each band."""

    weights_sha256 = "0" * 64

    def __init__(self, memory: list[float]) -> None:
        from types import SimpleNamespace  # noqa: PLC0415

        self.memory = memory
        self.extractor = SimpleNamespace(backbone=SimpleNamespace(load_report=None))

    def __call__(self, image: Any, **_: Any) -> list[Any]:
        import torch  # noqa: PLC0415

        from eo_models.contract import Features  # noqa: PLC0415

        pixels = next(iter(image.values())) if isinstance(image, Mapping) else image
        grid = torch.nn.functional.avg_pool2d(pixels.flatten(1, -3), 8)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.memory.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
        sys.stdout.write("encoded\n")
        sys.stdout.flush()
        return [Features(grid.flatten(2).transpose(1, 2), None, grid)]


def started(**given: Any) -> subprocess.Popen[str]:
    """Start `run` in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, "run", json.dumps(given)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603


def cost(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for a run, and return what it cost."""
    printed = process.communicate(timeout=1200)[0].splitlines()
    assert process.returncode == 0, printed
    return {**json.loads(printed[-1]), "encoded": printed.count("encoded")}


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        run(json.loads(sys.argv[2]))
