"""Small training runs on crops of the embedded sample, in Python and through TerraTorch's command line."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import lightning
import pytest
import rasterio
import torch
import yaml
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from rasterio.windows import Window

SIDE = 64
CHIPS = ("Ghana_SYN03", "Spain_SYN01", "Spain_SYN02", "India_SYN05", "India_SYN06", "Mekong_SYN07")
S2_BANDS = ["BLUE", "GREEN", "RED", "NIR_BROAD"]
_ALL_BANDS = [
    *("COASTAL_AEROSOL", "BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3"),
    *("NIR_BROAD", "NIR_NARROW", "WATER_VAPOR", "CIRRUS", "SWIR_1", "SWIR_2"),
]
MODALITIES: dict[str, dict[str, Any]] = {
    "S2": {
        "files": "S2/{id}.tif",
        "sensor": "sentinel2_l1c",
        "file_bands": _ALL_BANDS,
        "bands": S2_BANDS,
        "unit": "digital_number",
    },
    "S1": {
        "files": "S1/{id}.tif",
        "sensor": "sentinel1",
        "file_bands": ["VV", "VH"],
        "bands": ["VV", "VH"],
        "unit": "decibel",
    },
}


_TEN_BANDS = [name for name in _ALL_BANDS if name not in ("COASTAL_AEROSOL", "WATER_VAPOR", "CIRRUS")]
_DECODER = {"decoder": "FCNDecoder", "decoder_channels": 8, "decoder_num_convs": 1, "num_classes": 2}
_THOR = {
    "backbone": "thor_v1_tiny",
    "backbone_pretrained": False,
    "backbone_model_bands": _TEN_BANDS,
    "backbone_input_gsd": 10,
    "backbone_merge_method": "mean",
    "backbone_out_indices": [11],
}
_ANYSAT = {
    "backbone": "anysat_tiny",
    "backbone_pretrained": False,
    "backbone_modalities": ["s2"],
    "backbone_bands": {"s2": [*_TEN_BANDS, "DATE"]},
    "backbone_patch_size": 40,
    "backbone_padding": None,
}


def _cut(source: Path, target: Path, left: int, top: int, side: int) -> None:
    with rasterio.open(source) as file:
        window = Window(left, top, side, side)
        profile = {"driver": "GTiff", "width": side, "height": side, "count": file.count, "dtype": file.dtypes[0]}
        profile |= {"crs": file.crs, "nodata": file.nodata, "transform": file.window_transform(window)}
        target.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(target, "w", **profile) as out:
            out.write(file.read(window=window))


@pytest.fixture
def chips(root: Path, tmp_path: Path) -> Callable[..., Path]:
    """Cut crops of the embedded sample; the first four train, the others validate and are tested."""

    def write(side: int = SIDE, folder: str = "chips") -> Path:
        hand = root / "datasets/sample/v1.1/data/flood_events/HandLabeled"
        out = tmp_path / folder
        for chip in CHIPS:
            for name, kind in (("S1", "S1Hand"), ("S2", "S2Hand"), ("label", "LabelHand")):
                _cut(hand / kind / f"{chip}_{kind}.tif", out / name / f"{chip}.tif", 8, 4, side)
        (out / "train.txt").write_text("\n".join(CHIPS[:4]))
        (out / "val.txt").write_text("\n".join(CHIPS[4:]))
        return out

    return write


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Make a config of THOR tiny with random weights; ``data``, ``task`` and ``model`` replace arguments."""

    def make(
        root: Path,
        modalities: Sequence[str] = ("S2",),
        data: dict[str, Any] | None = None,
        task: dict[str, Any] | None = None,
        model: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        sources = {name: dict(MODALITIES[name]) for name in modalities}
        bands = {name: list(source["bands"]) for name, source in sources.items()}
        return {
            "seed_everything": 3,
            "trainer": {
                "accelerator": "cpu",
                "logger": False,
                "max_epochs": 2,
                "default_root_dir": str(tmp_path / "out"),
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "log_every_n_steps": 1,
                "callbacks": [],
            },
            "data": {
                "class_path": "eo_data.datamodules.ChipDataModule",
                "init_args": {
                    "root": str(root),
                    "batch_size": 2,
                    "num_workers": 0,
                    "modalities": sources,
                    "label": {"files": "label/{id}.tif", "classes": 2},
                    "train_split": "train.txt",
                    "val_split": "val.txt",
                    "test_split": "val.txt",
                    "dates_as": "none",
                    "train_transform": [{"class_path": "albumentations.D4"}],
                    "preprocess": {"class_path": "thor_terratorch_ext.ThorPreprocess", "init_args": {"patch_size": 8}},
                }
                | (data or {}),
            },
            "model": {
                "class_path": "terratorch.tasks.SemanticSegmentationTask",
                "init_args": {
                    "model_factory": "EncoderDecoderFactory",
                    "model_args": {
                        "backbone": "thor_v1_tiny",
                        "backbone_pretrained": False,
                        "backbone_model_bands": bands if len(bands) > 1 else next(iter(bands.values())),
                        "backbone_input_gsd": 10,
                        "backbone_input_params": {"flexivit_patch_size_seqs": [8]},
                        "backbone_merge_method": "concat",
                        "backbone_out_indices": [3],
                        "decoder": "FCNDecoder",
                        "decoder_channels": 16,
                        "decoder_num_convs": 3,
                        "head_dropout": 0.3,
                        "num_classes": 2,
                    }
                    | (model or {}),
                    "loss": "ce",
                    "ignore_index": -1,
                    "class_names": ["land", "water"],
                    "optimizer": "AdamW",
                    "lr": 3.0e-3,
                    "freeze_backbone": True,
                    "plot_on_val": False,
                }
                | (task or {}),
            },
        }

    return make


@pytest.fixture
def model_args() -> dict[str, dict[str, Any]]:
    """Arguments of a segmentation model with either encoder."""
    return {"thor": _THOR | _DECODER, "anysat": _ANYSAT | _DECODER}


@pytest.fixture
def images() -> Callable[..., torch.Tensor]:
    """Make images: THOR ``(B, 10, 64, 64)``, AnySat ``(B, 11, 2, 24, 24)`` with the date plane."""

    def make(kind: str, batch: int = 2) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        if kind == "thor":
            return torch.randn(batch, 10, 64, 64, generator=generator)
        series = torch.randn(batch, 11, 2, 24, 24, generator=generator)
        days = 40.0 + 100 * torch.arange(2) + 10 * torch.arange(batch)[:, None]
        series[:, 10] = days[..., None, None]
        return series

    return make


@pytest.fixture(scope="session")
def peft() -> ModuleType:
    """Return peft, and let TerraTorch know it.

    It imports transformers, which imports torchaudio where that is installed, and the one that comes with rs-embed (a
    peer for tests) refuses a PyTorch made for another CUDA version. Nothing here needs audio.
    """
    stand_in = ModuleType("torchaudio")
    stand_in.__spec__ = ModuleSpec("torchaudio", None)
    patch = pytest.MonkeyPatch()
    if importlib.util.find_spec("torchaudio"):
        patch.setitem(sys.modules, "torchaudio", stand_in)
    module = importlib.import_module("peft")
    utils = importlib.import_module("terratorch.models.peft_utils")
    if not utils._has_peft:
        importlib.reload(utils)
    patch.undo()
    return module


class Losses(Callback):
    """The loss of every training step, and the metrics of every validation."""

    def __init__(self) -> None:
        self.steps: dict[tuple[int, int], float] = {}
        self.metrics: list[dict[str, float]] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.steps[(trainer.current_epoch, batch_idx)] = float(outputs["loss"].detach())

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            known = trainer.callback_metrics.items()
            self.metrics.append({name: float(value) for name, value in known if name.startswith("val/")})


class Run(NamedTuple):
    """What a run is made of."""

    trainer: Trainer
    task: LightningModule
    data: LightningDataModule
    losses: Losses


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Run]:
    """Make task, data module and trainer of a config, as a Python program would; seeded as the command line does."""

    def make(config: dict[str, Any], *callbacks: Callback, **trainer: Any) -> Run:
        from terratorch.cli_tools import build_lightning_cli

        file = tmp_path / "build.yaml"
        file.write_text(yaml.safe_dump(config, sort_keys=False))
        losses = Losses()
        cli = build_lightning_cli(["--config", str(file)], run=False)
        lightning.seed_everything(config["seed_everything"], verbose=False)
        settings = {key: value for key, value in config["trainer"].items() if key != "callbacks"}
        checkpointing = any("Checkpoint" in type(callback).__name__ for callback in callbacks)
        settings |= {"enable_checkpointing": checkpointing} | trainer
        return Run(Trainer(**settings, callbacks=[losses, *callbacks]), cli.model, cli.datamodule, losses)

    return make


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., Any]:
    """Run a command of TerraTorch on a config."""

    def run(name: str, config: dict[str, Any] | Path, *arguments: str) -> Any:
        from terratorch.cli_tools import build_lightning_cli

        file = config if isinstance(config, Path) else tmp_path / f"{name}.yaml"
        if not isinstance(config, Path):
            file.write_text(yaml.safe_dump(config, sort_keys=False))
        return build_lightning_cli([name, "--config", str(file), *arguments])

    return run
