"""Folding the bands of a group into one map changes nothing, and its cache never serves old weights."""

from __future__ import annotations

import copy

import pytest
import torch
from timm.layers.patch_embed import resample_patch_embed

from thor_terratorch_ext.model.channels import select_bands
from thor_terratorch_ext.model.layout import GroupGrid, resolve_layout
from thor_terratorch_ext.model.patch_embedding import PatchEmbedding, resize_kernels, resize_matrix


def _grid(bands: list[str], patch_size: int = 8) -> GroupGrid:
    return resolve_layout(select_bands(bands), 480, [patch_size]).groups[0]


@pytest.mark.parametrize("patch_size", [4, 8, 12, 16, 24, 48])
def test_one_map_for_a_group_is_the_mean_of_one_convolution_per_band(patch_size: int) -> None:
    grid = _grid(["RED", "NIR_BROAD", "BLUE"], patch_size)
    embedding = PatchEmbedding(32)
    image = torch.randn(2, 3, grid.image_size, grid.image_size)
    tokens = []
    for k, channel in enumerate(grid.channels):
        conv = embedding.patch_embed[channel]
        kernel = resample_patch_embed(conv.weight.detach(), [patch_size, patch_size])
        out = torch.nn.functional.conv2d(image[:, k : k + 1], kernel, conv.bias, stride=patch_size)
        tokens.append(out.flatten(2).transpose(1, 2))
    torch.testing.assert_close(embedding(image, grid), torch.stack(tokens).mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("patch_size", [1, 2, 3, 4, 5, 8, 12, 15, 16, 20, 24, 48])
def test_the_formula_of_the_resize_is_pytorchs_antialiased_bicubic(patch_size: int) -> None:
    impulses = torch.eye(16, dtype=torch.float64)[None, None]
    interpolate = torch.nn.functional.interpolate
    resize = interpolate(impulses, size=(patch_size, 16), mode="bicubic", antialias=True)[0, 0]
    torch.testing.assert_close(resize_matrix(patch_size), torch.linalg.pinv(resize.T), rtol=1e-9, atol=1e-9)


def test_the_reference_patch_size_uses_the_kernel_itself() -> None:
    kernel = torch.randn(4, 1, 16, 16)
    assert resize_kernels(kernel, 16) is kernel


def test_gradients_reach_the_stored_kernels_of_the_group_only() -> None:
    grid = _grid(["RED", "BLUE"])
    embedding = PatchEmbedding(8)
    embedding(torch.randn(1, 2, grid.image_size, grid.image_size), grid).square().sum().backward()
    moved = {name for name, conv in embedding.patch_embed.items() if conv.weight.grad is not None}
    assert moved == {"S2:Red", "S2:Blue"}


def test_a_frozen_cache_follows_weights_that_are_loaded_later() -> None:
    grid = _grid(["RED", "BLUE"])
    embedding, other = PatchEmbedding(8).requires_grad_(False), PatchEmbedding(8).requires_grad_(False)
    image = torch.randn(1, 2, grid.image_size, grid.image_size)
    before = embedding(image, grid)
    embedding.load_state_dict(other.state_dict())
    after = embedding(image, grid)
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, other(image, grid))


def test_frozen_weights_are_resized_once_and_unfrozen_ones_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from thor_terratorch_ext.model import patch_embedding as module

    calls = []
    monkeypatch.setattr(module, "resize_kernels", lambda k, p: (calls.append(p), resize_kernels(k, p))[1])
    grid = _grid(["RED", "BLUE"])
    embedding = PatchEmbedding(8)
    image = torch.randn(1, 2, grid.image_size, grid.image_size)
    for _ in range(3):
        embedding(image, grid)
    assert len(calls) == 3
    embedding.requires_grad_(False)
    for _ in range(3):
        embedding(image, grid)
    assert len(calls) == 4


def test_the_cache_neither_enters_the_state_dict_nor_travels_with_a_copy() -> None:
    grid = _grid(["RED"])
    embedding = PatchEmbedding(8).requires_grad_(False)
    keys = set(embedding.state_dict())
    with torch.inference_mode():
        embedding(torch.randn(1, 1, grid.image_size, grid.image_size), grid)
    assert set(embedding.state_dict()) == keys
    assert not copy.deepcopy(embedding)._folded._entries


def test_a_cache_filled_in_inference_mode_serves_training_of_later_layers() -> None:
    grid = _grid(["RED"])
    embedding = PatchEmbedding(8).requires_grad_(False)
    image = torch.randn(1, 1, grid.image_size, grid.image_size)
    with torch.inference_mode():
        embedding(image, grid)
    image.requires_grad_()
    embedding(image, grid).sum().backward()
    assert image.grad is not None
