"""The adapter's tiled mode, cell by cell and weighted vector."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rs_embed_stitching import embed_tiles
from rs_embed_tiling import plan_tiles

from eo_models.features import FeatureExtractor
from thor_terratorch_ext import ThorPreprocess

S2 = ["BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3", "NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"]


@pytest.fixture(scope="module")
def fill(shared: Path) -> Any:
    spec = importlib.util.spec_from_file_location("fill", shared / "golden" / "thor" / "fill.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@torch.no_grad()
@pytest.mark.parametrize("name", ["s2_150x100_tile64_grid", "s2_150x100_tile64_pooled"])
def test_tiles_are_stitched_as_the_adapter_stitches_them(name: str, fill: Any, shared: Path) -> None:
    cases = json.loads((shared / "golden" / "thor" / "adapter_cases.json").read_text())["cases"]
    (case,) = [one for one in cases if one["id"] == name]
    raw = (2000 + 900 * fill.draws("input/" + case["input"]["name"], case["input"]["shape"])).astype(np.float32)
    arguments = {"pretrained": False, "model_bands": S2, "input_gsd": 10}
    extractor = FeatureExtractor("thor_v1_tiny", arguments).eval()
    fill.fill_module(extractor.backbone.model)
    preprocess = ThorPreprocess(image_size=64, input_prep="tile", missing="zero")

    def encode(tile: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        image = torch.from_numpy(preprocess.prepare_array(tile, S2)[0])[None]
        (features,) = extractor(image)
        assert features.grid is not None
        return features.grid[0].numpy(), features.pooled("mean")[0].numpy()

    grid, vector = embed_tiles(np.clip(raw, 0, 10000), plan_tiles(150, 100, 64), encode)
    actual = grid if case["output"][0] == "grid" else vector
    with np.load(shared / "golden" / "thor" / "adapter.npz") as archive:
        expected = archive[f"e2e/{name}"]
    assert list(actual.shape) == case["shape"]
    assert np.abs(actual - expected).max() / np.abs(expected).max() < 1e-4


def test_one_tile_is_the_whole() -> None:
    def encode(tile: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return tile.reshape(1, 8, 8, 8, 8).mean(axis=(2, 4)), tile.mean(axis=(1, 2))

    pixels = np.random.default_rng(0).normal(size=(1, 64, 64)).astype(np.float32)
    grid, vector = embed_tiles(pixels, plan_tiles(64, 64, 64), encode)
    np.testing.assert_allclose(grid, pixels.reshape(1, 8, 8, 8, 8).mean(axis=(2, 4)))
    np.testing.assert_allclose(vector, pixels.mean(axis=(1, 2)))
