"""Water from Sentinel-1 in a country that was not trained on: recipes of this project against simple rules.

    python benchmarks/leave_one_country_out.py ../shared/data

Four chips of Sen1Floods11 from four countries: three to learn from, one to test, in turn, and all confusion matrices
added up. Encoders and U-Net start from random weights (there are no published ones here), in the config's own pipeline
but for tiles of 128 px, one learning rate and the number of epochs. The rules are: no water, and VV or VH below a
threshold that is best on the three training chips, pixel by pixel or after a mean of 5 x 5 pixels.

Four chips are few. This shows that the pipeline learns what carries over, not which model is better.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import rasterio
import torch
import yaml
from rasterio.windows import Window
from scipy.ndimage import uniform_filter

from eo_core.config import read_config

CONFIGS = Path(__file__).parent.parent / "config"
SIDE = 128
THRESHOLDS = np.arange(-30, -5, 0.25)
ENDS = {"S1GRDHand": "_S1Hand.tif", "LabelHand": "_LabelHand.tif"}


def confusion(predicted: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Pixels by label (rows) and prediction (columns), without those that have no label."""
    known = label >= 0
    return np.bincount(2 * label[known].astype(int) + predicted[known].astype(int), minlength=4).reshape(2, 2)


def scores(matrix: np.ndarray) -> tuple[float, float, float]:
    """IoU of land and of water, and their mean."""
    hits = np.diag(matrix).astype(float)
    union = matrix.sum(0) + matrix.sum(1) - hits
    iou = hits / np.maximum(union, 1)
    return float(iou[0]), float(iou[1]), float(iou.mean())


def threshold_rule(images: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], test: str) -> np.ndarray:
    """Confusion on one chip of the threshold that is best on the others."""
    others = [chip for chip in images if chip != test]

    def total(threshold: float) -> float:
        return scores(sum(confusion(images[c] < threshold, labels[c]) for c in others))[2]  # type: ignore[arg-type]

    best = max(THRESHOLDS, key=total)
    return confusion(images[test] < best, labels[test])


def write_tiles(data: Path, folder: Path, chips: list[str], test: str) -> None:
    """Cut the training chips in tiles; the test chip stays whole."""
    names: dict[str, list[str]] = {"train": [], "test": [test]}
    for chip in chips:
        side = 512 if chip == test else SIDE
        for row in range(0, 512, side):
            for column in range(0, 512, side):
                name = chip if chip == test else f"{chip}_r{row}_c{column}"
                if chip != test:
                    names["train"].append(name)
                for kind, end in ENDS.items():
                    window = Window(column, row, side, side)
                    with rasterio.open(data / "data" / kind / f"{chip}{end}") as file:
                        profile = {"driver": "GTiff", "width": side, "height": side, "count": file.count}
                        profile |= {"dtype": file.dtypes[0], "crs": file.crs, "nodata": file.nodata}
                        out = folder / "data" / kind / f"{name}{end}"
                        out.parent.mkdir(parents=True, exist_ok=True)
                        with rasterio.open(out, "w", transform=file.window_transform(window), **profile) as written:
                            written.write(file.read(window=window))
    events = "Sen1Floods11_Metadata.geojson"
    (folder / events).write_bytes((data / events).read_bytes())
    (folder / "splits").mkdir()
    for split, key in (("train", "train"), ("valid", "test"), ("test", "test")):
        (folder / "splits" / f"flood_{split}_data.txt").write_text("\n".join(names[key]) + "\n")


def learn(name: str, folder: Path, epochs: int, rate: float, patch: int, seed: int) -> tuple[np.ndarray, int]:
    """Train a recipe on a fold; return its confusion on the test chip and its number of parameters."""
    from terratorch.cli_tools import build_lightning_cli

    config = read_config(CONFIGS / f"{name}.yaml")
    data, model = config["data"]["init_args"], config["model"]["init_args"]
    data |= {"root": str(folder), "num_workers": 0, "batch_size": 8}
    data["train_transform"] = [{"class_path": "albumentations.D4"}]
    arguments = model["model_args"]
    if arguments["backbone"].startswith("thor"):
        arguments |= {"backbone": "thor_v1_tiny", "backbone_pretrained": False, "decoder_channels": 64}
        arguments["backbone_input_params"] = {"flexivit_patch_size_seqs": [patch]}
        arguments["decoder_num_convs"] = int(np.log2(patch))
        data["preprocess"]["init_args"]["patch_size"] = patch
    config["seed_everything"] = seed
    model["lr"] = rate
    model["tiled_inference_parameters"] = {"crop": SIDE, "stride": SIDE // 2}
    config["trainer"] = {
        "accelerator": "auto",
        "max_epochs": epochs,
        "logger": False,
        "callbacks": [],
        "limit_val_batches": 0,
        "num_sanity_val_steps": 0,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "default_root_dir": str(folder),
    }
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    cli = build_lightning_cli(["--config", str(file)], run=False)
    cli.trainer.fit(cli.model, cli.datamodule)
    cli.model.eval()
    cli.datamodule.setup("test")
    total = np.zeros((2, 2), dtype=np.int64)
    with torch.no_grad():
        for batch in cli.datamodule.test_dataloader():
            label = batch.pop("mask").numpy()
            (predicted, _), _ = cli.model.predict_step(batch, 0)
            total += confusion(predicted.numpy(), label)
    return total, sum(parameter.numel() for parameter in cli.model.model.parameters())


def main() -> None:
    """Run all folds and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with sen1floods11_v1.1")
    parser.add_argument("--configs", nargs="*", default=["sen1floods11_thor_S1", "sen1floods11_unet_S1"])
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--patch", type=int, default=8, help="THOR's patch size in pixels, a power of two")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and turns")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    data = given.data / "sen1floods11_v1.1"
    chips = [file.name.removesuffix("_S1Hand.tif") for file in sorted((data / "data/S1GRDHand").glob("*.tif"))]
    images, labels = {}, {}
    for chip in chips:
        with rasterio.open(data / f"data/S1GRDHand/{chip}_S1Hand.tif") as file:
            images[chip] = file.read()
        with rasterio.open(data / f"data/LabelHand/{chip}_LabelHand.tif") as file:
            labels[chip] = file.read(1)
    folds: dict[str, dict[str, np.ndarray]] = {}
    folds["no water"] = {chip: confusion(np.zeros_like(labels[chip]), labels[chip]) for chip in chips}
    for band, name in enumerate(("VV", "VH")):
        raw = {chip: images[chip][band] for chip in chips}
        smooth = {chip: uniform_filter(np.nan_to_num(raw[chip]), 5) for chip in chips}
        folds[f"{name} threshold"] = {chip: threshold_rule(raw, labels, chip) for chip in chips}
        folds[f"{name} threshold, 5 x 5 mean"] = {chip: threshold_rule(smooth, labels, chip) for chip in chips}
    for name in given.configs:
        started, size = time.perf_counter(), 0
        own = {}
        for chip in chips:
            with tempfile.TemporaryDirectory() as temporary:
                write_tiles(data, Path(temporary), chips, chip)
                own[chip], size = learn(name, Path(temporary), given.epochs, given.rate, given.patch, given.seed)
        took = (time.perf_counter() - started) / len(chips)
        folds[f"{name} ({size / 1e6:.1f} M parameters, {took:.0f} s a fold)"] = own
    print("mIoU (IoU of water)".ljust(62) + "".join(f"{chip.split('_')[0]:>14}" for chip in chips) + f"{'pooled':>14}")
    for name, matrices in folds.items():
        pooled = sum(matrices.values())
        cells = [scores(matrix) for matrix in (*matrices.values(), pooled)]  # type: ignore[arg-type]
        print(name.ljust(62) + "".join(f"{mean:6.3f} ({water:.3f})" for _, water, mean in cells))


if __name__ == "__main__":
    main()
