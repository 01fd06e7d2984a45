"""Whether an export gets its numbers, and takes its features, from where a fine-tuned encoder has learned them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eo_data.dataset.consistency import check_inputs
from eo_data.dataset.facts import describe_inputs
from eo_models.checkpoints import read_file

#: Where our data modules keep their facts in a checkpoint.
_FACTS = "facts"


def check_same_inputs_as_training(checkpoint: str | Path, blocks: Sequence[int] | None, data_module: object) -> None:
    """Compare an export with the training that a checkpoint of TerraTorch's task comes from.

    Files of weights alone, such as published ones, tell nothing of a training and pass.

    Parameters
    ----------
    checkpoint : str or Path
        What the backbone's ``ckpt`` names.
    blocks : sequence of int, optional
        Blocks that are exported, from 0; ``None`` where the backbone does not tell.
    data_module : object
        Of the export; compared if it is one of `eo_data`.

    Raises
    ------
    ValueError
        If the data module makes other numbers than those of the training, without ``allow_other_preprocess``.
    CheckpointError
        If the file cannot be read.
    """
    _, content = read_file(checkpoint)
    if not isinstance(content, Mapping) or "state_dict" not in content:
        return
    states = [state[_FACTS] for state in content.values() if isinstance(state, Mapping) and _FACTS in state]
    if states and hasattr(data_module, "allow_other_preprocess"):
        check_inputs(states[0], describe_inputs(data_module), allowed=data_module.allow_other_preprocess)
    last = _last_trained(content.get("hyper_parameters"))
    behind = [block for block in blocks or () if last is not None and block > last]
    if behind:
        warnings.warn(
            f"This export takes block {', '.join(map(str, behind))}, but {checkpoint} was fine-tuned up to block "
            f"{last} (backbone_out_indices): the blocks behind it were not trained along. Export `layers: [{last}]`.",
            stacklevel=2,
        )


def _last_trained(task: Any) -> int | None:  # noqa: ANN401
    """The last block that a fine-tuning used, if it trained the encoder and says which."""
    model = task.get("model_args") if isinstance(task, Mapping) else None
    if not isinstance(model, Mapping) or task.get("freeze_backbone"):
        return None
    indices = model.get("backbone_out_indices")
    if not isinstance(indices, Sequence) or not indices or any(not isinstance(i, int) or i < 0 for i in indices):
        return None
    return max(indices)
