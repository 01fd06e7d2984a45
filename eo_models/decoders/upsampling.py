"""A transposed convolution that doubles the size, and the 3 x 3 convolution behind it, as one step.

Nothing stands between the two, so a pixel of the result is a linear function of 2 x 2 pixels of the input, by one of
four kernels: one for each place in the 2 x 2 pixels that an input pixel becomes. That takes 16 products of weights per
input pixel and pair of channels instead of 40, and the doubled map between the two is never made. Numbers differ in
their last digits only.

With ``T`` the transposed kernel, ``C`` the 3 x 3 kernel and row ``2 i + a`` of the result (``a`` 0 or 1): tap ``k`` of
``C`` reads row ``2 i + a + k - 1`` of the doubled map, which row ``p`` of ``T`` makes of input row ``i - 1 + a + u``,
where ``k = 2 u + a + p - 1``. Columns go the same way. So the four kernels are the sum over ``p`` (and over the
channels between) of ``C[2 u + a + p - 1] T[p]``: the convolution of ``C`` with ``T``.
"""

from __future__ import annotations

from itertools import product
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import FunctionCtx, once_differentiable

#: Of a map with at least two rows: the first one, those between, the last one. Columns likewise.
_PARTS: tuple[int | slice, ...] = (0, slice(1, -1), -1)
#: Edges and corners, as places in a table of 3 x 3.
_EDGES = tuple((i, j) for i, j in product(range(3), repeat=2) if (i, j) != (1, 1))


def pays(double: nn.ConvTranspose2d, mix: nn.Conv2d) -> bool:
    """Whether one step takes fewer products than two: many channels are better reduced before the size is doubled."""
    between = mix.in_channels
    return 16 * double.in_channels * mix.out_channels < 4 * between * (double.in_channels + 9 * mix.out_channels)


def upsampled(image: torch.Tensor, double: nn.ConvTranspose2d, mix: nn.Conv2d) -> torch.Tensor:
    """Return ``mix(double(image))``.

    Parameters
    ----------
    image : Tensor
        ``(B, C, H, W)``, best with the channels last in memory, in the dtype to compute in.
    double : nn.ConvTranspose2d
        Kernel 2 x 2, stride 2, no padding, with a bias.
    mix : nn.Conv2d
        Kernel 3 x 3, padding 1, with a bias.

    Returns
    -------
    Tensor
        ``(B, D, 2 H, 2 W)``, the channels last in memory.
    """
    kernels = joined_kernels(double.weight, mix.weight)
    bias, at_edges = joined_bias(double, mix)
    kernels = kernels.to(image.dtype).contiguous(memory_format=torch.channels_last)
    found: torch.Tensor = _Upsample.apply(image, kernels, bias.to(image.dtype), at_edges.to(image.dtype))
    return found


def joined_kernels(double: torch.Tensor, mix: torch.Tensor) -> torch.Tensor:
    """Return the four kernels ``(4 D, C, 2, 2)``, by ``a``, then by the same of columns, then by output channel.

    Parameters
    ----------
    double : Tensor
        Weight of the transposed convolution ``(C, M, 2, 2)``.
    mix : Tensor
        Weight of the convolution ``(D, M, 3, 3)``.
    """
    both = F.conv2d(mix, double, padding=1)  # (D, C, 4, 4): rows 2 u + a, columns 2 v + b
    return both.unflatten(3, (2, 2)).unflatten(2, (2, 2)).permute(3, 5, 0, 1, 2, 4).flatten(0, 2)


def joined_bias(double: nn.ConvTranspose2d, mix: nn.Conv2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the bias ``(D,)`` inside the map, and what is added to it ``(3, 3, D)`` at its edges and corners.

    The 3 x 3 convolution reads zeros around the doubled map, which has its own bias everywhere else.
    """
    inner, outer = cast("torch.Tensor", double.bias), cast("torch.Tensor", mix.bias)
    places = F.conv2d(inner.view(1, -1, 1, 1).expand(1, -1, 3, 3), mix.weight, padding=1)[0].permute(1, 2, 0)
    return outer + places[1, 1], places - places[1, 1]


class _Upsample(torch.autograd.Function):
    """One convolution with a window of 2 x 2 pixels, whose four groups of channels become 2 x 2 pixels."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, image: torch.Tensor, kernels: torch.Tensor, bias: torch.Tensor, at_edges: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(image, kernels)
        windows = F.conv2d(image, kernels, bias.repeat(4), padding=1).permute(0, 2, 3, 1)
        batch, channels = windows.shape[0], windows.shape[3] // 4
        height, width = image.shape[2:]
        places = windows.unflatten(3, (2, 2, channels))
        result = windows.new_empty(batch, 2 * height, 2 * width, channels)
        for a, b in product((0, 1), repeat=2):
            result[:, a::2, b::2] = places[:, a : a + height, b : b + width, a, b]
        for i, j in _EDGES:
            result[:, _PARTS[i], _PARTS[j]] += at_edges[i, j]
        return result.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # noqa: ANN401
        image, kernels = ctx.saved_tensors
        pixels = gradient.permute(0, 2, 3, 1)
        batch, height, width, channels = pixels.shape[0], pixels.shape[1] // 2, pixels.shape[2] // 2, pixels.shape[3]
        windows = pixels.new_empty(batch, height + 1, width + 1, 2, 2, channels)
        for a, b in product((0, 1), repeat=2):
            windows[:, a : a + height, b : b + width, a, b] = pixels[:, a::2, b::2]
            windows[:, 0 if a else height, :, a, b] = 0  # windows outside of the map
            windows[:, :, 0 if b else width, a, b] = 0
        wanted = [ctx.needs_input_grad[0], ctx.needs_input_grad[1], ctx.needs_input_grad[2]]
        of_windows = windows.flatten(3).permute(0, 3, 1, 2)
        of_image, of_kernels, of_bias = torch.ops.aten.convolution_backward(
            of_windows, image, kernels, [4 * channels], [1, 1], [1, 1], [1, 1], False, [0, 0], 1, wanted
        )
        of_bias = None if of_bias is None else of_bias.view(4, channels).sum(dim=0)
        at_edges = None
        if ctx.needs_input_grad[3]:
            at_edges = pixels.new_zeros(3, 3, channels)
            for i, j in _EDGES:
                at_edges[i, j] = pixels[:, _PARTS[i], _PARTS[j]].reshape(-1, channels).sum(dim=0)
        return of_image, of_kernels, of_bias, at_edges
