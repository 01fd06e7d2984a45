"""Whether an export feeds a fine-tuned encoder as its training did, and takes features that were trained."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from eo_data.dataset.consistency import check_inputs
from eo_data.dataset.facts import describe_inputs
from eo_models.checkpoints import read_file

#: Where our data modules keep their facts in a checkpoint.
_FACTS = "facts"


def check_same_inputs_as_training(checkpoint: str | Path, blocks: Sequence[int] | None, data_module: object) -> None:
    """Compare an export with the training that made a checkpoint of a TerraTorch task.

    Files of weights alone, such as published ones, say nothing about a training and pass.

    Parameters
    ----------
    checkpoint : str or Path
        The file that the backbone's ``ckpt`` names.
    blocks : sequence of int, optional
        Blocks that are exported, from 0; ``None`` where the backbone does not state them.
    data_module : object
        Data module of the export; compared if it is one of `eo_data`.

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
    untrained = [block for block in blocks or () if last is not None and block > last]
    if untrained:
        warnings.warn(
            f"This export takes block {', '.join(map(str, untrained))}, but {checkpoint} was fine-tuned up to block "
            f"{last} (backbone_out_indices): later blocks were not trained with it. Export `layers: [{last}]`.",
            stacklevel=2,
        )


def _last_trained(task: object) -> int | None:
    """Return the last block that a fine-tuning used, if it trained the encoder and states its blocks."""
    if not isinstance(task, Mapping) or task.get("freeze_backbone"):
        return None
    model = task.get("model_args")
    if not isinstance(model, Mapping):
        return None
    indices = model.get("backbone_out_indices")
    if not isinstance(indices, Sequence) or not indices or any(not isinstance(i, int) or i < 0 for i in indices):
        return None
    return max(indices)
