"""Everything else that writes a file, on a disk that is too small: an error and what was there before, or all of it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import rasterio
import yaml
from affine import Affine

from tests.faults.outcome import Outcome
from tests.faults.runs import children

if TYPE_CHECKING:
    from tests.faults.runs.faults import Bench

_BEFORE = b"what was there before"


class Target(NamedTuple):
    """A file that is written, and a way to read it, which raises or returns its content."""

    name: str
    file: str
    write: Callable[[Path], None]
    read: Callable[[Path], object]


def _statistics(path: Path) -> None:
    from eo_data.preprocess.statistics import BandStatistics
    from eo_data.sensors.units import InputUnit

    own = BandStatistics([f"B{i}" for i in range(60)], InputUnit.REFLECTANCE)
    own.update(np.random.default_rng(0).random((3, 60, 8, 8)).astype(np.float32))
    own.write_yaml(path, {"files": 3})


def _yaml(path: Path) -> object:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _skipped(path: Path) -> None:
    from eo_data.dataset.skipped import write_skipped

    write_skipped(path, [("predict", f"a/{i}", "truncated") for i in range(300)])


def _label_map(path: Path) -> None:
    from eo_data.dataset.sample_grid import SampleGrid
    from eo_finetune.label_maps import write_map

    valid = np.ones((200, 200), dtype=bool)
    crs = rasterio.CRS.from_epsg(32633).to_wkt()
    place = SampleGrid("a", ("x.tif",), Affine(10, 0, 5e5, 0, -10, 5e6), crs, valid, ())
    write_map(path, np.random.default_rng(0).integers(0, 9, (200, 200)), place)


def _pixels(path: Path) -> object:
    with rasterio.open(path) as file:
        return file.read().tobytes()


TARGETS = (
    Target("statistics", "s.yaml", _statistics, _yaml),
    Target("skipped samples", "skipped.csv", _skipped, Path.read_bytes),
    Target("label map", "map.tif", _label_map, _pixels),
)


def one_writer(bench: Bench, chance: Random) -> Outcome:
    """Write one file where it does not fit, beside nothing or over another one."""
    target = chance.choice(TARGETS)
    whole, folder = bench.work / "whole", bench.work / "out"
    whole.mkdir()
    folder.mkdir()
    if children.in_child(target.write, whole / target.file, log=bench.log) != 0:
        return Outcome("unexpected", f"{target.name}: {bench.last_line()}")
    size = (whole / target.file).stat().st_size
    limit = int(size * chance.uniform(0, 1.1))
    file = folder / target.file
    replaces = chance.random() < 0.5
    if replaces:
        file.write_bytes(_BEFORE)
    run = partial(children.with_short_files, limit, partial(target.write, file))
    status = children.in_child(run, log=bench.log)
    outcome = _judged(target, file, whole / target.file, status, replaces=replaces)
    return outcome._replace(why=f"{target.name}, {limit} of {size} bytes: {outcome.why}")


def _judged(target: Target, file: Path, whole: Path, status: int | None, *, replaces: bool) -> Outcome:
    if status is None:
        return Outcome("hang")
    if status < 0:
        return Outcome("unexpected", f"died of {signal.Signals(-status).name}")
    left = [path.name for path in file.parent.iterdir() if path != file]
    if status:
        kept = file.read_bytes() == _BEFORE if replaces else not file.exists()
        return Outcome("wrong", f"exit code {status}, and {file.name} is another") if not kept else _clean(left)
    try:
        same = target.read(file) == target.read(whole)
    except Exception as error:  # noqa: BLE001  (whatever the reader says of it)
        return Outcome("wrong", f"exit code 0, and it cannot be read: {error}")
    return _clean(left) if same else Outcome("wrong", "exit code 0, and another content")


def _clean(left: list[str]) -> Outcome:
    return Outcome("wrong", f"left over: {left}") if left else Outcome("equal")
