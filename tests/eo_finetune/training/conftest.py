"""Tiny encoders in TerraTorch's words, images for them, and peft in this environment."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest
import torch

S2 = ["BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3", "NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"]
_DECODER = {"decoder": "FCNDecoder", "decoder_channels": 8, "decoder_num_convs": 1, "num_classes": 2}
_THOR = {
    "backbone": "thor_v1_tiny",
    "backbone_pretrained": False,
    "backbone_model_bands": S2,
    "backbone_input_gsd": 10,
    "backbone_merge_method": "mean",
    "backbone_out_indices": [11],
}
_ANYSAT = {
    "backbone": "anysat_tiny",
    "backbone_pretrained": False,
    "backbone_modalities": ["s2"],
    "backbone_bands": {"s2": [*S2, "DATE"]},
    "backbone_patch_size": 40,
    "backbone_padding": None,
}


@pytest.fixture
def model_args() -> dict[str, dict[str, Any]]:
    """Arguments of a segmentation model with either encoder."""
    return {"thor": _THOR | _DECODER, "anysat": _ANYSAT | _DECODER}


@pytest.fixture
def images() -> Callable[..., torch.Tensor]:
    """Make images: THOR ``(B, 10, 64, 64)``, AnySat ``(B, 11, 2, 24, 24)`` with the date plane."""

    def make(kind: str, batch: int = 2) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        if kind == "thor":
            return torch.randn(batch, 10, 64, 64, generator=generator)
        series = torch.randn(batch, 11, 2, 24, 24, generator=generator)
        days = 40.0 + 100 * torch.arange(2) + 10 * torch.arange(batch)[:, None]
        series[:, 10] = days[..., None, None]
        return series

    return make


@pytest.fixture(scope="session")
def peft() -> ModuleType:
    """Return peft, and let TerraTorch know it.

    It imports transformers, which imports torchaudio where that is installed, and the one that comes with rs-embed (a
    peer for tests) refuses a PyTorch made for another CUDA version. Nothing here needs audio.
    """
    stand_in = ModuleType("torchaudio")
    stand_in.__spec__ = ModuleSpec("torchaudio", None)
    patch = pytest.MonkeyPatch()
    if importlib.util.find_spec("torchaudio"):
        patch.setitem(sys.modules, "torchaudio", stand_in)
    module = importlib.import_module("peft")
    utils = importlib.import_module("terratorch.models.peft_utils")
    if not utils._has_peft:
        importlib.reload(utils)
    patch.undo()
    return module
