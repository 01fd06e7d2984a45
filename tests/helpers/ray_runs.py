"""Runs of a stand-in encoder that an actor builds without TerraTorch, and encoders that end their process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
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
#: Windows begin at multiples of 8: the first ones at 0, 8, 24 and 40.
TILES: Mapping[str, Any] = {"tile": 32, "halo": 8, "tile_align": 8}
#: Digital number by which the encoder knows a sample that is to end its process; others stay far below.
DEADLY = 9999
_DEADLY_REFLECTANCE = 0.9


def write_rasters(root: Path, count: int = 9, deadly: int | None = None) -> None:
    """Write rasters of 16 x 16 pixels of noise, one of them with a value at its corner that the encoder looks for."""
    for i in range(count):
        _write_raster(root / f"tile_{i:02d}.tif", i, (16, 16), (0, 0) if i == deadly else None)


def write_large_rasters(root: Path, deadly: tuple[int, int]) -> None:
    """Write two rasters for `TILES`, the first with the value that the encoder looks for at the corner of a window."""
    _write_raster(root / "a" / "big.tif", 0, (64, 80), deadly)
    _write_raster(root / "small.tif", 1, (40, 40), None)


def _write_raster(path: Path, seed: int, shape: tuple[int, int], deadly: tuple[int, int] | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(500, 4000, (3, *shape)).astype(np.int16)
    if deadly is not None:
        pixels[:, *deadly] = DEADLY
    place = rasterio.transform.from_origin(500_000.0 + 1000 * seed, 4e6, 10, 10)
    profile = {"height": shape[0], "width": shape[1], "dtype": "int16", "crs": "EPSG:32631", "transform": place}
    with rasterio.open(path, "w", driver="GTiff", count=3, **profile) as file:
        file.write(pixels)
        file.descriptions = BANDS


class Task(LightningModule):
    """What the runs need of a task: an exporter of the stand-in encoder."""

    def __init__(
        self, root: Path, out: Path, once: Path | None, pause: float, settings: Mapping[str, Any], driver: Path | None
    ) -> None:
        super().__init__()
        self.root, self.out, self.once, self.pause, self.chosen = root, out, once, pause, dict(settings)
        self.lists_faults, self.driver = True, driver

    def exporter(self, rank: int) -> Exporter:
        settings = ExportSettings(**({"output": "both", "layers": (-1, -2)} | self.chosen))
        facts = {"task": {"backbone": "stand-in", **settings.facts()}}
        return Exporter(self.out, self._encode, settings, facts, {"root": "data"}, rank=rank, root=self.root)

    def computing(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _encode(self, image: Any, **extras: Any) -> Any:
        time.sleep(self.pause)
        if (image[:, 0, 0, 0] > _DEADLY_REFLECTANCE).any() and not (self.once is not None and self.once.exists()):
            if self.once is not None:
                self.once.touch()
            if self.driver is not None:
                os.kill(int(self.driver.read_text()), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        return encoder(image, **extras)


@dataclass(frozen=True)
class StandInRecipe:
    """A run; ``once`` is a file that says that the deadly sample has ended a process already.

    The deadly sample first ends the process whose number is in the file ``driver``.
    """

    root: Path
    out: Path
    once: Path | None = None
    pause: float = 0.0
    on_error: Literal["raise", "skip"] = "raise"
    grid_format: Literal["geotiff", "zarr"] = "geotiff"
    tiled: bool = False
    driver: Path | None = None

    def parts(self, trainer: Mapping[str, Any]) -> tuple[Trainer, LightningModule, LightningDataModule]:
        source = ImageSource("{id}.tif", BANDS, "sentinel2_l2a", unit="digital_number", pixel_size=10)
        preprocess = DatasetNormalise({"s2": dict.fromkeys(BANDS, 0.0)}, {"s2": dict.fromkeys(BANDS, 1.0)})
        faults: dict[str, Any] = {"on_error": self.on_error, "skipped_file": str(self.out.parent / "skipped.csv")}
        tiles: Mapping[str, Any] = TILES if self.tiled else {}
        data = ChipDataModule(str(self.root), {"s2": source}, preprocess, batch_size=2, **tiles, **faults)
        quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False, "accelerator": "cpu"}
        settings = {"on_error": self.on_error, "grid_format": self.grid_format}
        task = Task(self.root, self.out, self.once, self.pause, settings, self.driver)
        return Trainer(**{**quiet, **trainer}), task, data


def lead(address: str, recipe: StandInRecipe) -> None:
    """Lead a run in this process on a cluster; for one that is killed."""
    from eo_embed.ray.driver import run_on_ray

    assert recipe.driver is not None
    recipe.driver.write_text(str(os.getpid()))
    run_on_ray(recipe, 2, address=address)
