"""Attention and the relative position bias of AnySat, in two ways that compute the same numbers.

* ``sdpa``: PyTorch's fused attention, which picks a flash, memory-efficient or plain kernel by device and dtype.
* ``math``: written out, as the reference.

The published option ``flash_attn`` is neither: it hands over tensors with heads and tokens swapped and thus attends
across the heads of each token. It is not offered.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import nn

from anysat_ext.model.positions import N_BUCKETS
from eo_models.precision.plain import has_plain_weight

AttentionBackend = Literal["sdpa", "math"]
BACKENDS: tuple[AttentionBackend, ...] = get_args(AttentionBackend)
HEAD_DIM = 64


def check_backend(backend: object) -> AttentionBackend:
    """Return ``backend`` if it is known.

    Raises
    ------
    ValueError
        If it is not.
    """
    for valid in BACKENDS:
        if backend == valid:
            return valid
    msg = (
        f"Unknown attention backend {backend!r}. Valid: {', '.join(BACKENDS)}; sdpa uses a flash kernel where "
        "there is one."
    )
    raise ValueError(msg)


def attend(
    backend: AttentionBackend,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """Softmax attention with scale ``1 / sqrt(64)``.

    Parameters
    ----------
    backend : str
        One of `BACKENDS`.
    query, key, value : Tensor
        ``(B, H, L, 64)`` and ``(B, H, N, 64)``.
    bias : Tensor or None
        Added to the logits, the same for all heads: ``(B or 1, 1, L, N)``.

    Returns
    -------
    Tensor
        ``(B, L, H * 64)``.
    """
    bias = None if bias is None else bias.to(query.dtype)
    if backend == "sdpa":
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    else:
        logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        mixed = (logits if bias is None else logits + bias).softmax(dim=-1) @ value
    return mixed.transpose(1, 2).flatten(2)


def split_heads(tokens: torch.Tensor) -> torch.Tensor:
    """View ``(B, L, H * 64)`` as ``(B, H, L, 64)``."""
    return tokens.unflatten(-1, (-1, HEAD_DIM)).transpose(1, 2)


class RelativePositions(nn.Module):
    """Contextual relative position bias on keys (iRPE, Wu et al. 2021), one table for all heads."""

    def __init__(self) -> None:
        super().__init__()
        self.lookup_table_weight = nn.Parameter(torch.zeros(1, HEAD_DIM, N_BUCKETS))

    def weights(self, query: torch.Tensor) -> torch.Tensor:
        """Bias per bucket ``(B, L, 8)`` of queries ``(B, H, L, 64)``.

        Only the query of head 0 counts, and all heads share its bias: the published look-up has an index with one
        head, and the weights are trained so.
        """
        return query[:, 0] @ self.lookup_table_weight[0].to(query.dtype)


class BlockAttention(nn.Module):
    """Self-attention with a fused ``qkv`` layer, with or without relative positions.

    Parameters
    ----------
    dim : int
        Token width D.
    relative : bool
        Whether there is a relative position bias.
    backend : str
        One of `BACKENDS`.
    """

    def __init__(self, dim: int, backend: AttentionBackend, *, relative: bool) -> None:
        super().__init__()
        self.backend = backend
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rpe_k = RelativePositions() if relative else None

    def forward(self, tokens: torch.Tensor, buckets: torch.Tensor | None = None) -> torch.Tensor:
        """Map tokens ``(B, L, D)`` to tokens ``(B, L, D)``; ``buckets`` ``(L, L)`` for relative positions."""
        query, key, value = (split_heads(part) for part in self.qkv(tokens).chunk(3, dim=-1))
        bias = None
        if self.rpe_k is not None and buckets is not None:
            # The bias of self-attention takes the scaled query.
            weights = self.rpe_k.weights(query) * HEAD_DIM**-0.5
            bias = weights.gather(2, buckets.expand(weights.shape[0], -1, -1))[:, None]
        return self.proj(attend(self.backend, query, key, value, bias))

    def first_row(self, tokens: torch.Tensor) -> torch.Tensor:
        """Row 0 of `forward`, ``(B, 1, D)``, without the queries of the others.

        All keys have the same bias for the class token, which the softmax ignores.
        """
        if not has_plain_weight(self.qkv):
            query, key, value = (split_heads(part) for part in self.qkv(tokens).chunk(3, dim=-1))
            return self.proj(attend(self.backend, query[:, :, :1], key, value))
        dim = tokens.shape[-1]
        weight, bias = self.qkv.weight, self.qkv.bias
        query = split_heads(F.linear(tokens[:, :1], weight[:dim], bias[:dim]))
        key, value = (split_heads(part) for part in F.linear(tokens, weight[dim:], bias[dim:]).chunk(2, dim=-1))
        return self.proj(attend(self.backend, query, key, value))
