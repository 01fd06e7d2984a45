"""The encoder is the published one: golden vectors, published keys, and the stages in between."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from thor_terratorch_ext.model.alibi import alibi_bias, alibi_slopes
from thor_terratorch_ext.model.channels import select_bands
from thor_terratorch_ext.model.encoder import VARIANTS, ThorEncoder, sinusoidal_embedding, split_groups
from thor_terratorch_ext.model.layout import resolve_layout
from thor_terratorch_ext.model.patch_embedding import REFERENCE_KERNEL, resize_kernels, resize_matrix

_CASES = Path(__file__).resolve().parents[4] / "shared" / "golden" / "thor" / "cases.json"
CASE_IDS = [case["id"] for case in json.loads(_CASES.read_text())["cases"]] if _CASES.is_file() else ["absent"]


def relative(actual: torch.Tensor, expected: np.ndarray) -> float:
    difference = np.abs(actual.detach().double().numpy() - expected.astype(np.float64)).max()
    return float(difference / np.abs(expected).max())


@pytest.mark.parametrize("case_id", CASE_IDS)
def test_features_are_the_published_ones(case_id: str, golden: Any, filled: Any) -> None:
    case = golden.cases[case_id]
    backbone = filled(
        case["variant"],
        model_bands=case["model_bands"],
        input_params=case["input_params"],
        merge_method=case["merge_method"],
        out_indices=case["out_indices"],
        return_channel_params=True,
    )
    image = torch.from_numpy(golden.fill.make_input(case["input_name"], case["input_shape"]))
    resized = image.shape[-1] != backbone.input_size
    with torch.inference_mode(), pytest.warns(UserWarning, match="resizes") if resized else nullcontext():
        features, params = backbone(image)
        final = backbone.model.norm(features[-1]) if case["store_final_norm"] else None
    has_60m = any(grid["GSD"] == 60 for grid in params.values())
    report = golden.check.compare(case_id, features, final)
    assert report["worst"] <= (5e-5 if has_60m else 1e-5), report

    expected = case["expected"]
    assert backbone.bands == expected["bands"]
    assert backbone.groups == expected["groups"]
    assert list(backbone.out_channels) == expected["out_channels"]
    assert (backbone.lowest_gsd, backbone.input_size) == (expected["lowest_gsd"], expected["input_size"])
    assert {k: [v["num_patch"], v["patch_size"], v["GSD"]] for k, v in params.items()} == expected["channel_params"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_parameter_names_shapes_and_counts_are_the_published_ones(variant: str, golden: Any) -> None:
    published = golden.keys(variant)
    with torch.device("meta"):
        encoder = ThorEncoder(variant)
    state = encoder.state_dict()
    assert len(state) == published["n_keys"]
    assert {key: list(value.shape) for key, value in state.items()} == {
        key: list(entry["shape"]) for key, entry in published["entries"].items()
    }
    parameters = list(encoder.parameters())
    assert sum(p.numel() for p in parameters) == published["n_params"]
    assert sum(p.numel() for p in parameters if p.requires_grad) == published["n_trainable"]


@pytest.fixture(scope="module")
def stages(golden: Any) -> Any:
    with np.load(golden.folder / "stages_tiny_s2_12_gc480_ps8.npz") as archive:
        return {key: archive[key] for key in archive.files}


def test_every_stage_of_the_forward_pass(golden: Any, filled: Any, stages: Any) -> None:
    bands = golden.cases["tiny_s2_12_gc2880_ps8"]["model_bands"]
    selection = select_bands(bands)
    layout = resolve_layout(selection, 480, [8])
    backbone = filled("tiny", model_bands=bands, input_params={"ground_covers": [480]})
    encoder = backbone.model
    image = torch.from_numpy(golden.fill.make_input("stages", [2, 12, 48, 48]))
    with torch.no_grad():
        parts = split_groups([image], layout)
        for part, grid in zip(parts, layout.groups, strict=True):
            for k, channel in enumerate(grid.channels):
                key = f"resized_input/{channel}"
                if key in stages:
                    assert relative(part[:, k : k + 1], stages[key]) <= 1e-6, key
            tokens = encoder.ind_patch_embed(part, grid)
            assert relative(tokens, stages[f"group_tokens/group{grid.index}"]) <= 5e-6
        tokens_in = encoder._embed(parts, layout)
        assert relative(tokens_in, stages["tokens_in"]) <= 5e-6
        coordinates = layout.coordinates()
        bias = alibi_bias(coordinates, coordinates, encoder.encoder_slopes)
        # With a 60 m group the published distances are off by up to 2.8e-3 of a footprint (matrix-product cdist).
        assert relative(bias, stages["alibi"].reshape(bias.shape)) <= 1e-3
        blocks = encoder.forward_intermediates(parts, layout, [0, 1, 5, 11])
        for index, block in zip((0, 1, 5, 11), blocks, strict=True):
            assert relative(block, stages[f"block{index}"]) <= 5e-5
        assert relative(encoder.norm(blocks[-1]), stages["final_norm"]) <= 5e-5
        assert relative(encoder(parts, layout), stages["final_norm"]) <= 5e-5


def test_layer_norms_use_epsilon_1e_6(filled: Any, stages: Any) -> None:
    encoder = filled("tiny", model_bands=["VV"]).model
    probe = torch.from_numpy(stages["ln_probe/in"])
    with torch.no_grad():
        assert relative(encoder.blocks[0].norm1(probe), stages["ln_probe/block0_norm1"]) <= 1e-6
        assert relative(encoder.norm(probe), stages["ln_probe/norm"]) <= 1e-6


@pytest.mark.parametrize("patch_size", [4, 5, 6, 8, 10, 12, 14, 18, 24, 32])
def test_kernels_are_resized_by_the_antialiased_pseudo_inverse(patch_size: int, stages: Any) -> None:
    kernel = torch.from_numpy(stages["kernel/ref16"])
    expected = stages[f"kernel/p{patch_size}"]
    actual = resize_kernels(kernel.reshape(-1, REFERENCE_KERNEL, REFERENCE_KERNEL), patch_size)
    assert relative(actual.reshape(expected.shape), expected) <= 2e-5


@pytest.mark.parametrize("patch_size", [4, 8])
def test_the_separable_inverse_is_the_full_one(patch_size: int, stages: Any) -> None:
    matrix = resize_matrix(patch_size)
    full = torch.kron(matrix, matrix)
    assert relative(full, stages[f"pinv/p{patch_size}"].reshape(full.shape)) <= 2e-5


@pytest.mark.parametrize("heads", [3, 6, 12, 16])
def test_slopes_are_not_sorted(heads: int, stages: Any) -> None:
    assert np.allclose(alibi_slopes(heads).numpy(), stages[f"slopes/h{heads}"].reshape(-1), rtol=1e-7, atol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_group_and_patch_size_embeddings_put_all_sines_first(variant: str, stages: Any) -> None:
    dims = VARIANTS[variant]
    expected = stages[f"band_embed/{variant}"]
    groups = torch.stack([sinusoidal_embedding(index, dims.group_embed_dim) for index in range(10)])
    assert relative(groups.float(), expected.reshape(groups.shape)) <= 1e-6
    positions = stages["ps_embed_pos"].reshape(-1)
    width = dims.embed_dim - dims.group_embed_dim
    embedded = torch.stack([sinusoidal_embedding(float(position), width) for position in positions])
    expected = stages[f"ps_embed/{variant}"]
    assert relative(embedded.float(), expected.reshape(embedded.shape)) <= 2e-5
