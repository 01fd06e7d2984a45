"""What the run that a data module is part of says about the batches that it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from eo_data.dataset.consistency import accepts_extra_keywords


@dataclass(frozen=True)
class Run:
    """The run of a trainer.

    Parameters
    ----------
    trainer : Trainer or None
        ``None`` where a data module is used by itself.
    """

    trainer: Trainer | None

    @property
    def task(self) -> LightningModule | None:
        """The task that is run, if there is one."""
        return None if self.trainer is None else self.trainer.lightning_module

    @property
    def processes(self) -> int:
        """Number of processes that share the batches."""
        return 1 if self.trainer is None else int(self.trainer.world_size)

    @property
    def epoch(self) -> int:
        """Number of training epochs that lie behind."""
        if self.trainer is None:
            return 0
        # As Lightning sets it; when a run goes on, current_epoch is still that of before.
        progress: Any = self.trainer.fit_loop.epoch_progress.current
        return int(progress.processed)

    @property
    def infers_by_tiles(self) -> bool:
        """Whether TerraTorch's task cuts images into tiles, which drops all but tensors of the images' size."""
        return bool(getattr(self.task, "tiled_inference_parameters", None))

    @property
    def takes_georeference(self) -> bool:
        """Whether further entries of a batch do no harm: a callback takes them out, or the model accepts any."""
        callbacks = [] if self.trainer is None else self.trainer.callbacks  # type: ignore[attr-defined]
        kept = any(getattr(callback, "keeps_georeference", False) for callback in callbacks)
        return kept or accepts_extra_keywords(self.task)
