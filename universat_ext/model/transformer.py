"""Blocks of the tile: the trunk over patches, and the block that reads an output grid of any size from sub-patches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from eo_models.forward.chunking import bytes_per_value, even_slices, in_chunks, rows_per_chunk
from universat_ext.model.numbers import MLP_RATIO, Mlp, Norm, at_least_float32
from universat_ext.model.pooling import INITIAL_GAMMA
from universat_ext.model.positions import Angles, PlaneRope


class GatedAttention(nn.Module):
    """Attention with rotated queries and keys, and a gate per channel of a head.

    Parameters
    ----------
    dim, heads : int
        Width of a token, and number of heads.
    head_norm : type
        Norm of the queries and keys of a head: `Norm` in the trunk; `torch.nn.LayerNorm` in the output block, which
        was built without a choice. Source: upstream.
    """

    def __init__(self, dim: int, heads: int, head_norm: type[Norm] | type[nn.LayerNorm] = Norm) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, dim // heads
        self.q_norm, self.k_norm = head_norm(self.head_dim), head_norm(self.head_dim)
        self.wq = nn.Linear(dim, 2 * dim, bias=False)
        self.wk = nn.Linear(dim, dim, bias=False)
        self.wv = nn.Linear(dim, dim, bias=False)
        self.proj = nn.Linear(dim, dim)
        self.rope = PlaneRope(self.head_dim)

    def keys_and_values(self, tokens: torch.Tensor, angles: Angles) -> tuple[torch.Tensor, torch.Tensor]:
        """Rotated keys and values ``(B, N, h, d)`` of tokens ``(B, N, D)``."""
        value = self.wv(tokens).unflatten(-1, (self.heads, self.head_dim))
        return self._turned(self.wk(tokens), self.k_norm, angles, value.dtype), value

    def forward(self, tokens: torch.Tensor, angles: Angles, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Let tokens ``(B, L, D)`` attend to keys and values."""
        both = self.wq(tokens).unflatten(-1, (self.heads, 2 * self.head_dim))
        query, gate = both.chunk(2, dim=-1)
        query = self._turned(query.flatten(-2), self.q_norm, angles, value.dtype)
        query, key, value = (part.transpose(1, 2) for part in (query, key, value))
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2)
        return self.proj((mixed * gate.sigmoid()).flatten(-2))

    def _turned(self, rows: torch.Tensor, norm: nn.Module, angles: Angles, dtype: torch.dtype) -> torch.Tensor:
        heads = at_least_float32(rows).unflatten(-1, (self.heads, self.head_dim))
        return angles.rotate(norm(heads)).to(dtype)


class TrunkBlock(nn.Module):
    """Pre-norm block with a scale per channel on both branches."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.gamma_1 = nn.Parameter(torch.full((dim,), INITIAL_GAMMA))
        self.gamma_2 = nn.Parameter(torch.full((dim,), INITIAL_GAMMA))
        self.norm1 = Norm(dim)
        self.attn = GatedAttention(dim, heads)
        self.norm2 = Norm(dim)
        self.mlp = Mlp(dim)

    def forward(self, tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Map tokens ``(B, L, D)`` at places ``(L, 2)`` to tokens ``(B, L, D)``."""
        angles, normed = self.attn.rope(places), self.norm1(tokens)
        key, value = self.attn.keys_and_values(normed, angles)
        tokens = tokens + self.gamma_1 * self.attn(normed, angles, key, value)
        return tokens + self.gamma_2 * self.mlp(self.norm2(tokens))


class OutputBlock(nn.Module):
    """Output cells read the sub-patches of all modalities: cross-attention and MLP, without scales or a last norm.

    Every cell sees all sub-patches. The rows of the output are independent, so they are computed in chunks.

    Parameters
    ----------
    dim, heads : int
        Width of a token, and number of heads.
    budget : int or None
        Bytes for the intermediate results of one chunk of rows.
    """

    def __init__(self, dim: int, heads: int, budget: int | None) -> None:
        super().__init__()
        self.budget = budget
        self.norm_q, self.norm_kv = Norm(dim), Norm(dim)
        self.attn = GatedAttention(dim, heads, nn.LayerNorm)
        self.norm2 = Norm(dim)
        self.mlp = Mlp(dim)

    def forward(
        self, cells: torch.Tensor, places: torch.Tensor, tokens: torch.Tensor, token_places: torch.Tensor
    ) -> torch.Tensor:
        """Read sub-patches.

        Parameters
        ----------
        cells : Tensor
            Registers and output cells ``(B, L, D)``.
        places : Tensor
            Of the cells, ``(L, 2)``.
        tokens : Tensor
            Sub-patches ``(B, N, D)``.
        token_places : Tensor
            Of the sub-patches, ``(N, 2)``.

        Returns
        -------
        Tensor
            ``(B, L, D)``.
        """
        key, value = self.attn.keys_and_values(self.norm_kv(tokens), self.attn.rope(token_places))

        def read(rows: slice) -> torch.Tensor:
            own = cells[:, rows]
            own = own + self.attn(self.norm_q(own), self.attn.rope(places[rows]), key, value)
            return (own + self.mlp(self.norm2(own))).transpose(0, 1)

        batch, length, dim = cells.shape
        per_row = batch * (MLP_RATIO + 8) * dim * bytes_per_value(cells)
        limit = rows_per_chunk(self.budget, per_row, cells.device)
        return in_chunks(read, even_slices(length, limit)).transpose(0, 1)
