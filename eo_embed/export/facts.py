"""What an export was made of and by: the facts behind its fingerprint, and what may differ between two equal runs."""

from __future__ import annotations

import socket
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eo_core.addresses import without_credentials
from eo_core.config import without_folders
from eo_core.fingerprint import fingerprint, sha256_of_file
from eo_data.catalog.shards import Shard
from eo_data.dataset.consistency import check_inputs
from eo_data.dataset.facts import describe_data, describe_inputs
from eo_embed.export.record.manifest import software_versions
from eo_embed.export.settings import ExportSettings
from eo_models.precision.matmul import Matmul
from eo_models.weights.checkpoints import read_file

#: Where our data modules keep their facts in a checkpoint.
_FACTS = "facts"
#: How many different notes on samples are told.
_NOTES = 20


def encoder_facts(backbone: str, backbone_args: Mapping[str, Any] | None, settings: ExportSettings) -> dict[str, Any]:
    """Return the encoder and the settings as `eo_embed.EmbeddingTask` states them, for a run without it.

    Parameters
    ----------
    backbone : str
        Name in TerraTorch's registry, or any other name of an encoder.
    backbone_args : mapping, optional
        Its arguments. ``ckpt`` is left out: the weights count, not the path that they came from.
    settings : ExportSettings
        What is exported.
    """
    arguments = {key: value for key, value in (backbone_args or {}).items() if key != "ckpt"}
    return {"backbone": backbone, "backbone_args": arguments, **settings.facts()}


def export_facts(
    task: Mapping[str, Any], weights_sha256: str, precision: str, data_module: object, matmul: Matmul = "highest"
) -> dict[str, Any]:
    """Return everything that changes the numbers.

    Parameters
    ----------
    task : mapping
        Encoder and settings, as :func:`encoder_facts` gives them.
    weights_sha256 : str
        Of the encoder's weights, by `eo_models.weights.checkpoints.sha256_of_weights`: random weights differ from run
        to run.
    precision : str
        In which the encoder runs, by `eo_models.precision.numbers.Numbers`: ``32-true``, ``bf16``, ``bf16-mixed`` ...
    data_module : object
        Of the export. Of those that are not ours only the class is known.
    matmul : {'highest', 'high', 'medium'}
        In which precision products of float32 matrices are computed. ``highest``, which is float32, is not noted.
    """
    return {
        "task": dict(task),
        "weights_sha256": weights_sha256,
        "precision": precision,
        "data": describe_data(data_module),
        **({} if matmul == "highest" else {"matmul": matmul}),
    }


def run_provenance(
    checkpoint: str | Path | None,
    config: str | None,
    root: str | Path,
    *,
    absolute_paths: bool = False,
    records: Iterable[Any] = (),
    numbers: str | None = None,
) -> dict[str, Any]:
    """Return what a reader wants to know besides, and what may differ between two runs of one export.

    Parameters
    ----------
    checkpoint : str or Path, optional
        File of the weights.
    config : str, optional
        Text of the config that the run was started with.
    root : str or Path
        Folder of the data.
    absolute_paths : bool
        Whether paths are told as they are; else absolute ones by their last part.
    records : iterable of Record
        The samples: what is noted of how their files were chosen is counted.
    numbers : str, optional
        In which numbers the encoder computes on this machine, by `eo_models.precision.numbers.Arithmetic`.
    """
    notes = _notes(records)
    known = checkpoint is not None and Path(checkpoint).is_file()
    texts: dict[str, str | None] = {
        "checkpoint": str(checkpoint) if checkpoint else None,
        "config": config and without_credentials(config),
        "root": str(root),
    }
    if not absolute_paths:
        texts |= {"checkpoint": Path(checkpoint).name if checkpoint else None, "root": Path(root).resolve().name}
        texts["config"] = texts["config"] and without_folders(texts["config"])
    return {
        "checkpoint_sha256": sha256_of_file(checkpoint) if checkpoint and known else None,
        "software": software_versions(),
        **texts,
        **({"numbers": numbers} if numbers else {}),
        **({"notes": notes} if notes else {}),
    }


def _notes(records: Iterable[Any]) -> dict[str, dict[str, int]]:
    """Return by modality how many samples have which note, the most frequent ones."""
    counts: dict[str, Counter[str]] = {}
    for record in records:
        for modality, notes in getattr(record, "notes", {}).items():
            counts.setdefault(modality, Counter()).update(notes)
    return {modality: dict(own.most_common(_NOTES)) for modality, own in counts.items()}


def shard_provenance(shard: Shard | None, on_error: str) -> dict[str, Any]:
    """Return what a merge of shards must know of the run of one, and where that ran; nothing without a shard.

    Parameters
    ----------
    shard : Shard, optional
        Which part of the samples was made. It changes no number, so that it is none of the facts.
    on_error : {'raise', 'skip'}
        Whether failed items end the run with an error.
    """
    if shard is None:
        return {}
    return {"shard": {**asdict(shard), "on_error": on_error, "host": socket.gethostname()}}


def data_set_of(root: Path, *, absolute_paths: bool = False) -> dict[str, str]:
    """Return which data set an export is of: its root, and a number by which a moved one is noticed.

    Parameters
    ----------
    root : Path
        Folder of the data.
    absolute_paths : bool
        Whether the root is named by its whole path, or by its last folder.
    """
    place = root.resolve()
    named = place.as_posix() if absolute_paths else place.name
    return {"root": named, "place": fingerprint({"root": place.as_posix()})[:16]}


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
