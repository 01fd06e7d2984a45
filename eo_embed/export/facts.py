"""What an export was made of and by: the facts behind its fingerprint, and what may differ between two equal runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eo_core.fingerprint import sha256_of_file
from eo_data.dataset.facts import describe_data
from eo_embed.export.manifest import software_versions
from eo_embed.export.settings import ExportSettings


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


def run_provenance(checkpoint: str | Path | None, config: str | None, root: str | Path) -> dict[str, Any]:
    """Return what a reader wants to know besides, and what may differ between two runs of one export.

    Parameters
    ----------
    checkpoint : str or Path, optional
        File of the weights.
    config : str, optional
        Text of the config that the run was started with.
    root : str or Path
        Folder of the data.
    """
    known = checkpoint is not None and Path(checkpoint).is_file()
    return {
        "checkpoint": str(checkpoint) if checkpoint else None,
        "checkpoint_sha256": sha256_of_file(checkpoint) if checkpoint and known else None,
        "software": software_versions(),
        "config": config,
        "root": str(root),
    }
