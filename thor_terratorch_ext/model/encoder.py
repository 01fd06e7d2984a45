"""The THOR 1.0 encoder in plain PyTorch.

Reference: FM4CS/THOR (arXiv 2601.16011). Parameter names, shapes and the arithmetic of the forward pass are those of
the published encoder, so its checkpoints load as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from eo_models.forward.layout_cache import LayoutCache
from eo_models.forward.recompute import calls_of
from eo_models.precision.matmul import unless_chosen
from thor_terratorch_ext.model.alibi import alibi_slopes
from thor_terratorch_ext.model.attention import Attend, AttentionBackend, Block, check_backend, make_attend
from thor_terratorch_ext.model.channels import GROUPS
from thor_terratorch_ext.model.layout import TokenLayout
from thor_terratorch_ext.model.patch_embedding import PatchEmbedding

VariantName = Literal["tiny", "small", "base", "large"]


@dataclass(frozen=True)
class Variant:
    """Size of an encoder.

    Parameters
    ----------
    name : {'tiny', 'small', 'base', 'large'}
        Published name of the size.
    embed_dim : int
        Token width D.
    depth : int
        Number of blocks.
    n_heads : int
        Number of attention heads, of 64 channels each.
    group_embed_dim : int
        Channels of the group embedding; the patch-size embedding takes the others.
    """

    name: VariantName
    embed_dim: int
    depth: int
    n_heads: int
    group_embed_dim: int


VARIANTS: Mapping[VariantName, Variant] = MappingProxyType(
    {
        "tiny": Variant("tiny", 192, 12, 3, 32),
        "small": Variant("small", 384, 12, 6, 64),
        "base": Variant("base", 768, 12, 12, 128),
        "large": Variant("large", 1024, 24, 16, 256),
    }
)


def sinusoidal_embedding(position: float, dim: int) -> torch.Tensor:
    """All sines first, then all cosines, of ``position * 10000**(-k / (dim / 2))``.

    Parameters
    ----------
    position : float
        Group index, or position of a patch size.
    dim : int
        Even.

    Returns
    -------
    Tensor
        Float64 ``(dim,)``. The published encoder computes it in float32, 1.5e-5 off at the largest position (192).
    """
    exponent = torch.arange(dim // 2, dtype=torch.float64) / (dim // 2)
    phase = position * 10000.0**-exponent
    return torch.cat([phase.sin(), phase.cos()])


class ThorEncoder(nn.Module):
    """THOR encoder: one image per group in, tokens of the chosen blocks out.

    Parameters
    ----------
    variant : {'tiny', 'small', 'base', 'large'}
        See `VARIANTS`.
    attention : {'auto', 'shared_bias', 'distance', 'products', 'chunked', 'flex'}
        See `thor_terratorch_ext.model.attention`.
    gradient_checkpointing : bool
        While training, keep only the input of each block, and compute the block again in the backward pass.

    Raises
    ------
    ValueError
        If the variant or the attention backend is unknown.
    """

    def __init__(
        self,
        variant: VariantName = "base",
        attention: AttentionBackend = "auto",
        *,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            msg = f"Unknown THOR variant {variant!r}. Valid: {', '.join(VARIANTS)}."
            raise ValueError(msg)
        self.variant = VARIANTS[variant]
        self.attention = check_backend(attention)
        self.gradient_checkpointing = gradient_checkpointing
        dim = self.variant.embed_dim
        self.ind_patch_embed = PatchEmbedding(dim)
        self.band_embed = nn.ParameterDict(
            {
                group.name: nn.Parameter(
                    sinusoidal_embedding(group.index, self.variant.group_embed_dim).float(),
                    requires_grad=False,
                )
                for group in GROUPS
            }
        )
        self.blocks = nn.ModuleList(Block(dim, self.variant.n_heads) for _ in range(self.variant.depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.register_buffer("encoder_slopes", alibi_slopes(self.variant.n_heads))
        self.encoder_slopes: torch.Tensor
        self._attends = LayoutCache(max_entries=2)
        self.apply(_init_linear)

    def forward_intermediates(
        self, images: Sequence[torch.Tensor], layout: TokenLayout, blocks: Sequence[int]
    ) -> list[torch.Tensor]:
        """Run the encoder up to the last wanted block.

        Parameters
        ----------
        images : sequence of Tensor
            One ``(B, C, S, S)`` per group of the layout, normalised, channels as in the group's grid.
        layout : TokenLayout
            The token layout.
        blocks : sequence of int
            Indices 0..depth-1, ascending.

        Returns
        -------
        list of Tensor
            ``(B, N, D)`` after each wanted block, without the final norm. Blocks after the last are not run.
        """
        with unless_chosen():
            tokens = self._embed(images, layout)
            attend = self._attend(layout, tokens)
            call = calls_of(self, gradient_checkpointing=self.gradient_checkpointing)
            wanted, features = set(blocks), []
            for index, block in enumerate(self.blocks[: max(wanted) + 1]):
                tokens = call(block, tokens, attend)
                if index in wanted:
                    features.append(tokens)
            return features

    def forward(self, images: Sequence[torch.Tensor], layout: TokenLayout) -> torch.Tensor:
        """Return the tokens ``(B, N, D)`` of the last block after the final norm; arguments as above."""
        return self.norm(self.forward_intermediates(images, layout, [len(self.blocks) - 1])[0])

    def _embed(self, images: Sequence[torch.Tensor], layout: TokenLayout) -> torch.Tensor:
        position_dim = self.variant.embed_dim - self.variant.group_embed_dim
        tokens = []
        for image, grid, position in zip(images, layout.groups, layout.patch_size_positions, strict=True):
            of_patch_size = sinusoidal_embedding(position, position_dim)
            of_group = self.band_embed[GROUPS[grid.index].name]
            constant = torch.cat([of_patch_size.to(of_group), of_group])
            tokens.append(self.ind_patch_embed(image, grid) + constant)
        return torch.cat(tokens, dim=1)

    def _attend(self, layout: TokenLayout, tokens: torch.Tensor) -> Attend:
        device = tokens.device
        dtype = tokens.dtype
        if torch.is_autocast_enabled(device.type):
            dtype = torch.get_autocast_dtype(device.type)

        def make() -> Attend:
            coordinates = layout.coordinates().to(device)
            slopes = self.encoder_slopes.detach().clone().float()
            return make_attend(self.attention, coordinates, slopes, dtype)

        if torch.compiler.is_compiling():
            return make()
        version = (self.encoder_slopes.data_ptr(), self.encoder_slopes.dtype)
        return self._attends.get((layout, dtype, device), version, make)


def _init_linear(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def split_groups(images: Sequence[torch.Tensor], layout: TokenLayout) -> list[torch.Tensor]:
    """Sort the channels of the input into one image per group, each at the pixel size of its group.

    Images of another size are resized bilinearly (``align_corners=False``, no antialiasing) as the published wrapper
    does: for a factor of 2 that is the mean of 2 x 2 pixels, for a factor of 6 the mean of the central 2 x 2 of every
    6 x 6.

    Parameters
    ----------
    images : sequence of Tensor
        ``(B, C_i, H_i, W_i)``; their channels one after the other are the band selection.
    layout : TokenLayout
        The token layout.

    Returns
    -------
    list of Tensor
        One ``(B, C_g, S_g, S_g)`` per group, channels in the order of the group's grid.
    """
    sources = [(image, channel) for image in range(len(images)) for channel in range(images[image].shape[1])]
    parts = []
    for grid in layout.groups:
        wanted = [sources[position] for position in grid.positions]
        size = (grid.image_size, grid.image_size)
        pieces, order = [], []
        for index in sorted({image for image, _ in wanted}):
            mine = [k for k, (image, _) in enumerate(wanted) if image == index]
            piece = images[index][:, [wanted[k][1] for k in mine]]
            if piece.shape[-2:] != size:
                piece = F.interpolate(piece, size=size, mode="bilinear", align_corners=False)
            pieces.append(piece)
            order.extend(mine)
        part = (
            pieces[0]
            if len(pieces) == 1
            else torch.cat(pieces, dim=1)[:, sorted(range(len(order)), key=order.__getitem__)]
        )
        parts.append(part)
    return parts
