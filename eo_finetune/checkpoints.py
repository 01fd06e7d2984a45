"""Checkpoints that know how they were made."""

from __future__ import annotations

from collections.abc import Mapping
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
#: Arguments of models and backbones that name weights, and what asks for none.
_WEIGHTS = {f"{part}pretrained": False for part in ("", "backbone_")} | {
    f"{part}{name}": None for part in ("", "backbone_") for name in ("ckpt", "ckpt_path")
}
#: Backbones that load published weights unless they are told not to.
_ASK_UNASKED = ("thor_v1_", "anysat_", "MultiBackboneWrapper", "terratorch_thor_v1_", "terratorch_anysat_")


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
        checkpoint["hyper_parameters"] = with_own_weights(kept)


def with_own_weights(task: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a task so that its model is built without other weights than those of a checkpoint."""
    model = task.get("model_args")
    if not isinstance(model, dict):
        return dict(task)
    asked = {"backbone_pretrained": False} if str(model.get("backbone")).startswith(_ASK_UNASKED) else {}
    if task.get("model_factory") == "SMPModelFactory":
        asked = {"pretrained": False}
    return dict(task) | {"model_args": _without_weights(model) | asked}


def _without_weights(arguments: Any) -> Any:  # noqa: ANN401
    if isinstance(arguments, list):
        return [_without_weights(entry) for entry in arguments]
    if not isinstance(arguments, dict):
        return arguments
    return {key: _WEIGHTS[key] if key in _WEIGHTS else _without_weights(value) for key, value in arguments.items()}
