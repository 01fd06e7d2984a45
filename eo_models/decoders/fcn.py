"""TerraTorch's ``FCNDecoder`` with the same weights and results, in half of the time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from eo_models.decoders.upsampling import pays, upsampled

NAME = "QuickFCNDecoder"
#: As in TerraTorch's decoder.
EPS = 1e-6


class QuickFCNDecoder(nn.Module):
    """What TerraTorch's ``FCNDecoder`` computes, from the same parameters under the same names.

    Each step is a transposed convolution that doubles the size, a 3 x 3 convolution, a norm over the channels of each
    pixel, and a GELU. It is quicker as the two convolutions are joined where that takes fewer products (see
    `eo_models.decoders.upsampling`), channels lie last in memory from end to end, and with mixed precision everything
    is computed in the 16-bit type, with sums of the norm in float32. In float32 results differ in their last digits.

    Source: terratorch 1.2.13, ``terratorch/models/decoders/fcn_decoder.py`` (names and order of the layers).

    Parameters
    ----------
    embed_dim : sequence of int
        Channels of the feature maps.
    channels : int
        Channels of the result.
    num_convs : int
        Number of steps; the size is multiplied by ``2**num_convs``.
    in_index : int
        Which feature map is decoded.

    Raises
    ------
    ValueError
        If a number is not positive, or there is no such map.
    """

    def __init__(self, embed_dim: Sequence[int], channels: int = 256, num_convs: int = 4, in_index: int = -1) -> None:
        super().__init__()
        if channels < 1 or num_convs < 1 or not -len(embed_dim) <= in_index < len(embed_dim):
            msg = (
                f"{NAME} needs channels and num_convs of at least 1 and an in_index of one of {len(embed_dim)} feature "
                f"maps, got channels={channels}, num_convs={num_convs}, in_index={in_index}."
            )
            raise ValueError(msg)
        self.in_index = in_index
        self.out_channels = channels
        widths = [embed_dim[in_index], *[channels] * num_convs]
        self.convs = nn.ModuleList(_Step(*pair) for pair in itertools.pairwise(widths))

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Decode a map ``(B, C, H, W)`` to ``(B, D, H * 2**n, W * 2**n)``, its channels last in memory."""
        image = features[self.in_index]
        device = image.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else image.dtype
        image = image.to(dtype).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, enabled=False):
            for step in self.convs:
                image = step(image)
        return image


class _Step(nn.ModuleDict):
    """The layers of one step, under the names that they have in TerraTorch's decoder."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self["0"] = nn.ConvTranspose2d(channels, out_channels, kernel_size=2, stride=2)
        self["1"] = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1)
        self["2"] = nn.ModuleDict({"ln": nn.LayerNorm(out_channels, eps=EPS)})

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        double, mix = cast("nn.ConvTranspose2d", self["0"]), cast("nn.Conv2d", self["1"])
        norm = cast("nn.LayerNorm", cast("nn.ModuleDict", self["2"])["ln"])
        if pays(double, mix) and not torch.compiler.is_compiling():
            image = upsampled(image, double, mix)
        else:
            image = _one_by_one(image, double, mix)
        rows = image.permute(0, 2, 3, 1)
        weight, bias = norm.weight.to(rows.dtype), norm.bias.to(rows.dtype)
        return F.gelu(F.layer_norm(rows, norm.normalized_shape, weight, bias, norm.eps)).permute(0, 3, 1, 2)


def _one_by_one(image: torch.Tensor, double: nn.ConvTranspose2d, mix: nn.Conv2d) -> torch.Tensor:
    def of(layer: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
        weight, bias = cast("torch.Tensor", layer.weight), cast("torch.Tensor", layer.bias)
        return weight.to(image.dtype, memory_format=torch.channels_last), bias.to(image.dtype)

    return F.conv2d(F.conv_transpose2d(image, *of(double), stride=2), *of(mix), padding=1)


def register() -> None:
    """Enter the decoder in TerraTorch's registry (imports TerraTorch)."""
    from terratorch.registry import TERRATORCH_DECODER_REGISTRY  # noqa: PLC0415

    TERRATORCH_DECODER_REGISTRY.register(QuickFCNDecoder)
