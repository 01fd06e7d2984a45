"""The time until a first embedding is there, by `embed` and by ``terratorch predict``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from export_runs.asked import Asked
from export_runs.chips import BANDS


def embed_one(chip: str, size: str) -> None:
    """Embed one chip as a user does, and print when it was done."""
    from eo_embed import embed

    imported = time.time()
    stated = {"sensor": "sentinel2_l1c", "unit": "digital_number", "offset": 0}
    numbers = len(embed(f"thor_v1_{size}", chip, pretrained=False, device="cpu", **stated).vector)
    print(json.dumps({"imported": imported, "first": time.time(), "numbers": numbers}))


def predict_config(asked: Asked, told: Path) -> dict[str, Any]:
    """Return a config of ``terratorch predict`` that writes to ``told`` when its first batch is encoded."""
    image = {"files": "{id}.tif", "sensor": "sentinel2_l1c", "bands": list(BANDS), "unit": "digital_number"}
    loading = {"batch_size": asked.batch, "num_workers": asked.workers, "dates_as": "none"}
    preprocess = {"class_path": "thor_terratorch_ext.ThorPreprocess", "init_args": {"patch_size": 8}}
    backbone = {"pretrained": False, "model_bands": list(BANDS), "input_gsd": 10}
    model = {"backbone": f"thor_v1_{asked.size}", "backbone_args": backbone, "out": asked.out, "output": asked.output}
    return {
        "seed_everything": 0,
        "trainer": {
            "accelerator": "cpu",
            "logger": False,
            "enable_progress_bar": False,
            "default_root_dir": f"{asked.out}_logs",
            "callbacks": [{"class_path": "export_runs.telling.TellsFirstBatch", "init_args": {"file": str(told)}}],
        },
        "data": {
            "class_path": "eo_data.datamodules.ChipDataModule",
            "init_args": {"root": asked.chips, "modalities": {"S2": image}, "preprocess": preprocess, **loading},
        },
        "model": {"class_path": "eo_embed.EmbeddingTask", "init_args": model},
    }


if __name__ == "__main__":
    embed_one(sys.argv[1], sys.argv[2])
