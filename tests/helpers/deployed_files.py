"""Deployed files under test, and what their numbers must be."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from eo_models.export.call import Asked
from eo_models.features import FeatureExtractor
from eo_models.preset import ImageFacts, find_preset

#: Two blocks of THOR on Sentinel-1 and 2.
BOTH = Asked(side=48, bands=("RED", "BLUE", "SWIR_1", "VV", "VH"), patch=8, layers=(1,))
#: AnySat on dated series of Sentinel-1 and 2.
SERIES = Asked(side=6, sensors=("sentinel2_l2a", "sentinel1"), patch=20, frames=3, options={"image_size": None})


def encoded(
    name: str, facts: dict[str, ImageFacts], options: dict[str, Any], data: dict[str, Any], layer: int = -1
) -> Any:
    """Features by the presets alone, as `embed` has them: nothing of what is under test."""
    preset = find_preset(name)
    recipe = preset.recipe(name, facts, options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = preset.build(name, {**recipe.arguments, "pretrained": False}, (layer,))
    extractor = FeatureExtractor(backbone, {}, (layer,)).requires_grad_(requires_grad=False).eval()
    with torch.no_grad():
        return extractor({key: torch.from_numpy(value) for key, value in data.items()})[0]


def relative(found: np.ndarray, expected: torch.Tensor) -> float:
    """Largest difference over largest expected value."""
    wanted = expected.numpy()
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())
