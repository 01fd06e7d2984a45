"""Callbacks of an export: against another task than its own and an end that leaves it locked, and for its bar."""

from __future__ import annotations

import signal
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.exceptions import SIGTERMException

#: Ours, and TerraTorch's own.
_TASKS = frozenset(("EmbeddingTask", "EmbeddingGenerationTask"))


class ExpectEmbeddings(Callback):
    """Refuse to run a task that exports no embeddings.

    With ``--ckpt_path``, Lightning's command line takes the task and its arguments from the checkpoint, whatever the
    config says: of a fine-tuned one, masks would be written instead of embeddings, and nothing would tell.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Look at the task.

        Raises
        ------
        ValueError
            If it is another one.
        """
        if _TASKS & {kind.__name__ for kind in type(pl_module).__mro__}:
            return
        msg = (
            f"This config exports embeddings, but the task is {type(pl_module).__name__}: --ckpt_path brings the task "
            "of its checkpoint along. Leave it out, and name the checkpoint of the fine-tuned model as ckpt among the "
            "arguments of the backbone (model.init_args.backbone_args.ckpt)."
        )
        raise ValueError(msg)


class EndOfRun(Callback):
    """Stops a run after SIGTERM at the end of a batch, with exit code 143, and lets go of what the task holds.

    Lightning notes the signal, but its loop of predictions does not look. What is finished by then stays, and the next
    run goes on there.
    """

    def on_predict_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:  # noqa: ANN401
        """Look whether the run is to stop.

        Raises
        ------
        SIGTERMException
            If it is.
        """
        if trainer.received_sigterm:
            rank_zero_info("SIGTERM: the export stops. Run the same command again to go on.")
            raise SIGTERMException(128 + signal.SIGTERM)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the folder back."""
        release = getattr(pl_module, "release", None)
        if release is not None:
            release()


class GroundInBar(Callback):
    """Says in Lightning's bar how much ground is done, and how quickly, as the lines of a log do."""

    def on_predict_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:  # noqa: ANN401
        """Renew it."""
        bar, ground = trainer.progress_bar_callback, getattr(pl_module, "ground", "")
        if not ground:
            return
        if isinstance(bar, TQDMProgressBar):
            bar.predict_progress_bar.set_postfix_str(ground)
        elif isinstance(bar, RichProgressBar) and bar.progress is not None and bar.predict_progress_bar_id is not None:
            bar.progress.update(bar.predict_progress_bar_id, description=f"{bar.predict_description} {ground}")
