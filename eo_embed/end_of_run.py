"""Whatever ends an export gives its folder back; a batch system that ends it gets an exit code that says so."""

from __future__ import annotations

import signal
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.exceptions import SIGTERMException


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
