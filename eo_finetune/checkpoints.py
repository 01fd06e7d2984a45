"""Checkpoints that know how they were made."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from eo_data.run_config import config_text

#: Where the config stands in a checkpoint.
CONFIG = "config"
#: Arguments of a task that say how to infer, not what was trained: the config of the day decides about them.
_INFERENCE = (
    "output_on_inference",
    "output_most_probable",
    "tiled_inference_parameters",
    "tiled_inference_on_testing",
    "tiled_inference_on_validation",
    "plot_on_val",
    "path_to_record_metrics",
)


class BestCheckpoint(ModelCheckpoint):
    """Keep ``best.ckpt`` and ``last.ckpt`` in the folder of the run, each with the whole config.

    Lightning's command line puts the arguments that a checkpoint holds above those of a config. So that this does no
    harm, the checkpoint does not ask for published weights again (it has its own), and what says only how to infer
    (tiles, kind of output) is left out of it.

    Parameters
    ----------
    monitor : str
        Metric that decides.
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
        mode: str = "max",
        dirpath: str | None = None,
        filename: str = "best",
        **arguments: Any,  # noqa: ANN401
    ) -> None:
        settings = {"save_last": True, "enable_version_counter": False, "auto_insert_metric_name": False} | arguments
        super().__init__(dirpath=dirpath, filename=filename, monitor=monitor, mode=mode, **settings)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the folder."""
        if self.dirpath is None:
            self.dirpath = trainer.default_root_dir
        super().setup(trainer, pl_module, stage)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the config, and leave out of the arguments what must not override a later one."""
        if (text := config_text(trainer)) is not None:
            checkpoint[CONFIG] = text
        arguments = checkpoint.get("hyper_parameters")
        if not arguments:
            return
        kept = {key: value for key, value in arguments.items() if key not in _INFERENCE}
        if isinstance(model := kept.get("model_args"), dict) and "backbone_pretrained" in model:
            kept["model_args"] = model | {"backbone_pretrained": False}
        checkpoint["hyper_parameters"] = kept
