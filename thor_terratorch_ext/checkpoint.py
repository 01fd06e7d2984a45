"""THOR checkpoints: where the published weights are and how a file becomes an encoder's weights."""

from __future__ import annotations

import re
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
from thor_terratorch_ext.model.encoder import VARIANTS, ThorEncoder

#: Prefix of the encoder in the published files (argument ``model_ckpt_type`` of the published loader).
DEFAULT_PREFIX = "encoder"
#: Keys that the published loader drops: leftovers of pre-training.
IGNORED_KEYS = (r"decoder_.*", r"decode_.*", r"ref_pos_embed.*", r"pos_embed.*")
#: Constants that the encoder computes itself.
FORMULA_KEYS = (r"encoder_slopes$", r"band_embed\.")
_ANCHOR = "blocks.0.norm1.weight"


def hub_location(variant: str) -> tuple[str, str]:
    """Hugging Face repository and file of the published weights of a variant."""
    return f"FM4CS/THOR-1.0-{variant}", f"thor_v1_vit_{variant}.pt"


def load_checkpoint(
    encoder: ThorEncoder, path: str | Path | None, prefix: str = DEFAULT_PREFIX, revision: str | None = None
) -> LoadReport:
    """Load weights into an encoder and report on every key.

    Parameters
    ----------
    encoder : ThorEncoder
        Is left as it was if the file does not fit.
    path : str, Path or None
        A published file, a state dict of this encoder with any prefix (``.pt`` or ``.safetensors``), or a TerraTorch
        or Lightning checkpoint of a fine-tuned model. ``None`` takes the published weights from Hugging Face.
    prefix : str
        Prefix of the encoder's keys in the file. Only needed where a file holds several encoders.
    revision : str, optional
        Hugging Face revision, for ``path=None``.

    Raises
    ------
    CheckpointError
        If the file cannot be had or read, or does not hold all weights of this variant.
    """
    file = fetch_from_hub(*hub_location(encoder.variant.name), revision) if path is None else Path(path).expanduser()
    tensors = read_tensors(file)
    try:
        found = find_prefix(tensors, _ANCHOR, prefix, DEFAULT_PREFIX)
        return load_strictly(
            encoder,
            tensors,
            source=str(file),
            prefix=found,
            ignore=IGNORED_KEYS,
            given_by_formula=FORMULA_KEYS,
        )
    except CheckpointError as error:
        msg = (
            f"{str(file)!r} does not fit THOR {encoder.variant.name}: {error}. No weight was changed. "
            f"{_advice(tensors, encoder)}"
        )
        raise CheckpointError(msg) from error


def _advice(tensors: Mapping[str, torch.Tensor], encoder: ThorEncoder) -> str:
    widths = {tuple(value.shape[:1]) for key, value in tensors.items() if key.endswith(_ANCHOR)}
    depth = 1 + max((int(m[1]) for key in tensors if (m := re.search(r"\bblocks\.(\d+)\.norm1", key))), default=-1)
    for variant in VARIANTS.values():
        if widths == {(variant.embed_dim,)} and depth == variant.depth and variant != encoder.variant:
            return f"The file looks like THOR {variant.name}: build thor_v1_{variant.name} instead."
    return "Give a file with the weights of this variant, or name the encoder's prefix with `model_ckpt_type`."
