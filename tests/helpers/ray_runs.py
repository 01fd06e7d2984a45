"""Runs of a stand-in encoder that an actor builds without TerraTorch, and encoders that end their process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from sharded_runs import encoder

from eo_data.datamodules import ChipDataModule, ImageSource
from eo_data.preprocess import DatasetNormalise
from eo_embed import Exporter, ExportSettings

BANDS = ("BLUE", "GREEN", "RED")
#: Digital number by which the encoder knows a sample that is to end its process; others stay far below.
DEADLY = 9999
_DEADLY_REFLECTANCE = 0.9


def write_rasters(root: Path, count: int = 9, deadly: int | None = None) -> None:
    """Write rasters of 16 x 16 pixels of noise, one of them with a value at its corner that the encoder looks for."""
    root.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        pixels = np.random.default_rng(i).integers(500, 4000, (3, 16, 16)).astype(np.int16)
        if i == deadly:
            pixels[:, 0, 0] = DEADLY
        place = rasterio.transform.from_origin(500_000.0 + 1000 * i, 4e6, 10, 10)
        profile = {"count": 3, "height": 16, "width": 16, "dtype": "int16", "crs": "EPSG:32631", "transform": place}
        with rasterio.open(root / f"tile_{i:02d}.tif", "w", driver="GTiff", **profile) as file:
            file.write(pixels)
            file.descriptions = BANDS


class Task(LightningModule):
    """What the runs need of a task: an exporter of the stand-in encoder."""

    def __init__(self, root: Path, out: Path, once: Path | None, pause: float, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.root, self.out, self.once, self.pause, self.chosen = root, out, once, pause, dict(settings)
        self.lists_faults = True

    def exporter(self, rank: int) -> Exporter:
        settings = ExportSettings(**({"output": "both", "layers": (-1, -2)} | self.chosen))
        facts = {"task": {"backbone": "stand-in", **settings.facts()}}
        return Exporter(self.out, self._encode, settings, facts, {"root": "data"}, rank=rank, root=self.root)

    def _encode(self, image: Any, **extras: Any) -> Any:
        time.sleep(self.pause)
        if (image[:, 0, 0, 0] > _DEADLY_REFLECTANCE).any() and not (self.once is not None and self.once.exists()):
            if self.once is not None:
                self.once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return encoder(image, **extras)


@dataclass(frozen=True)
class StandInRecipe:
    """A run; ``once`` is a file that says that the deadly sample has ended a process already."""

    root: Path
    out: Path
    once: Path | None = None
    pause: float = 0.0
    on_error: Literal["raise", "skip"] = "raise"

    def parts(self, trainer: Mapping[str, Any]) -> tuple[Trainer, LightningModule, LightningDataModule]:
        source = ImageSource("{id}.tif", BANDS, "sentinel2_l2a", unit="digital_number", pixel_size=10)
        preprocess = DatasetNormalise({"s2": dict.fromkeys(BANDS, 0.0)}, {"s2": dict.fromkeys(BANDS, 1.0)})
        faults: dict[str, Any] = {"on_error": self.on_error, "skipped_file": str(self.out.parent / "skipped.csv")}
        data = ChipDataModule(str(self.root), {"s2": source}, preprocess, batch_size=2, **faults)
        quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False, "accelerator": "cpu"}
        task = Task(self.root, self.out, self.once, self.pause, {"on_error": self.on_error})
        return Trainer(**{**quiet, **trainer}), task, data
