"""UniverSat checkpoints: where the published weights are and how a file becomes an encoder's weights.

The published loader is not strict: a file without the random frequencies and phases of the Fourier features loads
there in silence and gives other features. Here all weights and buffers are needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from eo_models.weights.checkpoints import (
    CheckpointError,
    LoadReport,
    fetch_from_hub,
    find_prefix,
    load_strictly,
    read_tensors,
)
from universat_ext.model.encoder import HEADS, SIZES, UniverSat

#: Hugging Face repository and file of the only published weights, those of base.
HUB_REPOSITORY = "g-astruc/UniverSat"
HUB_FILE = "model.safetensors"
#: Prefix of the encoder in the published file. Checkpoints of the training have ``model.encoder``.
DEFAULT_PREFIX = "model"
#: A key that only this encoder has, once; its last axis tells the size.
ANCHOR = "spatial_encoder.registers_spatial"


def hub_location(size: str) -> tuple[str, str]:
    """Hugging Face repository and file of the published weights of a size.

    Raises
    ------
    CheckpointError
        For tiny: nothing was ever published.
    """
    if size != "base":
        msg = (
            f"There are no published weights of UniverSat {size}, only of base. Build universat_base, give a file of "
            "your own as `ckpt`, or ask for random weights with `pretrained: false`."
        )
        raise CheckpointError(msg)
    return HUB_REPOSITORY, HUB_FILE


def load_checkpoint(
    encoder: UniverSat, path: str | Path | None, prefix: str = DEFAULT_PREFIX, revision: str | None = None
) -> LoadReport:
    """Load weights into an encoder and report on every key.

    Parameters
    ----------
    encoder : UniverSat
        Is left as it was if the file does not fit.
    path : str, Path or None
        The published file, a training checkpoint of upstream, a state dict of this encoder with any prefix
        (``.safetensors`` or ``.pth``), or a TerraTorch or Lightning checkpoint of a fine-tuned model. ``None`` takes
        the published weights from Hugging Face. Heads of the pre-training (``projector__*``) are ignored.
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
        found = find_prefix(tensors, ANCHOR, prefix, DEFAULT_PREFIX)
        return load_strictly(encoder, tensors, source=str(file), prefix=found, ignore=[HEADS])
    except CheckpointError as error:
        msg = (
            f"{str(file)!r} does not fit UniverSat {size}: {error}. No weight was changed. {_advice(tensors, encoder)}"
        )
        raise CheckpointError(msg) from error


def _advice(tensors: Mapping[str, torch.Tensor], encoder: UniverSat) -> str:
    found = {value.shape[-1] for key, value in tensors.items() if key.endswith(ANCHOR) and value.ndim}
    for size in SIZES.values():
        pixel, channel, date, _ = size.expand
        if found == {size.value_dim * pixel * channel * date} and size != encoder.size:
            return f"The file looks like UniverSat {size.name}: build universat_{size.name} instead."
    return "Give a file with the weights of this size, or name the encoder's prefix with `model_ckpt_type`."
