"""Everything else that writes a file, on a disk that is too small: an error and what was there before, or all of it."""

from __future__ import annotations

import importlib.util
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import rasterio
import torch
import yaml
from affine import Affine
from torch import nn

from tests.faults.outcome import Outcome
from tests.faults.runs import children
from tests.faults.runs.export import samples_of

if TYPE_CHECKING:
    from tests.faults.runs.bench import Bench

_BEFORE = b"what was there before"


class Target(NamedTuple):
    """One file that is written to a folder, and a way to read it, which raises or returns its content."""

    name: str
    write: Callable[[Bench, Path], None]
    read: Callable[[Path], object]
    #: A module that takes seconds to import: such files are written in long runs only.
    needs: str = ""


def _statistics(_: Bench, folder: Path) -> None:
    from eo_data.preprocess.statistics import BandStatistics
    from eo_data.sensors.units import InputUnit

    own = BandStatistics([f"B{i}" for i in range(60)], InputUnit.REFLECTANCE)
    own.update(np.random.default_rng(0).random((3, 60, 8, 8)).astype(np.float32))
    own.write_yaml(folder / "s.yaml", {"files": 3})


def _skipped(_: Bench, folder: Path) -> None:
    from eo_data.dataset.dataset import write_skipped

    write_skipped(folder / "skipped.csv", [("predict", f"a/{i}", "truncated") for i in range(300)])


def _label_map(_: Bench, folder: Path) -> None:
    from eo_data.dataset.sample_grid import SampleGrid
    from eo_finetune.label_maps import write_map

    valid = np.ones((200, 200), dtype=bool)
    crs = rasterio.CRS.from_epsg(32633).to_wkt()
    place = SampleGrid("a", ("x.tif",), Affine(10, 0, 5e5, 0, -10, 5e6), crs, valid, ())
    write_map(folder / "map.tif", np.random.default_rng(0).integers(0, 9, (200, 200)), place)


def cached(bench: Bench, folder: Path) -> Any:
    """Return the samples of the shared data set, whose features are to lie in a folder, and the way that they face."""
    from eo_finetune.cache.dataset import CachedDataset, Variant
    from eo_finetune.cache.variants import variants_of

    turns = variants_of(None)
    return CachedDataset(samples_of(bench.shared / "tif"), folder, turns, keep_images=False), Variant(
        0, next(iter(turns))
    )


def _features(bench: Bench, folder: Path) -> None:
    own, variant = cached(bench, folder)
    own.store(variant, [torch.arange(2000.0).reshape(5, 20, 20)], own.uncached(variant))


def _checkpoint(_: Bench, folder: Path) -> None:
    from eo_models.weights.checkpoint_io import CheckedCheckpointIO

    module = nn.Linear(30, 40)
    nn.init.constant_(module.weight, 0.5)
    content = {"state_dict": module.state_dict(), "pytorch-lightning_version": "2"}
    CheckedCheckpointIO(module).save_checkpoint(content, folder / "last.ckpt")


def _pixels(path: Path) -> object:
    with rasterio.open(path) as file:
        return file.read().tobytes()


def _weights(path: Path) -> object:
    content = torch.load(path, weights_only=True)
    return content["state_dict"]["weight"].tolist()


TARGETS = (
    Target("statistics", _statistics, lambda path: yaml.safe_load(path.read_text(encoding="utf-8"))),
    Target("skipped samples", _skipped, Path.read_bytes),
    Target("cached features", _features, Path.read_bytes),
    Target("label map", _label_map, _pixels, "eo_finetune.label_maps"),
    Target("checkpoint", _checkpoint, _weights, "eo_models.weights.checkpoint_io"),
)


def load_targets() -> None:
    """Import what takes seconds, before processes are forked."""
    for target in TARGETS:
        if target.needs and importlib.util.find_spec(target.needs):
            importlib.import_module(target.needs)


def one_writer(bench: Bench, chance: Random) -> Outcome:
    """Write one file where it does not fit, beside nothing or over another one."""
    target = chance.choice([own for own in TARGETS if not own.needs or own.needs in sys.modules])
    whole, folder = bench.work / "whole", bench.work / "out"
    whole.mkdir()
    folder.mkdir()
    if children.in_child(target.write, bench, whole, log=bench.log) != 0:
        return Outcome("unexpected", f"{target.name}: {bench.last_line()}")
    (expected,) = (path for path in whole.iterdir() if path.is_file())
    size = expected.stat().st_size
    limit = int(size * chance.uniform(0, 1.1))
    file = folder / expected.name
    replaces = chance.random() < 0.5
    if replaces:
        file.write_bytes(_BEFORE)
    run = partial(children.with_short_files, limit, partial(target.write, bench, folder))
    status = children.in_child(run, log=bench.log)
    outcome = _judged(target, file, expected, status, replaces=replaces)
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


def damaged_features(bench: Bench, chance: Random) -> Outcome:
    """Cached features that are damaged are refused or made again, never trained on."""
    from tests.faults.inputs.mutate import any_bytes

    folder = bench.work / "cache"
    _features(bench, folder)
    own, variant = cached(bench, folder)
    before = own[variant.sample]["features"][0]
    damage = any_bytes(own.file(variant), chance)
    again, _ = cached(bench, folder)
    if variant in list(again.missing()):
        return Outcome("refused")
    try:
        found = again[variant.sample]["features"][0]
    except (ValueError, OSError) as error:
        named = own.file(variant).name in str(error)
        return Outcome("refused") if named else Outcome("unexpected", f"{damage.name}: no file in {error}")
    except Exception as error:  # noqa: BLE001  (that none comes is what is tested)
        return Outcome("unexpected", f"{damage.name}: {type(error).__name__}: {str(error)[:200]}")
    same = torch.equal(found, before)
    return Outcome("equal") if same else Outcome("wrong", f"{damage.name}: other features without an error")
