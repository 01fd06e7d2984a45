"""Makes the exports of version 0.1 beside this file, as it did at commit 43bf902, before files moved into rooms.

``python export_0_1.py FOLDER`` with that version on the path writes ``data/`` (chips), ``thor/`` (interrupted after the
first of two batches) and ``anysat/`` (complete). `test_version_0_1.py` resumes them with the version under test.
"""

from __future__ import annotations

import contextlib
import os
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
import yaml
from lightning.pytorch import Callback

BANDS = ["BLUE", "GREEN", "RED", "NIR_BROAD"]
CHIPS = ("a/tile_20210304", "a/tile_20210314", "b/tile_20210304", "b/tile_20210324")
#: When all chips were last changed: an export notes it, and a copy of them has to say the same.
CHANGED = 1_600_000_000


class StopAfterFirstBatch(Callback):
    """Interrupts an export."""

    def on_predict_batch_end(self, *_: object) -> None:
        """Stop."""
        raise InterruptedError


def write_chips(folder: Path) -> None:
    """Four chips of 32 px whose values follow from their number."""
    rows, columns = np.mgrid[:32, :32]
    for number, chip in enumerate(CHIPS):
        path = folder / f"{chip}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.stack([1000 + 37 * band + 50 * number + 11 * rows * (band + 1) + 7 * columns for band in range(4)])
        profile: dict[str, Any] = {"count": 4, "height": 32, "width": 32, "dtype": "int16", "nodata": 0}
        transform = rasterio.transform.from_origin(500_000 + 320 * (number // 2), 5_000_000, 10, 10)
        with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32632", transform=transform, **profile) as file:
            file.write(pixels.astype(np.int16))
            file.descriptions = BANDS


def write_weights(backbone: torch.nn.Module, path: Path) -> None:
    """Weights that follow from the names of the parameters, by whole numbers alone, so that every machine has them."""
    filled = {}
    for name, tensor in backbone.state_dict().items():
        index = np.arange(tensor.numel(), dtype=np.uint64) * np.uint64(2654435761)
        index += np.uint64(zlib.crc32(name.encode()))
        values = (index % np.uint64(65536)).astype(np.float64) / 65536 - 0.5
        filled[name] = torch.from_numpy(values * 0.0625).to(tensor.dtype).reshape(tensor.shape)
    torch.save(filled, path)


def config(kind: str, weights: Path) -> dict[str, Any]:
    """Config of an export; paths are relative to the working folder."""
    if kind == "thor":
        preprocess = {"class_path": "thor_terratorch_ext.ThorPreprocess", "init_args": {"patch_size": 8}}
        backbone, arguments = "thor_v1_tiny", {"model_bands": BANDS, "input_gsd": 10}
        data_module, frames = "ChipDataModule", {}
        source: dict[str, Any] = {"files": "{id}.tif", "dated": True}
        task = {"output": "both", "dtype": "float16", "group_merge": "mean"}
    else:
        preprocess = {"class_path": "anysat_ext.AnySatPreprocess", "init_args": {"patch_size": 80, "image_size": None}}
        backbone, arguments = "anysat_tiny", {"modalities": ["s2"], "patch_size": 80}
        data_module, frames = "TimeSeriesDataModule", {"frames": {"mode": "all"}}
        names = "BLUE GREEN RED RED_EDGE_1 RED_EDGE_2 RED_EDGE_3 NIR_BROAD NIR_NARROW SWIR_1 SWIR_2"
        arguments |= {"bands": {"s2": names.split()}}
        # Bands that the chips do not have are read from others: what counts here is where the numbers go.
        source = {"files": "{id}/tile_*.tif"}
        source["substitutes"] = {
            "RED_EDGE_1": "RED",
            "RED_EDGE_2": "RED",
            "RED_EDGE_3": "RED",
            "NIR_NARROW": "NIR_BROAD",
        }
        source["substitutes"] |= {"SWIR_1": "NIR_BROAD", "SWIR_2": "NIR_BROAD"}
        task = {"output": "pooled"}
    bands = arguments["bands"]["s2"] if kind == "anysat" else BANDS
    source |= {"sensor": "sentinel2_l2a", "bands": bands, "unit": "digital_number", "file_bands": BANDS}
    data = {"root": "data", "batch_size": 2 if kind == "thor" else 1, "num_workers": 0, "modalities": {"s2": source}}
    data |= {"preprocess": preprocess, **frames} | ({"dates_as": "none"} if kind == "thor" else {})
    model = {
        "backbone": backbone,
        "backbone_args": {"pretrained": False, "ckpt": str(weights)} | arguments,
        "out": kind,
    }
    trainer = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "default_root_dir": "logs"}
    return {
        "seed_everything": 0,
        "trainer": trainer,
        "data": {"class_path": f"eo_data.datamodules.{data_module}", "init_args": data},
        "model": {"class_path": "eo_embed.EmbeddingTask", "init_args": model | task},
    }


def main(folder: Path) -> None:
    """Make the chips and both exports below a folder."""
    from terratorch.cli_tools import build_lightning_cli
    from terratorch.registry import BACKBONE_REGISTRY

    import anysat_ext  # noqa: F401  (registers)
    import thor_terratorch_ext  # noqa: F401  (registers)

    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    write_chips(Path("data"))
    for path in Path("data").rglob("*.tif"):
        os.utime(path, (CHANGED, CHANGED))
    for kind in ("thor", "anysat"):
        weights = Path(f"{kind}.pt")
        content = config(kind, weights)
        arguments = {k: v for k, v in content["model"]["init_args"]["backbone_args"].items() if k != "ckpt"}
        backbone = BACKBONE_REGISTRY.build(content["model"]["init_args"]["backbone"], **arguments)
        write_weights(backbone.model, weights)
        if kind == "thor":
            content["trainer"]["callbacks"] = [{"class_path": "export_0_1.StopAfterFirstBatch"}]
        Path(f"{kind}.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        with contextlib.suppress(InterruptedError):
            build_lightning_cli(["predict", "--config", f"{kind}.yaml"])


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
