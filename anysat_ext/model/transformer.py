"""Transformer blocks: the spatial encoder of a patch, the blocks of a tile, and the block that merges modalities."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from anysat_ext.model.attention import AttentionBackend, BlockAttention, RelativePositions, attend, split_heads
from anysat_ext.model.grid import TileLayout
from anysat_ext.model.positions import CLASS_BUCKET, grid_buckets, sincos_2d, token_buckets
from eo_models.forward.chunking import bytes_per_value, even_slices, in_chunks, rows_per_chunk
from eo_models.forward.layout_cache import LayoutCache
from eo_models.forward.recompute import Call

MLP_RATIO = 4
#: The spatial encoder keeps PyTorch's epsilon; the blocks of the tile are built with another one. Source: upstream.
SPATIAL_EPS = 1e-5
GLOBAL_EPS = 1e-6
#: Largest relative position bias in bytes that the merging block keeps; beyond it, queries are taken in chunks.
MAX_BIAS_BYTES = 2**26


class Mlp(nn.Module):
    """Two linear layers around an exact (erf) GELU."""

    def __init__(self, dim: int, budget: int | None) -> None:
        super().__init__()
        self.budget = budget
        self.fc1 = nn.Linear(dim, MLP_RATIO * dim)
        self.fc2 = nn.Linear(MLP_RATIO * dim, dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map tokens ``(..., D)`` to tokens ``(..., D)``."""
        return self.fc2(F.gelu(self.fc1(tokens)))

    def add_to(self, tokens: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
        """Return the sum of tokens ``(..., D)`` and what they become here behind a norm.

        Without gradients a chunk is normalised, mapped and added while it is in the cache of the CPU, in place:
        ``tokens`` must belong to nobody else.
        """
        rows = tokens.flatten(0, -2)
        limit = rows_per_chunk(self.budget, 2 * self.fc1.out_features * bytes_per_value(rows), rows.device)
        slices = even_slices(rows.shape[0], limit)
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return tokens + in_chunks(lambda part: self(norm(rows[part])), slices).view_as(tokens)
        for part in slices:
            rows[part] += self(norm(rows[part]))
        return rows.view_as(tokens)


class Block(nn.Module):
    """Pre-norm block without dropout, layer scale or stochastic depth."""

    def __init__(self, dim: int, backend: AttentionBackend, budget: int | None, eps: float, *, relative: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = BlockAttention(dim, backend, relative=relative)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, budget)

    def forward(self, tokens: torch.Tensor, buckets: torch.Tensor | None = None) -> torch.Tensor:
        """Map tokens ``(B, L, D)`` to tokens ``(B, L, D)``."""
        tokens = tokens + self.attn(self.norm1(tokens), buckets)
        return self.mlp.add_to(tokens, self.norm2)

    def first_row(self, tokens: torch.Tensor) -> torch.Tensor:
        """Row 0 of `forward`, ``(B, 1, D)``."""
        first = tokens[:, :1] + self.attn.first_row(self.norm1(tokens))
        return self.mlp.add_to(first, self.norm2)


class SpatialEncoder(nn.Module):
    """The encoder that all modalities share: the tokens of a patch to one vector.

    Parameters
    ----------
    dim, depth : int
        Token width D and number of blocks.
    backend : str
        See `anysat_ext.model.attention`.
    budget : int or None
        Bytes for the intermediate results of one chunk of patches.
    """

    def __init__(self, dim: int, depth: int, backend: AttentionBackend, budget: int | None) -> None:
        super().__init__()
        self.backend, self.budget = backend, budget
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.predictor_blocks = nn.ModuleList(
            Block(dim, backend, budget, SPATIAL_EPS, relative=True) for _ in range(depth)
        )
        self.predictor_norm = nn.LayerNorm(dim, eps=SPATIAL_EPS)
        self._tables = LayoutCache(max_entries=8)

    def forward(self, tokens: torch.Tensor, step: float, call: Call, *, with_tokens: bool) -> torch.Tensor:
        """Encode patches.

        Parameters
        ----------
        tokens : Tensor
            ``(n, r**2, D)``.
        step : float
            Ground size of a token in metres.
        call : callable
            Calls a block, see `eo_models.forward.recompute.calls_of`.
        with_tokens : bool
            Whether the encoded tokens are wanted, too. Without them the last block computes its class row only.

        Returns
        -------
        Tensor
            ``(n, 1, D)``, or ``(n, 1 + r**2, D)`` with the tokens.
        """
        n, length, dim = tokens.shape
        positions, buckets = self._table(round(length**0.5), step, tokens)
        heads = 1 if self.backend == "sdpa" else dim // 64
        per_patch = (length + 1) * (2 * MLP_RATIO * dim + 2 * heads * (length + 1)) * bytes_per_value(tokens)
        slices = even_slices(n, rows_per_chunk(self.budget, per_patch, tokens.device))
        cls_token = self.cls_token.to(tokens.dtype)

        def encode(part: slice) -> torch.Tensor:
            own = tokens[part]
            sequence = torch.cat([cls_token.expand(own.shape[0], -1, -1), own + positions], dim=1)
            return self._encode(sequence, buckets, call, with_tokens=with_tokens)

        return in_chunks(encode, slices)

    def _encode(self, sequence: torch.Tensor, buckets: torch.Tensor, call: Call, *, with_tokens: bool) -> torch.Tensor:
        *first, last = self.predictor_blocks
        for block in first:
            sequence = call(block, sequence, buckets)
        if with_tokens:
            sequence = call(last, sequence, buckets)
        else:
            sequence = call(cast("Block", last).first_row, sequence)
        return self.predictor_norm(sequence)

    def _table(self, side: int, step: float, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        def make() -> tuple[torch.Tensor, torch.Tensor]:
            positions = sincos_2d(side, step, like.shape[-1])
            return positions.to(like.device, like.dtype), token_buckets(side).to(like.device)

        table = self._tables.get((side, step, like.dtype, like.device), None, make)
        return cast("tuple[torch.Tensor, torch.Tensor]", table)


class MergingAttention(nn.Module):
    """Cross-attention from one learned query per patch to the patches of all modalities.

    Parameters
    ----------
    dim : int
        Token width D.
    backend : str
        See `anysat_ext.model.attention`.
    """

    def __init__(self, dim: int, backend: AttentionBackend) -> None:
        super().__init__()
        self.backend = backend
        self.q_learned = nn.Parameter(torch.zeros(1, 1, dim))
        self.wk = nn.Linear(dim, dim)
        self.wv = nn.Linear(dim, dim)
        self.rpe_k = RelativePositions()
        self.proj = nn.Linear(dim, dim)
        self._prepared = LayoutCache(max_entries=4)

    def forward(self, tokens: torch.Tensor, layout: TileLayout, positions: torch.Tensor) -> torch.Tensor:
        """Merge modalities.

        Parameters
        ----------
        tokens : Tensor
            ``(B, 1 + n_context + M * N, D)``: class token, context, the patches of M modalities.
        layout : TileLayout
            What the tokens are.
        positions : Tensor
            Position encoding of the patches ``(N, D)``.

        Returns
        -------
        Tensor
            ``(B, 1 + N, D)``.
        """
        batch, length, _ = tokens.shape
        key, value = split_heads(self.wk(tokens)), split_heads(self.wv(tokens))
        limit = max(1, MAX_BIAS_BYTES // (length * tokens.element_size()))
        slices = even_slices(1 + len(positions), limit)
        pieces: Iterable[tuple[torch.Tensor, torch.Tensor]]
        if len(slices) == 1:
            pieces = [self._kept(layout, positions, key.dtype)]
        else:
            pieces = (self._prepare(rows, layout, positions) for rows in slices)
        mixed = [attend(self.backend, q.to(key).expand(batch, -1, -1, -1), key, value, bias) for q, bias in pieces]
        return self.proj(mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=1))

    def first_row(self, tokens: torch.Tensor) -> torch.Tensor:
        """Row 0 of `forward`, ``(B, 1, D)``. All keys have the same bias for it, which the softmax ignores."""
        key, value = split_heads(self.wk(tokens)), split_heads(self.wv(tokens))
        query = split_heads(self.q_learned.to(key.dtype)).expand(tokens.shape[0], -1, -1, -1)
        return self.proj(attend(self.backend, query, key, value))

    def _prepare(self, rows: slice, layout: TileLayout, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Query ``(1, H, n, 64)`` and bias ``(1, 1, n, K)`` of some rows; neither depends on the input."""
        learned = self.q_learned[0]
        patches = slice(max(rows.start - 1, 0), rows.stop - 1)
        queries = learned + positions[patches]
        if rows.start == 0:
            queries = torch.cat([learned, queries])
        # No projection; and unlike in self-attention, the bias takes the query before it is scaled.
        query = split_heads(queries[None])
        weights = self.rpe_k.weights(query)[0]
        patch_weights = weights[1:] if rows.start == 0 else weights
        between = patch_weights.gather(1, grid_buckets(layout.side, patches, positions.device))
        # The class token and the context (MODIS) have no place in the grid.
        apart = patch_weights[:, CLASS_BUCKET : CLASS_BUCKET + 1]
        bias = torch.cat([apart] * (1 + layout.n_context) + [between] * layout.n_images, dim=1)
        if rows.start == 0:
            bias = torch.cat([weights[:1, CLASS_BUCKET:].expand(1, bias.shape[1]), bias])
        return query, bias[None, None]

    def _kept(
        self, layout: TileLayout, positions: torch.Tensor, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What `_prepare` gives for all rows, made once per layout unless it must be differentiated or traced."""
        everything = slice(0, 1 + len(positions))
        parameters = (self.q_learned, self.rpe_k.lookup_table_weight)
        differentiated = torch.is_grad_enabled() and any(parameter.requires_grad for parameter in parameters)
        if differentiated or torch.compiler.is_compiling():
            return self._prepare(everything, layout, positions)
        # The values themselves: a version counter misses what is written through `.data`.
        version = b"".join(parameter.detach().float().cpu().numpy().tobytes() for parameter in parameters)

        def make() -> tuple[torch.Tensor, torch.Tensor]:
            query, bias = self._prepare(everything, layout, positions)
            return query.to(dtype), bias.to(dtype)

        kept = self._prepared.get((layout, dtype, positions.device), version, make)
        return cast("tuple[torch.Tensor, torch.Tensor]", kept)


class MergingBlock(nn.Module):
    """The last block: merges the modalities of each patch.

    There is no residual connection around its attention and no norm behind it.
    """

    def __init__(self, dim: int, backend: AttentionBackend, budget: int | None) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=GLOBAL_EPS)
        self.attn = MergingAttention(dim, backend)
        self.norm2 = nn.LayerNorm(dim, eps=GLOBAL_EPS)
        self.mlp = Mlp(dim, budget)

    def forward(
        self,
        tokens: torch.Tensor,
        layout: TileLayout,
        positions: torch.Tensor,
        class_only: bool,  # noqa: FBT001
    ) -> torch.Tensor:
        """Map the tokens of all modalities to ``(B, 1 + N, D)``, or to the class row ``(B, 1, D)`` alone."""
        tokens = self.norm1(tokens)
        merged = self.attn.first_row(tokens) if class_only else self.attn(tokens, layout, positions)
        # A copy, as what the attention gave may be somebody else's, too: a forward hook's.
        return self.mlp.add_to(merged.to(tokens.dtype, copy=True), self.norm2)
