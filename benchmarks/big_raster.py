"""Measure the export of one big raster by tiles: time of the encoder, memory of all processes, bytes written and kept.

    python benchmarks/big_raster.py --side 2196                    # quick: a twenty-fifth of a Sentinel-2 tile
    python benchmarks/big_raster.py                                # 10 980 px, and a quarter of it
    git worktree add ../before ba3a017
    python benchmarks/big_raster.py --before ../before             # the same with an older checkout, first

The scene has ten bands of uint16 in one tiled GeoTIFF. A process of its own exports it as `terratorch predict` does,
with random weights, which are as quick as any. What is measured:

- *encoder*: share of the time from the beginning of the first batch to the end of the last, that forward passes take;
- *memory*: of that process and all it starts, every second: PSS counts shared pages once, RSS in each process.
  Flat is what the last tenth of that time needs as the first, and a quarter of the scene as the whole: by RSS, as pages
  that other processes share come and go with these in PSS;
- *written*: bytes that the processes have sent to the disk, and what of them was removed before it got there; *kept*:
  bytes of the folder. With `--format zarr`, what calls write is what is kept: nothing is written twice;
- *after*: what follows the last batch, with the functions of these packages that take longest.

Linux only. Other work on the machine lengthens all times: the load is printed beside them.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
PACKAGES = ("eo_core", "eo_data", "eo_models", "eo_embed", "thor_terratorch_ext")
BANDS = (
    *("BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2"),
    *("RED_EDGE_3", "NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"),
)
MEGABYTE = 1e6
#: Arguments that a checkout of before does not have.
LATER = ("halo", "precision")
#: Seconds below which a function is not listed.
SHORTEST = 0.1
#: Seconds between two looks at the memory; a look takes 20 ms.
EVERY = 1.0


# --- the process that exports -----------------------------------------------------------------------------------------


class Clock:
    """Times of forward passes and batches, on the clock that all processes share."""

    def __init__(self) -> None:
        self.encoder = 0.0
        self.first = self.last = 0.0
        self.profile = cProfile.Profile()
        self._began = 0.0

    def watch(self, model: Any) -> None:  # noqa: ANN401
        """Count the time of each forward pass of a module."""
        model.register_forward_pre_hook(lambda *_: setattr(self, "_began", time.monotonic()))
        model.register_forward_hook(lambda *_: self._add())

    def _add(self) -> None:
        self.encoder += time.monotonic() - self._began

    def callback(self) -> Any:  # noqa: ANN401
        """Return a callback of Lightning that tells of the first and the last batch."""
        from lightning.pytorch import Callback, Trainer

        clock = self

        class Batches(Callback):
            def on_predict_batch_start(self, *_: object) -> None:
                clock.first = clock.first or time.monotonic()

            def on_predict_batch_end(
                self, trainer: Trainer, _module: object, _outputs: object, _batch: object, index: int, *_: object
            ) -> None:
                clock.last = time.monotonic()
                if index + 1 == int(sum(trainer.num_predict_batches)):
                    clock.profile.enable()

        return Batches()


def export(given: dict[str, Any]) -> None:
    """Export the scene and print what the clock says."""
    import torch
    from lightning.pytorch import Trainer

    import thor_terratorch_ext  # noqa: F401  (registers the encoder)
    from eo_data.catalog.sources import ImageSource
    from eo_data.datamodules import ChipDataModule
    from eo_embed import EmbeddingTask
    from thor_terratorch_ext import ThorPreprocess

    torch.set_num_threads(given["threads"])
    source = ImageSource("*.tif", BANDS, sensor="sentinel2_l2a", unit="digital_number", offset=0.0)
    tiling = {name: given[name] for name in ("tile", "halo") if given[name] is not None}
    data = ChipDataModule(
        given["folder"],
        {"S2": source},
        ThorPreprocess(patch_size=8),
        batch_size=given["batch_size"],
        num_workers=given["workers"],
        **tiling,
    )
    inputs = {"model_bands": list(BANDS), "input_gsd": 10}
    chosen = {"output": "grid", "grid_format": given["format"]}
    chosen |= {} if given["precision"] is None else {"precision": given["precision"]}
    task = EmbeddingTask(given["encoder"], {"pretrained": False, **inputs}, given["out"], **chosen)
    clock = Clock()
    clock.watch(task.model)
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[clock.callback()], default_root_dir=given["out"] + ".logs",
    )  # fmt: skip
    trainer.predict(task, data, return_predictions=False)
    clock.profile.disable()
    found: dict[str, Any] = {
        "encoder": clock.encoder,
        "first": clock.first,
        "last": clock.last,
        "end": time.monotonic(),
    }
    found |= {"tiles": len(data.predict_dataset or ()), "after": slowest(clock.profile), "io": written("self")}
    print(json.dumps(found), flush=True)


def slowest(profile: cProfile.Profile) -> list[tuple[str, float]]:
    """Return the functions of these packages that took longest, each with all that it calls."""
    rows = pstats.Stats(profile).stats.items()  # type: ignore[attr-defined]
    own = [
        (f"{Path(file).stem}.{name}", round(row[3], 2))
        for (file, _, name), row in rows
        if any(f"/{package}/" in file for package in PACKAGES) and row[3] >= SHORTEST
    ]
    return sorted(own, key=lambda row: -row[1])[:12]


# --- the process that watches -----------------------------------------------------------------------------------------


@dataclass
class Watched:
    """What was seen of a process and all that it started.

    Parameters
    ----------
    memory : list of (float, float, float)
        Time, PSS and RSS in bytes of all together.
    io : mapping of int to mapping
        Of each process, what it has written when it was last seen.
    """

    memory: list[tuple[float, float, float]] = field(default_factory=list)
    io: dict[int, dict[str, int]] = field(default_factory=dict)

    def look(self, top: int) -> None:
        """Add how things are now."""
        seen = [sizes for process in family(top) if (sizes := self._of(process))]
        if seen:
            self.memory.append((time.monotonic(), sum(pss for pss, _ in seen), sum(rss for _, rss in seen)))

    def _of(self, process: int) -> tuple[float, float] | None:
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            self.io[process] = written(str(process))
        except OSError:  # it has ended
            return None
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith(("Pss:", "Rss:"))}
        return sizes.get("Pss", 0), sizes.get("Rss", 0)

    def most(self, start: float, end: float, which: int = 1) -> float:
        """Return the most bytes between two times."""
        return max((row[which] for row in self.memory if start <= row[0] <= end), default=0.0)


def family(top: int) -> Iterator[int]:
    """Yield a process and all that descend from it."""
    yield top
    for task in Path(f"/proc/{top}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except OSError:  # it has ended
            continue
        for child in children:
            yield from family(child)


def written(process: str) -> dict[str, int]:
    """Return what a process has written: all calls, what goes to the disk, what was removed before it got there."""
    lines = dict(line.split(": ") for line in Path(f"/proc/{process}/io").read_text().splitlines())
    return {name: int(lines[name]) for name in ("wchar", "write_bytes", "cancelled_write_bytes")}


def run(checkout: Path, options: argparse.Namespace, folder: Path, *, later: bool) -> dict[str, Any]:
    """Export the scene of a folder with the code of a checkout, and return what was measured."""
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        out = Path(temporary) / "out"
        names = ("tile", "halo", "batch_size", "workers", "threads", "encoder", "format", "precision")
        given = {name: None if name in LATER and not later else getattr(options, name) for name in names}
        text = json.dumps({**given, "folder": str(folder), "out": str(out)})
        environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, str(HERE), "--export", text]
        child = subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.PIPE, stderr=sys.stderr, text=True, cwd=temporary, env=environment
        )
        watched = Watched()
        while child.poll() is None:
            watched.look(child.pid)
            time.sleep(EVERY)
        printed = "" if child.stdout is None else child.stdout.read()
        if child.returncode:
            msg = f"The export with {checkout} ended with {child.returncode}: {printed[-2000:]}"
            raise SystemExit(msg)
        clock = json.loads(printed.splitlines()[-1])
        files = [path for path in out.rglob("*") if path.is_file()]
        return measured(clock, watched, child.pid) | {
            "kept_mb": sum(path.stat().st_size for path in files) / MEGABYTE,
            "files": len(files),
        }


def measured(clock: dict[str, Any], watched: Watched, top: int) -> dict[str, Any]:
    """Return the figures of a run."""
    first, last, end = clock["first"], clock["last"], clock["end"]
    tenth = (last - first) / 10
    io = watched.io | {top: clock["io"]}
    return {
        "tiles": clock["tiles"],
        "wall_s": last - first,
        "encoder_share": clock["encoder"] / (last - first),
        "after_s": end - last,
        "peak_mb": watched.most(0, end) / MEGABYTE,
        "peak_rss_mb": watched.most(0, end, 2) / MEGABYTE,
        "during_mb": watched.most(first, last) / MEGABYTE,
        "first_tenth_mb": watched.most(first, first + tenth, 2) / MEGABYTE,
        "last_tenth_mb": watched.most(last - tenth, last, 2) / MEGABYTE,
        "written_mb": sum(one["write_bytes"] for one in io.values()) / MEGABYTE,
        "cancelled_mb": sum(one["cancelled_write_bytes"] for one in io.values()) / MEGABYTE,
        "calls_mb": sum(one["wchar"] for one in io.values()) / MEGABYTE,
        "after": clock["after"],
        "load": os.getloadavg()[0],
    }


# --- what is printed --------------------------------------------------------------------------------------------------

ROWS = {
    "tiles": ("tiles", "{:,.0f}"),
    "wall_s": ("first batch to last, s", "{:,.1f}"),
    "encoder_share": ("encoder's share of it", "{:.1%}"),
    "after_s": ("after the last batch, s", "{:,.1f}"),
    "peak_mb": ("peak memory (PSS), MB", "{:,.0f}"),
    "peak_rss_mb": ("peak memory (sum of RSS), MB", "{:,.0f}"),
    "during_mb": ("most during the batches (PSS), MB", "{:,.0f}"),
    "first_tenth_mb": ("in their first tenth (RSS), MB", "{:,.0f}"),
    "last_tenth_mb": ("in their last tenth (RSS), MB", "{:,.0f}"),
    "written_mb": ("sent to the disk, MB", "{:,.1f}"),
    "cancelled_mb": ("removed before, MB", "{:,.1f}"),
    "calls_mb": ("written by calls, MB", "{:,.1f}"),
    "kept_mb": ("kept, MB", "{:,.1f}"),
    "files": ("files kept", "{:,.0f}"),
    "load": ("load of the machine at the end", "{:.1f}"),
}


def table(runs: dict[str, dict[str, Any]]) -> str:
    """Return the figures of all runs side by side."""
    lines = [f"{'':<36}" + "".join(f"{name:>20}" for name in runs)]
    for key, (text, form) in ROWS.items():
        lines.append(f"{text:<36}" + "".join(f"{form.format(found[key]):>20}" for found in runs.values()))
    for name, found in runs.items():
        lines.append(f"after the last batch, {name}: " + ", ".join(f"{what} {s:.1f} s" for what, s in found["after"]))
    return "\n".join(lines)


def write_scene(folder: Path, side: int) -> None:
    """Write the scene in a process of its own, so that its memory does not count."""
    folder.mkdir()
    code = f"from pathlib import Path; from tiles import BANDS, geotiff; geotiff(Path('x.tif'), BANDS, {side}, 10)"
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder, env=environment)  # noqa: S603


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--side", type=int, default=10_980, help="of the scene in pixels (10980)")
    add("--encoder", default="thor_v1_tiny")
    add("--tile", type=int, default=288)
    add("--halo", type=int, help="that of the data module by default; an older checkout has none")
    add("--batch-size", type=int, default=4)
    add("--workers", type=int, default=0)
    add("--threads", type=int, default=os.cpu_count())
    add("--format", default="geotiff")
    add("--precision", choices=("auto", "32", "bf16", "int8"), help="that of the task by default")
    add("--before", type=Path, help="an older checkout, measured first")
    add("--no-quarter", action="store_true", help="leave out the scene of a quarter of the area")
    add("--folder", type=Path, help="for scenes and exports (the system's temporary folder)")
    add("--export", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.export:
        export(json.loads(options.export))
        return
    runs: dict[str, dict[str, Any]] = {}
    checkouts = {"before": options.before} if options.before else {}
    checkouts["now"] = HERE.parents[1]
    sides = [options.side] if options.no_quarter else [options.side // 2, options.side]
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        for side in sides:
            folder = Path(temporary) / str(side)
            write_scene(folder, side)
            for name, checkout in checkouts.items():
                runs[f"{name}, {side} px"] = run(checkout.resolve(), options, folder, later=name == "now")
    print(table(runs))
    print(json.dumps(runs))


if __name__ == "__main__":
    main()
