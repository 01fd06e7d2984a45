"""AnySat checkpoints: where the published weights are and how a file becomes an encoder's weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch

from anysat_ext.model.encoder import SIZES, AnySat
from anysat_ext.model.modalities import MODALITIES
from eo_models.weights.checkpoints import (
    CheckpointError,
    LoadReport,
    fetch_from_hub,
    find_prefix,
    load_strictly,
    read_tensors,
)

#: Hugging Face repository and file of the only published weights, those of base.
HUB_REPOSITORY = "g-astruc/AnySat"
HUB_FILE = "models/AnySat.pth"
#: Prefix of the encoder to take from a training checkpoint, which has an online copy of it, too.
DEFAULT_PREFIX = "target_encoder"
#: A key that only this encoder has, once: the query of its last block.
_ANCHOR = re.compile(r"(?:^|\.)(blocks\.(\d+)\.attn\.q_learned)$")


def hub_location(size: str) -> tuple[str, str]:
    """Hugging Face repository and file of the published weights of a size.

    Raises
    ------
    CheckpointError
        For tiny and small: nothing was ever published.
    """
    if size != "base":
        msg = (
            f"There are no published weights of AnySat {size}, only of base. Build anysat_base, give a file of your "
            "own as `ckpt`, or ask for random weights with `pretrained: false`."
        )
        raise CheckpointError(msg)
    return HUB_REPOSITORY, HUB_FILE


def load_checkpoint(
    encoder: AnySat, path: str | Path | None, prefix: str = DEFAULT_PREFIX, revision: str | None = None
) -> LoadReport:
    """Load weights into an encoder and report on every key.

    Parameters
    ----------
    encoder : AnySat
        Is left as it was if the file does not fit.
    path : str, Path or None
        The published file, a training checkpoint of upstream, a state dict of this encoder with any prefix (``.pth``
        or ``.safetensors``), or a TerraTorch or Lightning checkpoint of a fine-tuned model. ``None`` takes the
        published weights from Hugging Face. Projectors of modalities that the encoder does not have are ignored.
    prefix : str
        Prefix of the encoder's keys in the file. Only needed where a file holds several encoders.
    revision : str, optional
        Hugging Face revision, for ``path=None``.

    Raises
    ------
    CheckpointError
        If the file cannot be had or read, or does not hold all weights of this size.
    """
    size = encoder.size.name
    file = fetch_from_hub(*hub_location(size), revision) if path is None else Path(path).expanduser()
    tensors = read_tensors(file)
    try:
        found = find_prefix(tensors, _anchor(tensors, encoder), prefix, DEFAULT_PREFIX)
        absent = [name for name in MODALITIES if name not in encoder.modalities]
        return load_strictly(
            encoder,
            tensors,
            source=str(file),
            prefix=found,
            ignore=[rf"projector_{re.escape(name)}\." for name in absent],
        )
    except CheckpointError as error:
        msg = (
            f"{str(file)!r} does not fit AnySat {size} with {', '.join(encoder.modalities)}: {error}. No weight was "
            f"changed. {_advice(tensors, encoder)}"
        )
        raise CheckpointError(msg) from error


def _anchor(tensors: Mapping[str, torch.Tensor], encoder: AnySat) -> str:
    """The anchor as it is called in the file, which may be one of another size."""
    for key in tensors:
        if found := _ANCHOR.search(key):
            return found[1]
    return f"blocks.{encoder.size.depth}.attn.q_learned"


def _advice(tensors: Mapping[str, torch.Tensor], encoder: AnySat) -> str:
    found = {(int(m[2]), *value.shape[-1:]) for key, value in tensors.items() if (m := _ANCHOR.search(key))}
    for size in SIZES.values():
        if found == {(size.depth, size.embed_dim)} and size != encoder.size:
            return f"The file looks like AnySat {size.name}: build anysat_{size.name} instead."
    return (
        "Give a file with the weights of this size and of these modalities, or name the encoder's prefix with "
        "`model_ckpt_type`."
    )
