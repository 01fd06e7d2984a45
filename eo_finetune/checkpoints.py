"""Checkpoints that know how they were made."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from eo_core.config import config_text
from eo_core.files import PARTIAL
from eo_finetune.guard import guard
from eo_models.registry import find_encoder
from eo_models.weights.checkpoints import CheckpointError, read_file

#: Where the config stands in a checkpoint.
CONFIG = "config"
#: Arguments of a task that say how to infer, not what was trained: the config of the run that predicts decides on them.
_INFERENCE = (
    "output_on_inference",
    "output_most_probable",
    "tiled_inference_parameters",
    "tiled_inference_on_testing",
    "tiled_inference_on_validation",
    "plot_on_val",
    "path_to_record_metrics",
)
#: Arguments of models and backbones that name weights, and what asks for none.
_WEIGHTS = {f"{part}pretrained": False for part in ("", "backbone_")} | {
    f"{part}{name}": None for part in ("", "backbone_") for name in ("ckpt", "ckpt_path")
}


class BestCheckpoint(ModelCheckpoint):
    """Keep ``best.ckpt`` and ``last.ckpt`` in the folder of the run, each with the whole config.

    Checkpoints of another config that are there already are kept under another name; those of the same config are
    replaced. A run that is killed while it writes leaves the checkpoint of before, and weights that are not finite are
    not loaded (`eo_models.weights.checkpoint_io`). It brings `RunGuard` along.

    On Lightning's command line, the arguments in a checkpoint win over those of a config. The checkpoint therefore does
    not ask for published weights again (it has its own), and holds no arguments that only say how to infer (tiles, kind
    of output).

    Parameters
    ----------
    monitor : str
        Metric by which the best epoch is chosen.
    mode : {'max', 'min'}
        Whether more of it is better.
    dirpath : str, optional
        Folder; the trainer's ``default_root_dir`` by default.
    filename : str
        Name of the best checkpoint, without suffix.
    **arguments
        As for Lightning's ``ModelCheckpoint``.
    """

    def __init__(
        self,
        monitor: str = "val/mIoU",
        mode: Literal["max", "min"] = "max",
        dirpath: str | None = None,
        filename: str = "best",
        **arguments: Any,  # noqa: ANN401
    ) -> None:
        settings = {"save_last": True, "enable_version_counter": False, "auto_insert_metric_name": False} | arguments
        super().__init__(dirpath=dirpath, filename=filename, monitor=monitor, mode=mode, **settings)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the folder, and guard the run."""
        if self.dirpath is None:
            self.dirpath = trainer.default_root_dir
        super().setup(trainer, pl_module, stage)
        guard(trainer, pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make room, unless the run goes on from a checkpoint or is a trial that saves none."""
        saves = not trainer.fast_dev_run  # type: ignore[attr-defined]
        if saves and trainer.global_step == 0 and trainer.is_global_zero:
            kept = _set_aside(Path(str(self.dirpath)), (f"{self.filename}.ckpt", "last.ckpt"), config_text(trainer))
            for left in Path(str(self.dirpath)).glob(f"{PARTIAL}*.ckpt"):  # by a run that was killed
                left.unlink()
            if kept:
                msg = f"{self.dirpath} held checkpoints of another config. They are now called {', '.join(kept)}."
                warnings.warn(msg, stacklevel=2)
        super().on_train_start(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the config, and remove the arguments that must not override those of a later config."""
        if (text := config_text(trainer)) is not None:
            checkpoint[CONFIG] = text
        arguments = checkpoint.get("hyper_parameters")
        if not arguments:
            return
        kept = {key: value for key, value in arguments.items() if key not in _INFERENCE}
        checkpoint["hyper_parameters"] = with_own_weights(kept)


def _set_aside(folder: Path, names: Sequence[str], config: str | None) -> list[str]:
    """Rename the checkpoints of another config, all with the same free number; return the new names."""
    there = [name for name in names if (folder / name).is_file()]
    if not there or (config is not None and all(_config_in(folder / name) == config for name in there)):
        return []
    number = 1
    while any((folder / _numbered(name, number)).exists() for name in there):
        number += 1
    for name in there:
        (folder / name).rename(folder / _numbered(name, number))
    return [_numbered(name, number) for name in there]


def _numbered(name: str, number: int) -> str:
    return f"{Path(name).stem}-{number}{Path(name).suffix}"


def _config_in(file: Path) -> object:
    try:
        _, content = read_file(file)
    except CheckpointError:
        return None
    return content.get(CONFIG) if isinstance(content, Mapping) else None


def with_own_weights(task: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a task so that its model is built without other weights than those of a checkpoint."""
    model = task.get("model_args")
    if not isinstance(model, dict):
        return dict(task)
    backbone = model.get("backbone")
    encoder = find_encoder(backbone) if isinstance(backbone, str) else None
    asked = {"backbone_pretrained": False} if encoder is not None and encoder.pretrained_by_default else {}
    if task.get("model_factory") == "SMPModelFactory":
        asked = {"pretrained": False}
    return dict(task) | {"model_args": _without_weights(model) | asked}


def _without_weights(arguments: Any) -> Any:  # noqa: ANN401
    if isinstance(arguments, list):
        return [_without_weights(entry) for entry in arguments]
    if not isinstance(arguments, dict):
        return arguments
    return {key: _WEIGHTS[key] if key in _WEIGHTS else _without_weights(value) for key, value in arguments.items()}
