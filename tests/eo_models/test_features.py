"""Vectors and grids are those of the published adapters, for the same weights and the same input."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from terratorch.registry import TERRATORCH_BACKBONE_REGISTRY

from anysat_ext import AnySatPreprocess
from eo_models.features import FeatureExtractor, grid_shape
from thor_terratorch_ext import ThorPreprocess

S2 = ["BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3", "NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"]
S1 = ["VV", "VH"]
TOLERANCE = 1e-4
#: Cases whose geometry is the adapter's own: windows of interest and its way to cut tiles are not the encoder's.
_CASES = Path(__file__).resolve().parents[3] / "shared" / "golden" / "thor" / "adapter_cases.json"
THOR = [
    case
    for case in (json.loads(_CASES.read_text())["cases"] if _CASES.is_file() else [])
    if case["input_prep"] == "resize" and case["roi_window_geo"] is None
]


def load_module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def relative(actual: torch.Tensor | np.ndarray, expected: np.ndarray) -> float:
    difference = np.abs(np.asarray(actual, dtype=np.float64) - expected).max()
    return float(difference / np.abs(expected).max())


@pytest.fixture(scope="module")
def thor(shared: Path) -> Callable[..., FeatureExtractor]:
    """THOR tiny with the golden weights."""
    fill = load_module(shared / "golden" / "thor" / "fill.py")

    def build(bands: list[str], patch_size: int, merge: str) -> FeatureExtractor:
        arguments = {
            "pretrained": False,
            "model_bands": bands,
            "input_gsd": 10,
            "input_params": {"flexivit_patch_size_seqs": [patch_size]},
        }
        extractor = FeatureExtractor("thor_v1_tiny", arguments, group_merge=merge).eval()
        fill.fill_module(extractor.backbone.model)
        return extractor

    return build


@torch.no_grad()
@pytest.mark.parametrize("case", THOR, ids=[case["id"] for case in THOR])
def test_thor_gives_what_the_adapter_gives(case: dict[str, Any], thor: Any, shared: Path) -> None:
    fill = load_module(shared / "golden" / "thor" / "fill.py")
    draws = fill.draws("input/" + case["input"]["name"], case["input"]["shape"])
    s1 = case["modality"] == "s1"
    raw = (0.08 * np.exp(0.7 * draws) if s1 else 2000 + 900 * draws).astype(np.float32)
    settings = {key.removeprefix("RS_EMBED_THOR_"): value for key, value in case["env"].items()}
    normalization = settings.get("NORMALIZE", "log1p_p99" if s1 else "thor_stats")
    patch_size = int(settings.get("PATCH_SIZE", 8))
    preprocess = ThorPreprocess(
        normalization,
        patch_size=patch_size,
        image_size=int(settings.get("IMG", 288)),
        shape_adjust=settings.get("SHAPE_ADJUST", "crop"),
        missing="zero",
    )
    if normalization == "none" and not s1:
        image = torch.from_numpy(np.clip(raw, 0, 10000))  # the adapter's "none" are digital numbers
    else:
        image = torch.from_numpy(preprocess.prepare_array(raw, S1 if s1 else S2)[0])
    extractor = thor(S1 if s1 else S2, patch_size, settings.get("GROUP_MERGE", "mean"))
    (features,) = extractor(image[None])
    kind, pooling = case["output"]
    actual = features.grid[0] if kind == "grid" else features.pooled(pooling)[0]
    with np.load(shared / "golden" / "thor" / "adapter.npz") as archive:
        expected = archive[f"e2e/{case['id']}"]
    assert list(actual.shape) == case["shape"]
    assert relative(actual, expected) < TOLERANCE


@pytest.fixture(scope="module")
def anysat_fill(shared: Path) -> ModuleType:
    return load_module(shared / "golden" / "anysat" / "fill_anysat.py")


@torch.no_grad()
@pytest.mark.parametrize("patch_size", [10, 40])
@pytest.mark.parametrize("output", ["patch", "dense", "tile"])
def test_anysat_gives_what_the_adapter_gives(
    output: str, patch_size: int, anysat_fill: ModuleType, shared: Path
) -> None:
    folder = shared / "golden" / "anysat"
    about = json.loads((folder / "adapter.json").read_text())
    shape = next(case["input_shape"] for case in about["prepared"] if case["input"] == "t8")
    raw = np.clip(2500 + 1500 * anysat_fill.make_input("adapter", "t8", shape).astype(np.float64), 0, 10000)
    pixels, days = AnySatPreprocess(start="2022-01-01", end="2023-01-01").prepare_array(raw.astype(np.float32))
    arguments = {"pretrained": False, "modalities": ["s2"], "patch_size": patch_size, "output": output}
    extractor = FeatureExtractor("anysat_base", arguments).eval()
    with torch.no_grad():
        for key, value in extractor.backbone.model.state_dict().items():
            value.copy_(torch.from_numpy(anysat_fill.fill_array(key, tuple(value.shape))))
    image = torch.from_numpy(pixels).transpose(0, 1)[None]
    (features,) = extractor({"s2": image, "s2_dates": torch.from_numpy(days)[None]})
    compared = 0
    with np.load(folder / "adapter.npz") as arrays:
        for case in about["end_to_end"]:
            mode = case["mode"]
            if case["patch_size_m"] != patch_size or not _belongs(mode, output):
                continue
            actual = features.grid[0] if mode.startswith("grid") else features.pooled(_pooling(mode))[0]
            assert list(actual.shape) == case["shape"]
            expected = arrays[case["key"]].flatten()
            assert relative(actual.flatten()[:: case["stride"]], expected) < TOLERANCE, case["key"]
            compared += 1
    assert compared == {"patch": 3, "dense": 1, "tile": 1}[output]


def _belongs(mode: str, output: str) -> bool:
    return mode in {"patch": ("grid_patch", "pooled_mean", "pooled_max"), "dense": ("grid_dense",)}.get(
        output, ("pooled_tile",)
    )


def _pooling(mode: str) -> str:
    return "max" if mode.endswith("max") else "mean"


@torch.no_grad()
def test_class_tokens_of_other_backbones_are_left_out_of_pooling_and_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tokens(torch.nn.Module):
        def forward(self, image: torch.Tensor, **_: object) -> list[torch.Tensor]:
            tokens = torch.arange(2 * 17 * 3, dtype=torch.float32).reshape(2, 17, 3)
            return [tokens, tokens[:, 1:], tokens[:, :11]]

    monkeypatch.setitem(TERRATORCH_BACKBONE_REGISTRY._registry, "tokens", Tokens)
    extractor = FeatureExtractor("tokens", {}, [0, 1, 2])
    with_cls, without, odd = extractor(torch.zeros(2, 3, 64, 64))
    assert with_cls.grid is not None
    torch.testing.assert_close(with_cls.grid, without.grid)
    assert with_cls.grid.shape == (2, 3, 4, 4)
    assert with_cls.grid[0, 0, 0, 1] == 6  # second patch of the first row
    torch.testing.assert_close(with_cls.pooled("mean"), without.pooled("mean"))
    torch.testing.assert_close(with_cls.pooled("cls")[0], torch.tensor([0.0, 1.0, 2.0]))
    assert odd.grid is None
    with pytest.raises(ValueError, match="class token, which this backbone does not give"):
        without.pooled("cls")


@torch.no_grad()
@pytest.mark.parametrize("name", ["terratorch_thor_v1_tiny", "thor_vit_tiny_encoder_alibi_patch_size_embed_v1"])
def test_every_name_of_a_backbone_gives_the_same_features(name: str) -> None:
    """By any other name, a layer was a position in a list, and tokens of several groups had no grid."""
    arguments = {"pretrained": False, "model_bands": ["BLUE", "SWIR_1"], "input_gsd": 10}
    short = FeatureExtractor("thor_v1_tiny", arguments, [3]).eval()
    other = FeatureExtractor(name, arguments, [3]).eval()
    other.load_state_dict(short.state_dict())
    image = torch.randn(1, 2, 64, 64)
    (expected,), (actual,) = short(image), other(image)
    assert actual.grid is not None
    assert torch.equal(actual.tokens, expected.tokens)
    assert torch.equal(actual.grid, expected.grid)


@torch.no_grad()
def test_layers_come_in_the_order_in_which_they_are_named() -> None:
    """THOR returns blocks in ascending order: the vectors of block 3 were exported under the name of block 11."""
    arguments = {"pretrained": False, "model_bands": ["VV"], "input_gsd": 10}
    extractor = FeatureExtractor("thor_v1_tiny", arguments, [11, 3, 11]).eval()
    ascending = FeatureExtractor("thor_v1_tiny", arguments, [3, -1]).eval()
    ascending.load_state_dict(extractor.state_dict())
    image = torch.randn(1, 1, 64, 64)
    third, last = ascending(image)
    assert not torch.equal(third.tokens, last.tokens)
    for features, expected in zip(extractor(image), (last, third, last), strict=True):
        assert torch.equal(features.tokens, expected.tokens)


def test_a_timm_backbone_works() -> None:
    arguments = {"pretrained": False, "in_chans": 3, "img_size": 64}
    extractor = FeatureExtractor("timm_vit_tiny_patch16_224", arguments).eval()
    with torch.no_grad():
        (features,) = extractor(torch.randn(1, 3, 64, 64))
    assert features.grid is not None
    assert features.grid.shape == (1, 192, 4, 4)


def test_layers_and_merges_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="group_merge must be one of mean, sum, concat, got 'median'"):
        FeatureExtractor("thor_v1_tiny", {"pretrained": False}, group_merge="median")
    with pytest.raises(ValueError, match="out_indices"):
        FeatureExtractor("thor_v1_tiny", {"pretrained": False}, layers=[40])


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [(16, (64, 64), (4, 4)), (8, (32, 64), (2, 4)), (17, (64, 64), None), (12, (48, 64), (3, 4)), (0, (8, 8), None)],
)
def test_grid_shape_follows_the_image(count: int, size: tuple[int, int], expected: tuple[int, int] | None) -> None:
    assert grid_shape(count, size) == expected
