"""Our data modules under TerraTorch's own tasks: segmentation with plots, regression, classification, embeddings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml

BANDS = ["RED", "GREEN", "BLUE"]
SIDE = 70
UTM = (500_000.0, 4_000_000.0)


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six chips of 70 px with a bright half, labels of all kinds, an index."""
    root = tmp_path_factory.mktemp("chips")
    rng = np.random.default_rng(0)
    rows = ["id,image,label,split"]
    for i in range(6):
        bright = np.zeros((SIDE, SIDE), bool)
        bright[:, : 20 + 5 * i] = True
        pixels = np.where(bright, 3000, 900) + rng.normal(0, 50, (3, SIDE, SIDE))
        transform = rasterio.transform.from_origin(UTM[0] + 1000 * i, UTM[1], 10, 10)
        layers = {
            "image": (pixels.astype(np.int16), BANDS),
            "label": (bright[None].astype(np.uint8), ["class"]),
            "height": (pixels[:1].astype(np.float32) / 1000, ["metres"]),
        }
        for name, (values, descriptions) in layers.items():
            path = root / name / f"chip{i}.tif"
            path.parent.mkdir(exist_ok=True)
            profile = {"count": len(values), "height": SIDE, "width": SIDE, "dtype": values.dtype.name}
            with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32631", transform=transform, **profile) as file:
                file.write(values)
                file.descriptions = descriptions
        rows.append(f"chip{i},image/chip{i}.tif,{i % 2},{'val' if i > 3 else 'train'}")
    (root / "index.csv").write_text("\n".join(rows) + "\n")
    (root / "train.txt").write_text("\n".join(f"chip{i}" for i in range(4)))
    (root / "val.txt").write_text("chip4\nchip5\n")
    return root


def config(chips: Path, tmp_path: Path, model: dict[str, Any], **data: Any) -> Path:
    arguments = {
        "root": str(chips),
        "batch_size": 2,
        "num_workers": 0,
        "modalities": {
            "image": {
                "files": "image/{id}.tif",
                "sensor": "sentinel2_l2a",
                "bands": ["BLUE", "GREEN", "RED"],
                "unit": "digital_number",
            }
        },
        "train_split": "train.txt",
        "val_split": "val.txt",
        "test_split": "val.txt",
        "preprocess": {"class_path": "thor_terratorch_ext.ThorPreprocess"},
    } | data
    logger = {"class_path": "TensorBoardLogger", "init_args": {"save_dir": str(tmp_path / "log")}}
    content = {
        "seed_everything": 0,
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 1,
            "logger": logger,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "default_root_dir": str(tmp_path),
        },
        "data": {"class_path": "eo_data.datamodules.ChipDataModule", "init_args": arguments},
        "model": model,
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def thor(**more: Any) -> dict[str, Any]:
    """Tiny THOR as it reads these chips; bands as in the data module."""
    return {
        "backbone": "thor_v1_tiny",
        "backbone_pretrained": False,
        "backbone_model_bands": ["BLUE", "GREEN", "RED"],
        "backbone_input_gsd": 10,
        "backbone_merge_method": "mean",
        "backbone_out_indices": [-1],
    } | more


def run(*arguments: str) -> Any:
    from terratorch.cli_tools import build_lightning_cli

    return build_lightning_cli(list(arguments))


@pytest.fixture
def decoder() -> Callable[..., dict[str, Any]]:
    def make(task: str, **more: Any) -> dict[str, Any]:
        model_args = thor(decoder="FCNDecoder", decoder_num_convs=3, decoder_channels=16)
        arguments = {"model_factory": "EncoderDecoderFactory", "model_args": model_args, "lr": 1e-3} | more
        arguments["model_args"] |= arguments.pop("head", {})
        return {"class_path": f"terratorch.tasks.{task}", "init_args": arguments}

    return make


def test_segmentation_fits_and_plots_during_validation(chips: Path, tmp_path: Path, decoder: Any) -> None:
    model = decoder("SemanticSegmentationTask", loss="ce", ignore_index=-1, plot_on_val=1, head={"num_classes": 2})
    file = config(chips, tmp_path, model, label={"files": "label/{id}.tif", "classes": 2})
    cli = run("fit", "--config", str(file))
    assert np.isfinite(float(cli.trainer.callback_metrics["val/loss"]))
    events = b"".join(path.read_bytes() for path in (tmp_path / "log").rglob("events.out*"))
    assert b"PNG" in events


def test_regression_of_a_raster_fits(chips: Path, tmp_path: Path, decoder: Any) -> None:
    model = decoder("PixelwiseRegressionTask", loss="mse", ignore_index=-1, plot_on_val=False)
    file = config(chips, tmp_path, model, label={"files": "height/{id}.tif"}, task="regression")
    cli = run("fit", "--config", str(file))
    assert np.isfinite(float(cli.trainer.callback_metrics["val/loss"]))


def test_classification_reads_classes_from_the_index(chips: Path, tmp_path: Path, decoder: Any) -> None:
    model = decoder("ClassificationTask", loss="ce", head={"num_classes": 2, "decoder": "IdentityDecoder"})
    for key in ("decoder_num_convs", "decoder_channels"):
        del model["init_args"]["model_args"][key]
    splits = dict.fromkeys(("train_split", "val_split", "test_split"))
    file = config(chips, tmp_path, model, label={"classes": 2}, task="classification", index="index.csv", **splits)
    cli = run("fit", "--config", str(file))
    assert np.isfinite(float(cli.trainer.callback_metrics["val/loss"]))


def test_stock_embeddings_lie_on_the_ground_that_the_encoder_saw(chips: Path, tmp_path: Path) -> None:
    arguments = {
        "model_args": thor(),
        "output_dir": str(tmp_path / "embeddings"),
        "output_format": "tiff",
        "layers": [-1],
    }
    model = {"class_path": "terratorch.tasks.EmbeddingGenerationTask", "init_args": arguments}
    file = config(chips, tmp_path, model, test_split=None)
    run("predict", "--config", str(file), "--predict_output_dir", str(tmp_path / "unused"))
    files = sorted((tmp_path / "embeddings").rglob("*.tif"))
    assert [path.name for path in files] == [f"chip{i}_embedding.tif" for i in range(6)]
    for i, path in enumerate(files):
        with rasterio.open(path) as out:
            assert out.crs.to_epsg() == 32631
            assert out.shape == (9, 9)  # 70 px are padded to 72, patches of 8
            # One pixel of border on each side; in float64, where TerraTorch's own modules round to float32.
            assert out.transform == rasterio.Affine(80, 0, UTM[0] + 1000 * i - 10, 0, -80, UTM[1] + 10)
            assert np.isfinite(out.read()).all()
