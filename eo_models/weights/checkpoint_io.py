"""How Lightning writes and reads its checkpoints: whole or not at all, and only numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch import nn

from eo_core.files import atomic_path
from eo_models.weights.checkpoints import CheckpointError, compare_checksums, read_file, refuse_what_is_no_number

#: Names that wrappers put before those of the module inside: ``DistributedDataParallel`` and ``torch.compile``.
_WRAPPERS = frozenset(("module", "_orig_mod"))
#: What Lightning needs of a checkpoint, whatever it is loaded for.
_NEEDED = ("state_dict", "pytorch-lightning_version")


class CheckedCheckpointIO(TorchCheckpointIO):
    """Takes the place of Lightning's own.

    A file is written beside its final name, read again, and renamed: a run that is killed leaves the checkpoint of
    before, or the new one. What is read fits the task: names lose the prefixes of ``DistributedDataParallel`` and
    ``torch.compile``, and weights that are no finite numbers are refused.

    Parameters
    ----------
    module : nn.Module
        The task that checkpoints are of.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any | None = None,  # noqa: ANN401
    ) -> None:
        """Write a file, whole or not at all; addresses (``s3://``) are written as Lightning does.

        Raises
        ------
        OSError
            If it cannot be written, or is not read as it was written. What was there before is still there.
        """
        if "://" in str(path) or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        try:
            with atomic_path(Path(path), compare_checksums) as partial, partial.open("wb") as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError, ValueError) as error:
            msg = f"The checkpoint {path} could not be written: {error}. What was there before is still there."
            raise OSError(msg) from error

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = lambda storage, _: storage,
        weights_only: bool | None = None,  # noqa: FBT001
    ) -> dict[str, Any]:
        """Read a file, which may be given as ``file:///...``, and check it.

        Raises
        ------
        CheckpointError
            If it is missing, damaged, no checkpoint of a training run, or its weights are no finite numbers.
        """
        path = str(path).removeprefix("file://")
        if "://" in path or weights_only is False:
            content: object = super().load_checkpoint(path, map_location, weights_only)
        else:
            _, content = read_file(path, mapped=False)
        missing = [key for key in _NEEDED if not isinstance(content, Mapping) or key not in content]
        if not isinstance(content, dict) or missing:
            msg = (
                f"{path} is no checkpoint of a training run: it has no {' and no '.join(missing)}. ckpt_path takes the "
                "best.ckpt or last.ckpt that a run wrote; the weights of an encoder alone go to backbone_ckpt in "
                "model_args."
            )
            raise CheckpointError(msg)
        try:
            content["state_dict"] = self._fitting(content["state_dict"])
        except CheckpointError as error:
            msg = f"{path} is not loaded: {error}. Take another checkpoint of the run, or train again."
            raise CheckpointError(msg) from error
        return content

    def _fitting(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return a state under the names of the module.

        Raises
        ------
        CheckpointError
            If weights of the module are no finite numbers in it.
        """
        own = self._module.state_dict()
        plain = {_without_wrappers(name): name for name in own}
        fitting: dict[str, Any] = {}
        for name, value in given.items():
            renamed = name if name in own else plain.get(_without_wrappers(name), name)
            fitting[name if renamed in given else renamed] = value
        # Tables of a model may hold infinity on purpose, such as the masks of some attentions.
        finite = {
            name: value
            for name, value in own.items()
            if isinstance(value, torch.Tensor) and torch.isfinite(value).all()
        }
        tensors = {name: value for name, value in fitting.items() if isinstance(value, torch.Tensor)}
        refuse_what_is_no_number(finite, tensors)
        return fitting


def _without_wrappers(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)
