"""A callback that sets what products of float32 matrices are computed in, for one run of Lightning."""

from __future__ import annotations

import contextlib
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from eo_models.precision.matmul import Matmul, check_matmul, describe_matmul, matmul_precision


class MatmulPrecision(Callback):
    """Computes products of float32 matrices as the config says, forwards and backwards, whatever libraries have set.

    ``import terratorch`` allows bfloat16 (CPUs with AMX) and TF32 (GPUs) in every product of the process. The setting
    is put back at the end of the run.

    Parameters
    ----------
    matmul : {'highest', 'high', 'medium'}
        ``highest`` is float32 on every machine. ``high`` and ``medium`` are quicker where the hardware rounds factors
        to TF32 (relative error of a product 3e-4) or bfloat16 (2e-3).

    Raises
    ------
    ValueError
        For another value.
    """

    def __init__(self, matmul: Matmul = "highest") -> None:
        self.matmul = check_matmul(matmul)
        self._held = contextlib.ExitStack()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Set it, and say what it means here."""
        self._held.close()
        self._held.enter_context(matmul_precision(self.matmul))
        numbers = describe_matmul(self.matmul, trainer.strategy.root_device)
        rank_zero_info(f"Products of float32 matrices are computed in {numbers}; matmul: {self.matmul}.")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Put the setting of the process back."""
        self._held.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Put the setting of the process back."""
        self._held.close()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to a run: processes that a run starts copy its callbacks."""
        return {"matmul": self.matmul}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["matmul"])  # type: ignore[misc]
