"""Does each recipe learn a handful of real tiles by heart? That proves gradients, labels and metrics.

    python benchmarks/overfit.py ../shared/data                       # all recipes of Sen1Floods11 and TerraMesh
    python benchmarks/overfit.py ../shared/data sen1floods11_thor_S1  # one

Each config is used as it is, but for: the smallest encoder with random weights, tiles of 64 px cut out of the real
chips, no augmentation, and a learning rate for weights that are not pre-trained. Frozen encoders stay frozen, so these
recipes show what their decoders can do with random features, which come from `FrozenFeatureCache`; a linear probe needs
as many features as the recipe gives it, and an optimizer that solves a convex problem (`--size same --lbfgs`). A run
ends at a training mIoU above 0.9, or after `--epochs`.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from rasterio.windows import Window

from eo_core.config import read_config

CONFIGS = Path(__file__).parent.parent / "config"
SIDE = 64
#: Folders of both data sets, the end of a file's name, and where each config expects them.
FLOODS = {"S1GRDHand": "_S1Hand.tif", "S2L1CHand": "_S2Hand.tif", "LabelHand": "_LabelHand.tif"}
COVER = {"S1RTC": ".tif", "S2L2A": ".tif", "LULC": ".tif"}
SMALLEST = {f"{kind}_base": f"{kind}_tiny" for kind in ("thor_v1", "anysat", "universat")}


class TrainableOnly(Callback):
    """Take frozen parameters out of the optimizer: L-BFGS keeps vectors of the length of all that it is given."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Before the first step."""
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["params"][:] = [parameter for parameter in group["params"] if parameter.requires_grad]


def windows(label: Path, count: int) -> Iterator[Window]:
    """The tiles of a label where its classes are most even."""
    with rasterio.open(label) as file:
        values = file.read(1)
    found = []
    for row in range(0, values.shape[0] - SIDE + 1, SIDE):
        for column in range(0, values.shape[1] - SIDE + 1, SIDE):
            own = values[row : row + SIDE, column : column + SIDE]
            seen, sizes = np.unique(own[own >= 0], return_counts=True)
            share = sizes / max(sizes.sum(), 1)
            found.append((float(-(share * np.log(share)).sum()) if len(seen) else -1, row, column))
    yield from (Window(column, row, SIDE, SIDE) for _, row, column in sorted(found, reverse=True)[:count])


def cut(source: Path, target: Path, folders: dict[str, str], chips: dict[str, int], inside: str) -> list[str]:
    """Cut tiles out of chips, in every folder that has them."""
    ids = []
    label_folder, label_end = list(folders.items())[-1]
    for chip, count in chips.items():
        for window in windows(source / inside / label_folder / f"{chip}{label_end}", count):
            ids.append(f"{chip}_r{window.row_off}_c{window.col_off}")
            for folder, end in folders.items():
                with rasterio.open(source / inside / folder / f"{chip}{end}") as file:
                    profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "crs": file.crs, "nodata": file.nodata}
                    profile |= {"count": file.count, "dtype": file.dtypes[0]}
                    profile["transform"] = file.window_transform(window)
                    out = target / inside / folder / f"{ids[-1]}{end}"
                    out.parent.mkdir(parents=True, exist_ok=True)
                    with rasterio.open(out, "w", **profile) as written:
                        written.write(file.read(window=window))
    return ids


def prepare(data: Path, folder: Path, name: str) -> Path:
    """Cut the tiles that a config can use, with its split files; return their folder."""
    folder.mkdir()
    if name.startswith("terramesh"):
        chips = {file.stem: 3 for file in sorted((data / "terramesh" / "LULC").glob("*.tif"))}
        ids = cut(data / "terramesh", folder, COVER, chips, "")
        splits = ("train", "val")
    else:
        floods = data / "sen1floods11_v1.1"
        radar = name.endswith("_S1")
        parts = {key: end for key, end in FLOODS.items() if not (radar and key == "S2L1CHand")}
        stems = [file.name.removesuffix("_S1Hand.tif") for file in sorted((floods / "data/S1GRDHand").glob("*.tif"))]
        chips = dict.fromkeys(stems, 1) if radar else {"Spain_7370579": 4}
        ids = cut(floods, folder, parts, chips, "data")
        events = "Sen1Floods11_Metadata.geojson"
        (folder / events).write_bytes((floods / events).read_bytes())
        splits = ("flood_train_data", "flood_valid_data", "flood_test_data")
    (folder / "splits").mkdir()
    for split in splits:
        (folder / "splits" / f"{split}.txt").write_text("\n".join(ids) + "\n")
    return folder


def smallest(node: Any) -> Any:  # noqa: ANN401
    """Put the smallest encoder in the place of each large one."""
    if isinstance(node, dict):
        return {key: smallest(value) for key, value in node.items()}
    if isinstance(node, list):
        return [smallest(value) for value in node]
    return SMALLEST.get(node, node) if isinstance(node, str) else node


def adapt(
    name: str, root: Path, out: Path, epochs: int, rate: float, *, size: str = "tiny", lbfgs: bool = False
) -> Path:
    """Write the config that runs here."""
    config = read_config(CONFIGS / f"{name}.yaml")
    data, model = config["data"]["init_args"], config["model"]["init_args"]
    data |= {"root": str(root), "num_workers": 0, "batch_size": 8}
    data.pop("train_transform", None)
    if size == "tiny":
        model["model_args"] = smallest(model["model_args"])
    model["model_args"]["pretrained" if "model" in model["model_args"] else "backbone_pretrained"] = False
    model["lr"] = rate
    if lbfgs:
        model |= {"optimizer": "LBFGS", "lr": 1.0}
        model["optimizer_hparams"] = {"line_search_fn": "strong_wolfe", "history_size": 20, "max_iter": 20}
    model |= {"scheduler": None, "scheduler_hparams": None}
    for key in ("tiled_inference_parameters", "tiled_inference_on_validation", "tiled_inference_on_testing"):
        model.pop(key, None)
    stop = {"monitor": "train/mIoU", "mode": "max", "stopping_threshold": 0.9, "patience": epochs}
    stop |= {"check_on_train_epoch_end": True}
    config["trainer"] = {
        "accelerator": "auto",
        "max_epochs": epochs,
        "log_every_n_steps": 1,
        "limit_val_batches": 0,
        "num_sanity_val_steps": 0,
        "default_root_dir": str(out),
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "logger": [{"class_path": "CSVLogger", "init_args": {"save_dir": str(out), "name": "log"}}],
        "callbacks": [{"class_path": "EarlyStopping", "init_args": stop}],
    }
    if lbfgs:
        config["trainer"]["callbacks"].append({"class_path": f"{__name__}.TrainableOnly"})
    if model.get("freeze_backbone"):
        cache = {"class_path": "eo_finetune.FrozenFeatureCache", "init_args": {"folder": str(out / "features")}}
        config["trainer"]["callbacks"].append(cache)
    file = out / f"{name}.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    return file


def history(out: Path, key: str) -> list[float]:
    """Values of a metric by epoch."""
    with next(out.glob("log/version_*/metrics.csv")).open(newline="") as file:
        return [float(row[key]) for row in csv.DictReader(file) if row.get(key)]


def main() -> None:
    """Run the recipes and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with sen1floods11_v1.1 and terramesh")
    parser.add_argument("names", nargs="*", help="configs; by default all of these two data sets")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--lbfgs", action="store_true", help="for a linear head on a frozen encoder")
    parser.add_argument("--size", choices=("tiny", "same"), default="tiny", help="of the encoder")
    given = parser.parse_args()
    from terratorch.cli_tools import build_lightning_cli

    warnings.simplefilter("ignore")
    every = sorted(f.stem for f in CONFIGS.glob("*.yaml") if "sen1floods11" in f.stem or "terramesh" in f.stem)
    names = given.names or [name for name in every if not name.startswith("embed")]
    print(f"{'config':40} {'epochs':>6} {'seconds':>8} {'loss':>15} {'train mIoU':>10}")
    for name in names:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            root = prepare(given.data, folder / "tiles", name)
            file = adapt(name, root, folder, given.epochs, given.rate, size=given.size, lbfgs=given.lbfgs)
            started = time.perf_counter()
            build_lightning_cli(["fit", "--config", str(file)])
            took = time.perf_counter() - started
            loss, score = history(folder, "train/loss"), history(folder, "train/mIoU")
        print(f"{name:40} {len(score):6} {took:8.0f} {loss[0]:6.3f} -> {loss[-1]:5.3f} {max(score):10.3f}", flush=True)


if __name__ == "__main__":
    main()
