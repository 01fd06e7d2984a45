"""A callback that tells when the first batch is encoded."""

from __future__ import annotations

import json
import time
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer


class TellsFirstBatch(Callback):
    """Writes the time to a file when the first batch of ``predict`` is done.

    Parameters
    ----------
    file : str
        JSON file to write.
    """

    def __init__(self, file: str) -> None:
        self.file = Path(file)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int, *_: object
    ) -> None:
        """Write it once."""
        if batch_idx == 0:
            self.file.write_text(json.dumps({"first": time.time()}), encoding="utf-8")
