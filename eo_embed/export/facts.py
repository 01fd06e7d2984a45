"""What an export was made of and by: the facts behind its fingerprint, and what may differ between two equal runs."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eo_core.addresses import without_credentials
from eo_core.config import without_folders
from eo_core.fingerprint import fingerprint, sha256_of_file
from eo_data.catalog.shards import Shard
from eo_data.dataset.facts import describe_data
from eo_embed.export.record.manifest import software_versions
from eo_embed.export.settings import ExportSettings

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


def export_facts(task: Mapping[str, Any], weights_sha256: str, precision: str, data_module: object) -> dict[str, Any]:
    """Return everything that changes the numbers.

    Parameters
    ----------
    task : mapping
        Encoder and settings, as :func:`encoder_facts` gives them.
    weights_sha256 : str
        Of the encoder's weights, by `eo_models.checkpoints.sha256_of_weights`: random weights differ from run to run.
    precision : str
        In which the encoder runs, as Lightning names it: ``32-true``, ``bf16-mixed`` ...
    data_module : object
        Of the export. Of those that are not ours only the class is known.
    """
    return {
        "task": dict(task),
        "weights_sha256": weights_sha256,
        "precision": precision,
        "data": describe_data(data_module),
    }


def run_provenance(
    checkpoint: str | Path | None,
    config: str | None,
    root: str | Path,
    *,
    absolute_paths: bool = False,
    records: Iterable[Any] = (),
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
