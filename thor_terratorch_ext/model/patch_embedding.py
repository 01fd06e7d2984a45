"""Patch embedding with flexible patch sizes: one 16-pixel kernel per channel, resized by the FlexiViT pseudo-inverse.

The bands of a group are one linear map over the pixels of a patch: the published encoder embeds each band on its own
and averages the results, which is the same as one embedding with the kernels side by side, divided by their number.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from eo_models.forward.layout_cache import LayoutCache
from thor_terratorch_ext.model.channels import WEIGHT_NAMES, weight_name
from thor_terratorch_ext.model.layout import GroupGrid

#: Side in pixels of the stored kernels.
REFERENCE_KERNEL = 16


def resize_matrix(patch_size: int) -> torch.Tensor:
    """One axis of the pseudo-inverse kernel resize.

    FlexiViT (Beyer et al. 2023, section 3.4) maps a kernel by the pseudo-inverse of the image resize, so that the
    token of a resized patch stays the same. The antialiased bicubic resize is separable, hence so is its inverse:
    ``new kernel = M @ kernel @ M.T`` with ``M = pinv(A.T)`` and ``A`` the resize of one axis.

    Parameters
    ----------
    patch_size : int
        New side in pixels.

    Returns
    -------
    Tensor
        Float64 ``(patch_size, 16)``.
    """
    return torch.tensor(_resize_rows(patch_size), dtype=torch.float64)


def _constant_of_a_trace[F: Callable[..., Any]](function: F) -> F:
    """Mark a function as `torch.compiler.assume_constant_result` does, which imports the compiler: two seconds."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


@lru_cache(maxsize=64)
@_constant_of_a_trace
def _resize_rows(patch_size: int) -> tuple[tuple[float, ...], ...]:
    """Rows of `resize_matrix` as plain numbers: computed without PyTorch, they are constants of a trace."""
    return tuple(map(tuple, np.linalg.pinv(_bicubic_resize(REFERENCE_KERNEL, patch_size).T).tolist()))


def _bicubic_resize(size: int, new_size: int) -> np.ndarray:
    """The antialiased bicubic resize of one axis as a matrix ``(new_size, size)``.

    Keys' cubic kernel with a = -0.5 (Keys 1981), stretched by the scale where the axis shrinks, and normalised at the
    border: what PyTorch's ``interpolate(mode="bicubic", antialias=True)`` and Pillow's ``BICUBIC`` compute.
    """
    scale = size / new_size
    stretch = max(scale, 1.0)
    centres = scale * (np.arange(new_size) + 0.5)
    distance = np.abs(np.arange(size) + 0.5 - centres[:, None]) / stretch
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weights = np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
    return weights / weights.sum(axis=1, keepdims=True)


def resize_kernels(kernels: torch.Tensor, patch_size: int) -> torch.Tensor:
    """Resize square kernels to another patch size; differentiable.

    Parameters
    ----------
    kernels : Tensor
        ``(..., 16, 16)``.
    patch_size : int
        New side in pixels. The reference size returns the kernels themselves.

    Returns
    -------
    Tensor
        ``(..., patch_size, patch_size)`` in the dtype of the kernels (at least float32 arithmetic).
    """
    if patch_size == REFERENCE_KERNEL:
        return kernels
    work = torch.promote_types(kernels.dtype, torch.float32)
    device = kernels.device.type
    with torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else contextlib.nullcontext():
        matrix = resize_matrix(patch_size).to(device=kernels.device, dtype=work)
        return (matrix @ kernels.to(work) @ matrix.T).to(kernels.dtype)


class PatchEmbedding(nn.Module):
    """The patch embeddings of all channels.

    All 46 exist whatever the bands of the model are, under the published names, so that every published checkpoint
    fits every band selection.

    Parameters
    ----------
    embed_dim : int
        Token width D.
    """

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        kernels = {name: nn.Conv2d(1, embed_dim, REFERENCE_KERNEL) for name in WEIGHT_NAMES}
        self.patch_embed = nn.ModuleDict(kernels)
        self._folded = LayoutCache(max_entries=32)

    def forward(self, images: torch.Tensor, grid: GroupGrid) -> torch.Tensor:
        """Embed the patches of one group.

        Parameters
        ----------
        images : Tensor
            ``(B, C, S, S)`` with the group's channels in the order of ``grid.channels`` and S = ``grid.image_size``.
        grid : GroupGrid
            The group's place in the layout.

        Returns
        -------
        Tensor
            ``(B, grid_size**2, D)``.
        """
        kernel, bias = self._group_kernel(grid)
        n, p = grid.grid_size, grid.patch_size
        batch, channels = images.shape[:2]
        patches = images.reshape(batch, channels, n, p, n, p).permute(0, 2, 4, 1, 3, 5)
        return F.linear(patches.reshape(batch, n * n, channels * p * p), kernel, bias)

    def _group_kernel(self, grid: GroupGrid) -> tuple[torch.Tensor, torch.Tensor]:
        """Kernel ``(D, C*p*p)`` and bias ``(D,)`` of a group with the mean over its bands folded in."""
        convs = [cast("nn.Conv2d", self.patch_embed[weight_name(channel)]) for channel in grid.channels]
        adapted = [channel for channel, conv in zip(grid.channels, convs, strict=True) if type(conv) is not nn.Conv2d]
        if adapted:
            msg = (
                f"The patch embedding takes the kernels of {', '.join(adapted)} as they are, a PEFT adapter in their "
                "place would have no effect. Take them out of target_modules (blocks.*: qkv, proj, fc1, fc2), or train "
                "them whole with modules_to_save: [ind_patch_embed]."
            )
            raise ValueError(msg)
        weights, biases = [conv.weight for conv in convs], [cast("torch.Tensor", conv.bias) for conv in convs]
        if torch.compiler.is_compiling() or any(t.requires_grad or t.is_inference() for t in (*weights, *biases)):
            return _fold(weights, biases, grid.patch_size)
        # In-place updates raise a tensor's version, so a key never outlives the weights that it was made from.
        versions = tuple((t.data_ptr(), t._version, t.dtype, t.device) for t in (*weights, *biases))
        return self._folded.get(
            (grid.channels, grid.patch_size), versions, lambda: _fold(weights, biases, grid.patch_size)
        )


def _fold(
    weights: Sequence[torch.Tensor], biases: Sequence[torch.Tensor], patch_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    stacked = torch.cat(list(weights), dim=1) / len(weights)
    kernel = resize_kernels(stacked, patch_size).flatten(1)
    return kernel, torch.stack(list(biases)).mean(dim=0)
