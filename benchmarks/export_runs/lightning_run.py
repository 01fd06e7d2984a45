"""One export by a task of Lightning: ``lightning_run.py ours|stock JSON``. Ours, or TerraTorch's own; one data module.

What is timed is ``Trainer.predict``: finding and reading chips, encoding, writing, and whatever the task does at the
end. Imports and building the model come before.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything

import anysat_ext  # noqa: F401
import thor_terratorch_ext
from eo_data.datamodules import ChipDataModule, ImageSource
from eo_models.precision.callback import MatmulPrecision
from export_runs.asked import Asked, answer, cores_busy
from export_runs.chips import BANDS
from thor_terratorch_ext import ThorPreprocess


class EncoderClock:
    """Seconds inside a module's forward pass."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.seconds, self._begun = 0.0, 0.0
        module.register_forward_pre_hook(self._begin)
        module.register_forward_hook(self._end)

    def _begin(self, *_: object) -> None:
        self._begun = time.perf_counter()

    def _end(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._begun


def data_of(asked: Asked) -> ChipDataModule:
    """Return the data module that both tasks read."""
    image = ImageSource("{id}.tif", sensor="sentinel2_l1c", bands=list(BANDS), unit="digital_number")
    loading: dict[str, Any] = {"batch_size": asked.batch, "num_workers": asked.workers, "dates_as": "none"}
    preprocess = ThorPreprocess(patch_size=8)
    return ChipDataModule(root=asked.chips, modalities={"S2": image}, preprocess=preprocess, **loading)


def ours(asked: Asked) -> tuple[Any, torch.nn.Module]:
    """Return our task and its encoder."""
    from eo_embed import EmbeddingTask

    more: dict[str, Any] = {} if asked.precision == "default" else {"precision": asked.precision}
    arguments = {"pretrained": False, "model_bands": list(BANDS), "input_gsd": 10}
    more |= {"output": asked.output, "matmul": asked.matmul, "engine": asked.engine}
    task = EmbeddingTask(f"thor_v1_{asked.size}", arguments, asked.out, **more)
    return task, task.model.backbone


def stock(asked: Asked) -> tuple[Any, torch.nn.Module]:
    """Return TerraTorch's task and its encoder."""
    from terratorch.tasks import EmbeddingGenerationTask

    if asked.precision != "default":
        msg = f"TerraTorch's task has no precision of its own, got {asked.precision!r}; leave --precision out."
        raise ValueError(msg)
    model = {
        "backbone": f"thor_v1_{asked.size}",
        "backbone_pretrained": False,
        "backbone_model_bands": list(BANDS),
        "backbone_input_gsd": 10,
        "backbone_merge_method": "mean",
        "backbone_out_indices": [-1],
    }
    kind: dict[str, Any] = {"output_format": "tiff"}
    if asked.output == "pooled":
        kind = {"output_format": "parquet_joint", "embedding_pooling": "mean"}
    task = EmbeddingGenerationTask(model, asked.out, layers=[-1], **kind)
    return task, task.model.encoder


def exported(kind: str, asked: Asked) -> dict[str, float | None]:
    """Export, and return the seconds.

    Parameters
    ----------
    kind : {'ours', 'stock'}
        Whose task.
    asked : Asked
        What is exported.
    """
    seed_everything(0)
    thor_terratorch_ext.register()
    task, encoder = {"ours": ours, "stock": stock}[kind](asked)
    data, clock = data_of(asked), EncoderClock(encoder)
    own = [] if kind == "ours" else [MatmulPrecision(asked.matmul)]  # type: ignore[arg-type]
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(accelerator="cpu", callbacks=own, default_root_dir=f"{asked.out}_logs", **quiet)
    begun, used = time.perf_counter(), cores_busy()
    trainer.predict(task, datamodule=data, return_predictions=False)
    took = {"seconds": time.perf_counter() - begun, "core_s": cores_busy() - used}
    written = sum(path.stat().st_size for path in Path(asked.out).rglob("*") if path.is_file())
    encoder_s = clock.seconds if asked.engine == "pytorch" or kind == "stock" else None
    return {"items": len(asked.files), **took, "encoder_s": encoder_s, "written_mb": written / 1e6}


def main() -> None:
    """Export, and print the seconds."""
    answer(**exported(sys.argv[1], Asked.parse(sys.argv[2])))


if __name__ == "__main__":
    main()
