"""Pictures of what a model learns: image, label, prediction and errors, in the logger and as files."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from matplotlib.figure import Figure

from eo_core.files import write_file
from eo_finetune.panels.drawable import MapSample, SceneSample
from eo_finetune.panels.figure import regression_figure, scene_figure, segmentation_figure
from eo_finetune.panels.samples import (
    NotDrawableError,
    batch_size,
    class_names,
    first_of_batch,
    predicted,
    sample_name,
    sample_of,
    share_of_batch,
)
from eo_finetune.panels.views import View, views_of, views_of_batch

_DPI = 200
#: Characters of a file name.
_LONGEST = 150


class PredictionPanels(Callback):
    """Draws samples with label, prediction and errors, for segmentation, regression and classification.

    During ``fit`` and ``validate`` the pictures go to every logger that takes figures (TensorBoard, MLflow, Weights &
    Biases); after ``test``, to PNG files. The samples are always the same, spread over all batches, so that one can
    watch the model learn. They are predicted once more, as the task evaluates them (by tiles if it does), which changes
    neither metrics nor gradients nor random numbers.

    Parameters
    ----------
    samples : int
        Number of samples from each data loader.
    every_n_epochs : int
        Draw in each n-th epoch of ``fit``. In TensorBoard, a picture takes about half a megabyte.
    folder : str, optional
        Where PNG files go; ``panels`` below the trainer's ``default_root_dir`` by default.
    rgb : list, or dict of lists by modality, optional
        Bands to show instead of red, green and blue: three, or one for grey. With a dict, exactly these modalities
        are shown; otherwise an optical one and the first polarisation of a radar. Channel numbers (from 0) where the
        data module does not name its bands.

    Raises
    ------
    ValueError
        For numbers below one; when a run starts, for bands that are not there.
    """

    def __init__(
        self,
        samples: int = 8,
        every_n_epochs: int = 1,
        folder: str | None = None,
        rgb: dict[str, list[str | int]] | list[str | int] | None = None,
    ) -> None:
        for name, value in (("samples", samples), ("every_n_epochs", every_n_epochs)):
            if value < 1:
                msg = f"{name} must be at least 1, got {value}."
                raise ValueError(msg)
        self.samples, self.every_n_epochs = samples, every_n_epochs
        self.folder = None if folder is None else Path(folder)
        self.rgb = rgb
        self._views: tuple[View, ...] = ()
        self._taken: dict[int, list[MapSample | SceneSample]] = {}
        self._seen: dict[int, int] = {}
        self._warned = False
        self._due = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Choose the bands to show.

        Raises
        ------
        ValueError
            If ``rgb`` names a modality or band that is not there.
        """
        self._views = views_of(_datamodule(trainer), self.rgb)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the last epoch, and decide whether this one is drawn."""
        self._taken, self._seen = {}, {}
        due = trainer.state.fn != "fit" or trainer.current_epoch % self.every_n_epochs == 0
        wanted = (
            any(_picture_of(logger) for logger in trainer.loggers)
            and not trainer.sanity_checking
            and not _trial(trainer)
        )
        # Only the first process has real loggers, and all have to agree.
        self._due = trainer.strategy.broadcast(due and wanted)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the last epoch."""
        self._taken, self._seen = {}, {}
        self._due = not _trial(trainer)

    # Before the step: with `plot_on_val`, TerraTorch's steps take the batch apart.

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Predict the chosen samples of a batch."""
        if self._due:
            self._take(trainer, pl_module, batch, (batch_idx, trainer.num_val_batches[dataloader_idx]), dataloader_idx)

    def on_test_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Predict the chosen samples of a batch."""
        if self._due:
            self._take(trainer, pl_module, batch, (batch_idx, trainer.num_test_batches[dataloader_idx]), dataloader_idx)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hand the pictures to the loggers."""
        if trainer.is_global_zero and self._due:
            for name, figure in self._figures(pl_module, "validation"):
                _log(trainer, name, figure)
        self._taken = {}

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the pictures."""
        if trainer.is_global_zero and self._due:
            folder = self.folder or Path(trainer.default_root_dir) / "panels"
            drawn = 0
            for name, figure in self._figures(pl_module, "test"):
                write_file(folder / f"{_file_name(name)}.png", partial(figure.savefig, format="png", dpi=_DPI))
                drawn += 1
            if drawn:
                rank_zero_info(f"{drawn} pictures of test samples are in {folder}")
        self._taken = {}

    def _take(
        self,
        trainer: Trainer,
        module: LightningModule,
        batch: object,
        position: tuple[int, int | float],
        loader: int,
    ) -> None:
        if not isinstance(batch, Mapping):
            return
        size = batch_size(batch)
        wanted = share_of_batch(self.samples, *position) - self._seen.get(loader, 0)
        count = min(wanted, size)
        if count < 1:
            return
        first = self._seen.get(loader, 0)
        self._seen[loader] = first + count
        part = first_of_batch(batch, count, size)
        output = predicted(trainer, module, part)  # on all ranks, as the weights may be spread over them
        if trainer.is_global_zero:
            views = self._views or views_of_batch(part.get("image"), _datamodule(trainer))
            taken = self._taken.setdefault(loader, [])
            for i in range(count):
                name = sample_name(part, i, first + i, getattr(_datamodule(trainer), "root", None))
                try:
                    taken.append(sample_of(module, part, output, i, name, views))
                except NotDrawableError as error:
                    self._skip(name, error)

    def _skip(self, name: str, reason: NotDrawableError) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(f"No picture of {name}: {reason} Further ones are left out without a warning.", stacklevel=2)

    def _figures(self, module: LightningModule, stage: str) -> list[tuple[str, Figure]]:
        """Names, which stay the same in each epoch, and figures."""
        figures: list[tuple[str, Figure]] = []
        for loader, samples in sorted(self._taken.items()):
            several = f"{loader}-" if len(self._taken) > 1 else ""
            maps = [sample for sample in samples if isinstance(sample, MapSample)]
            scenes = [sample for sample in samples if isinstance(sample, SceneSample)]
            for i, sample in enumerate(maps):
                regression = np.issubdtype(sample.prediction.dtype, np.floating)
                figure = regression_figure(sample) if regression else segmentation_figure(sample, _names(module, maps))
                figures.append((f"{several}{i:02d} {sample.name}", figure))
            if scenes:
                figures.append((f"{several}{stage}", scene_figure(scenes, f"{stage} samples")))
        return figures


def _names(module: LightningModule, samples: Sequence[MapSample]) -> list[str]:
    highest = max(max(int(s.label[~s.ignored].max(initial=0)), int(s.prediction.max(initial=0))) for s in samples)
    return class_names(module, max(highest + 1, 2))


def _datamodule(trainer: Trainer) -> object:
    return getattr(trainer, "datamodule", None)


def _file_name(name: str) -> str:
    """Only characters that every file system takes; long names keep their number and their end."""
    clean = re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII)
    return clean if len(clean) <= _LONGEST else f"{clean[:8]}..{clean[10 - _LONGEST :]}"


def _trial(trainer: Trainer) -> bool:
    return bool(getattr(trainer, "fast_dev_run", False))


def _picture_of(logger: object) -> str | None:
    """Return the method by which a logger takes figures; the choice is that of TerraTorch's own plots."""
    experiment = getattr(logger, "experiment", None)
    if hasattr(experiment, "add_figure"):
        return "add_figure"
    if hasattr(experiment, "log_figure") and hasattr(logger, "run_id"):
        return "log_figure"
    return "log_image" if hasattr(logger, "log_image") else None


def _log(trainer: Trainer, name: str, figure: Figure) -> None:
    for logger in trainer.loggers:
        given: Any = logger
        kind = _picture_of(logger)
        if kind == "add_figure":
            given.experiment.add_figure(f"panels/{name}", figure, global_step=trainer.global_step)
        elif kind == "log_figure":
            file = f"panels/{_file_name(name)}/epoch_{trainer.current_epoch:04d}.png"
            given.experiment.log_figure(given.run_id, figure, file)
        elif kind == "log_image":
            given.log_image(key=f"panels/{name}", images=[figure], caption=[f"epoch {trainer.current_epoch}"])
