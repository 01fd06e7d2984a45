"""Labels, splits and statistics: what training reads beside images."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import Record, SampleRequest
from eo_data.catalog.sources import ImageSource, LabelSource, Task
from eo_data.catalog.splits import read_split
from eo_data.dataset.chip_splits import ChipSplits
from eo_data.preprocess.dataset_normalise import DatasetNormalise
from eo_data.preprocess.statistics import BandStatistics, read_statistics
from eo_data.raster.raster import Raster
from eo_data.sensors.units import InputUnit
from tests.faults.inputs.images import SIDE, numbers, write_tif
from tests.faults.inputs.mutate import Damage, any_bytes
from tests.faults.outcome import Outcome

CLASSES, LARGEST = 4, 1e30


@dataclass(frozen=True)
class _WithLabel:
    """A data set of one chip and its label."""

    file: str

    def records(self, request: SampleRequest) -> list[Record]:
        image, label = (Href.from_root(name, request.root) for name in ("x.tif", self.file))
        return [Record("x", {"S2": (image,)}, label=label, split="test")]


@dataclass(frozen=True)
class LabelSeed:
    """A label raster beside a chip that stays whole."""

    name: str
    task: Task
    dtype: str
    compress: str
    kind: str = "label"
    file: str = "lab.tif"

    def write(self, folder: Path) -> None:
        write_tif(folder / "x.tif", numbers())
        values = np.random.default_rng(1).integers(0, CLASSES, (1, SIDE, SIDE)).astype(self.dtype)
        write_tif(folder / self.file, values, compress=self.compress)

    def read(self, folder: Path) -> np.ndarray:
        """Return the label as a data module hands it on."""
        source = ImageSource(bands=["B2", "B3"], sensor="sentinel2_l2a", unit="digital_number")
        label = LabelSource(classes=CLASSES if self.task == "segmentation" else None)
        plain = DatasetNormalise({"S2": [0.0, 0.0]}, {"S2": [1.0, 1.0]})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = ChipSplits(str(folder), {"S2": source}, plain, label, self.task, samples=_WithLabel(self.file))
            found = data.dataset("test").read(0).label
        assert isinstance(found, Raster)
        return found.pixels

    def case(self, folder: Path, valid: np.ndarray, chance: Random) -> Outcome:
        return judged(self, folder, valid, any_bytes(folder / self.file, chance), self._wrong)

    def _wrong(self, found: np.ndarray) -> str:
        if found.shape != (1, SIDE, SIDE):
            return f"a label of {found.shape} for {SIDE} x {SIDE} pixels"
        if self.task == "segmentation":
            odd = np.setdiff1d(found, np.arange(-1, CLASSES))
            return f"the classes {odd[:3]}" if odd.size else ""
        large = np.abs(found[~np.isnan(found)]) > LARGEST
        return "values beyond any" if large.any() else ""


@dataclass(frozen=True)
class StatisticsSeed:
    """A file of statistics."""

    name: str = "statistics"
    kind: str = "statistics"
    file: str = "stats.yaml"

    def write(self, folder: Path) -> None:
        own = BandStatistics(["B2", "B3"], InputUnit.REFLECTANCE)
        own.update(numbers().astype(np.float32) / 10_000)
        own.write_yaml(folder / self.file, {"files": 1})

    def read(self, folder: Path) -> np.ndarray:
        """Return means and standard deviations as the normalisation has them."""
        own = read_statistics(folder / self.file).zscore(["B2", "B3"], InputUnit.REFLECTANCE)
        return np.array([own.mean, own.std], dtype=np.float64)

    def case(self, folder: Path, valid: np.ndarray, chance: Random) -> Outcome:
        return judged(self, folder, valid, any_bytes(folder / self.file, chance), self._wrong)

    def _wrong(self, found: np.ndarray) -> str:
        return "" if np.isfinite(found).all() and (found[1] > 0).all() else f"means and deviations {found.tolist()}"


@dataclass(frozen=True)
class SplitSeed:
    """A file that names the samples of a split."""

    name: str = "split"
    kind: str = "split"
    file: str = "test.txt"

    def write(self, folder: Path) -> None:
        (folder / self.file).write_text("\n".join(f"chip-{i}" for i in range(0, 6, 2)) + "\n")

    def read(self, folder: Path) -> np.ndarray:
        """Return the ids of the split."""
        records = [Record(f"chip-{i}", {"S2": (Href(f"s2/{i}.tif"),)}) for i in range(6)]
        return np.array([record.id for record in read_split(folder / self.file, records)])

    def case(self, folder: Path, valid: np.ndarray, chance: Random) -> Outcome:
        return judged(self, folder, valid, any_bytes(folder / self.file, chance), self._wrong)

    def _wrong(self, found: np.ndarray) -> str:
        return "" if len(found) == len(set(found.tolist())) and len(found) else f"the split {found.tolist()}"


def judged(seed: Any, folder: Path, valid: Any, damage: Damage, wrong: Callable[[Any], str]) -> Outcome:
    """Read what was damaged, and judge what comes."""
    try:
        found = seed.read(folder)
    except ValueError as error:
        if seed.file in str(error) and len(str(error)) < 5000:
            return Outcome("refused")
        return Outcome("unexpected", f"{damage.name}: {type(error).__name__}: no file in {str(error)[:200]}")
    except BaseException as error:  # noqa: BLE001  (that none comes is what is tested)
        return Outcome("unexpected", f"{damage.name}: {type(error).__name__}: {str(error)[:200]}")
    if fault := wrong(found):
        return Outcome("wrong", f"{damage.name}: {fault}")
    return Outcome("equal" if np.array_equal(found, valid) else "changed", damage.name)


def label_seeds() -> list[Any]:
    """Return all of them."""
    return [
        LabelSeed("classes", "segmentation", "uint8", "deflate"),
        LabelSeed("classes as stored", "segmentation", "int16", "none"),
        LabelSeed("values", "regression", "float32", "deflate"),
        LabelSeed("values as float64", "regression", "float64", "none"),
        StatisticsSeed(),
        SplitSeed(),
    ]
