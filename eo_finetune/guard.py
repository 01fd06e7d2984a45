"""Runs that go wrong end with an error: a loss or an output that is no number, a stop signal."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import nn
from torch.utils.hooks import RemovableHandle

from eo_core.config import config_text
from eo_data.dataset.loading.split_loaders import explain_lost_worker
from eo_models.weights.checkpoint_io import CheckedCheckpointIO

OnNan = Literal["raise", "skip"]
#: How many samples an error names.
_NAMED = 16


class RunGuard(Callback):
    """End a run with an error that names the samples, rather than with weights, scores or maps that mean nothing.

    It stops training before a loss that is no finite number changes the weights; validation, test and prediction at an
    output of the model that is NaN or infinite, which becomes class 0 otherwise; and prediction at SIGTERM, which
    batch systems send. The exit code after SIGTERM is 143. When a process that reads the data is gone, the error says
    why, with any data module.

    On a command line it warns, before and after, of a validation, test or prediction without ``--ckpt_path``: the
    decoder has random weights then, and neither a table of metrics nor a map shows it. `eo run` refuses that.

    `BestCheckpoint` and `LabelMapWriter` bring it along; name it among the callbacks only to set an argument.

    Parameters
    ----------
    on_nan : {'raise', 'skip'}
        ``skip`` goes on training: a step whose gradients are not finite is left out, with a warning. So does validation
        within a training.
    untrained : bool
        Whether the weights that the model was built with are meant, so that there is nothing to warn of.

    Raises
    ------
    ValueError
        For another value.
    """

    def __init__(self, on_nan: OnNan = "raise", *, untrained: bool = False) -> None:
        if on_nan not in get_args(OnNan):
            msg = f"on_nan must be one of {', '.join(get_args(OnNan))}, got {on_nan!r}."
            raise ValueError(msg)
        self.on_nan = on_nan
        self.untrained = untrained
        self._fitted = self._random = False
        self._samples: list[str] = []
        self._hook: RemovableHandle | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that the weights are no longer those of the beginning."""
        self._fitted = True

    # The trainer knows its checkpoint only after `setup`.

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ask for trained weights, unless this is part of a training."""
        self._ask_for_weights(trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ask for trained weights."""
        self._ask_for_weights(trainer)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ask for trained weights."""
        self._ask_for_weights(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what scores are worth."""
        self._remind()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what scores are worth."""
        self._remind()

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what maps are worth."""
        self._remind()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int) -> None:
        """Note which samples the next step is made of."""
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._samples = []
        self._samples += _names(batch, batch_idx)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: torch.Tensor) -> None:
        """Look at the loss before it changes anything; one wait for the device a batch.

        Raises
        ------
        ValueError
            If it is NaN or infinite.
        """
        # A scaled loss of 16 bits may overflow: the scaler leaves such steps out itself.
        wrong = loss.isnan() if _scaler(trainer) else ~loss.isfinite()
        if self.on_nan == "skip" or not wrong.any():
            return
        msg = (
            f"The loss is {loss.detach().mean().item()} in epoch {trainer.current_epoch}, step {trainer.global_step}, "
            f"with the samples {_some(self._samples)}. {_where_from(pl_module)} The weights were not changed by it."
        )
        raise ValueError(msg)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Leave out a step whose gradients are not finite, under ``skip``; all processes have the same ones.

        Raises
        ------
        ValueError
            If the batch has spoilt what no step can repair, such as the running means of a batch norm.
        """
        weights = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        gradients = [parameter.grad for parameter in weights if parameter.grad is not None]
        if self.on_nan != "skip" or not gradients or _scaler(trainer):
            return
        if torch.nn.utils.get_total_norm(gradients, norm_type=torch.inf).isfinite():
            return
        for parameter in weights:
            parameter.grad = None
        samples = _some(self._samples)
        if spoilt := [name for name, value in pl_module.named_buffers() if value.isnan().any()]:
            msg = (
                f"The samples {samples} gave NaN or infinity, which are now in {', '.join(spoilt[:3])}: the run cannot "
                f"go on without them. {_where_from(pl_module)}"
            )
            raise ValueError(msg)
        warnings.warn(
            f"Step {trainer.global_step} is left out: its gradients are not finite (samples {samples}).", stacklevel=2
        )

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Watch the model's output."""
        fitting = trainer.state.fn == "fit"
        self._watch(pl_module, batch, batch_idx, only_warn=fitting and self.on_nan == "skip")

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Watch the model's output."""
        self._watch(pl_module, batch, batch_idx)

    def on_predict_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Watch the model's output."""
        self._watch(pl_module, batch, batch_idx)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Stop watching."""
        self._unwatch()

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Stop watching."""
        self._unwatch()

    def on_predict_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Stop watching, and end the run if it was told to: Lightning's loop of predictions does not look.

        Raises
        ------
        SIGTERMException
            After SIGTERM.
        """
        self._unwatch()
        if trainer.received_sigterm:
            raise SIGTERMException

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Stop watching, name the cause of lost readers, and give a run that was told to stop an exit code for it."""
        self._unwatch()
        explain_lost_worker(exception, getattr(trainer, "datamodule", None))
        if isinstance(exception, SIGTERMException):
            exception.code = 128 + signal.SIGTERM

    def _ask_for_weights(self, trainer: Trainer) -> None:
        """Warn of a command that names no checkpoint; a program may have given the model its weights itself."""
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        guards = [one for one in callbacks if isinstance(one, RunGuard)]
        meant = any(one.untrained or one._fitted for one in guards)
        if meant or trainer.ckpt_path or config_text(trainer) is None or self is not guards[0]:
            return
        self._random = True
        there = ", ".join(file.as_posix() for file in sorted(Path(trainer.default_root_dir).glob("*.ckpt")))
        action = "" if trainer.state.fn is None else trainer.state.fn.value
        msg = (
            f"{action} has no trained weights: without --ckpt_path the decoder is random, and so are its results. "
            f"Add --ckpt_path FILE ({there or 'train first: fit writes it'}), or, if random weights are meant, "
            "--trainer.callbacks+=eo_finetune.RunGuard --trainer.callbacks.untrained=true."
        )
        rank_zero_warn(msg)

    def _remind(self) -> None:
        if self._random:
            rank_zero_warn("These results are of a random decoder: no --ckpt_path was given. Do not use them.")
        self._random = False

    def _watch(self, pl_module: LightningModule, batch: object, batch_idx: int, *, only_warn: bool = False) -> None:
        self._unwatch()
        model = getattr(pl_module, "model", None)
        if not isinstance(model, nn.Module):
            return
        samples = _names(batch, batch_idx)
        image = batch.get("image") if isinstance(batch, Mapping) else None

        def look(_: nn.Module, given: tuple[object, ...], output: object) -> None:
            bad = _rows_without_numbers(output)
            if not bad:
                return
            # Windows of an image, and what a model was given otherwise, are not the samples one by one.
            whole = bool(given) and given[0] is image
            named = [samples[row] for row in bad if row < len(samples)] if whole else samples
            msg = f"The model's output is NaN or infinite for the samples {_some(named)}. {_where_from(pl_module)}"
            if not only_warn:
                raise ValueError(msg)
            warnings.warn(msg, stacklevel=2)

        self._hook = model.register_forward_hook(look)

    def _unwatch(self) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None


def guard(trainer: Trainer, pl_module: LightningModule) -> None:
    """Make checkpoints of a run atomic and checked, and add a `RunGuard` unless there is one; called in `setup`.

    A plugin for checkpoints that the config names stays.
    """
    if type(trainer.strategy.checkpoint_io) in (TorchCheckpointIO, CheckedCheckpointIO):
        trainer.strategy.checkpoint_io = CheckedCheckpointIO(pl_module)
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    if not any(isinstance(callback, RunGuard) for callback in callbacks):
        # A new list, as Lightning is going through the old one; in front, before anything is written.
        trainer.callbacks = [RunGuard(), *callbacks]  # type: ignore[attr-defined]


def _names(batch: object, batch_idx: int) -> list[str]:
    """Ids of a batch's samples, or their files; the number of the batch where it has neither."""
    found = None
    for key in ("filename", "id"):
        found = batch.get(key, found) if isinstance(batch, Mapping) else None
    if isinstance(found, Mapping):  # TerraTorch's files of several modalities
        found = next(iter(found.values()), None)
    return [str(name) for name in found] if isinstance(found, list | tuple) else [f"of batch {batch_idx}"]


def _some(samples: list[str]) -> str:
    return ", ".join(samples[:_NAMED]) + (f" and {len(samples) - _NAMED} more" if len(samples) > _NAMED else "")


def _rows_without_numbers(output: object) -> list[int]:
    """Rows of a model's output that hold NaN or positive infinity; negative infinity may stand for an excluded class.

    One wait for the device.
    """
    values = getattr(output, "output", output)
    if not isinstance(values, torch.Tensor) or not values.is_floating_point() or not values.numel():
        return []
    largest = values.detach().reshape(len(values) if values.ndim else 1, -1).amax(dim=1)
    return (~largest.isfinite()).nonzero().flatten().tolist()


def _where_from(pl_module: LightningModule) -> str:
    """Say whether the weights are to blame, and what to do."""
    spoilt = [name for name, value in pl_module.named_parameters() if not value.isfinite().all()]
    if spoilt:
        return (
            f"{len(spoilt)} weights are not finite either ({spoilt[0]}): an earlier step spoilt them, or the file that "
            "they are from. Start from an earlier checkpoint with a smaller lr, gradient_clip_val: 1 or precision: "
            "32-true."
        )
    return (
        "The weights are finite: look at these samples (python -m eo_data.inspect) and their labels, or use precision: "
        "32-true, a smaller lr, or gradient_clip_val: 1."
    )


def _scaler(trainer: Trainer) -> bool:
    return getattr(trainer.precision_plugin, "scaler", None) is not None
