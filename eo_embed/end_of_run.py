"""Whatever ends an export gives its folder back; a batch system that ends it does so as Ctrl-C does."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class EndOfRun(Callback):
    """Stops a run on SIGTERM at once, with an exit code that is not 0, and lets go of what the task holds.

    Lightning notes the signal and goes on to predict. What is finished by then stays, and the next run goes on there.
    """

    def __init__(self) -> None:
        self._before: Any = None
        self._process = os.getpid()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the signal; Python allows that in the main thread only."""
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._stop)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the signal back."""
        self._give_back()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the signal back, and the folder."""
        self._give_back()
        release = getattr(pl_module, "release", None)
        if release is not None:
            release()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a child, such as a worker of a loader, which its parent ends by this signal
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        print("SIGTERM: the export stops; run the same command again to go on.", flush=True)  # noqa: T201
        raise KeyboardInterrupt

    def _give_back(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
            self._before = None
