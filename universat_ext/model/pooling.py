"""The block that pools an axis: many tokens become one that may be wider.

Reference: section 3.3 of the project's UniverSat specification; gastruc/UniverSat at commit f6df2ee.
"""

from __future__ import annotations

import torch
from torch import nn

from eo_models.precision.plain import has_plain_weight
from universat_ext.model.numbers import Mlp, Norm, at_least_float32
from universat_ext.model.positions import Angles, PlaneRope

#: Published initial value of the scales of both branches.
INITIAL_GAMMA = 1e-6


class PoolingAttention(nn.Module):
    """One query and one gate per head, made of the mean and the largest of all tokens; there is no output projection.

    Parameters
    ----------
    dim, out : int
        Width of a token, and of the result.
    heads : int
        Heads, of ``out / heads`` channels.
    key_bias : bool
        Whether keys and values have a bias.
    rope : bool
        Whether keys are rotated by learned rotations; the query never is.
    """

    def __init__(self, dim: int, out: int, heads: int, *, key_bias: bool, rope: bool) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, out // heads
        self.q_norm, self.k_norm = Norm(self.head_dim), Norm(self.head_dim)
        self.wq = nn.Linear(2 * dim, 2 * out)
        self.wk = nn.Linear(dim, out, bias=key_bias)
        self.wv = nn.Linear(dim, out, bias=key_bias)
        self.rope = PlaneRope(self.head_dim) if rope else None

    def angles(self, places: torch.Tensor) -> Angles | None:
        """Rotations of keys at places ``(N, 2)``; ``None`` if this attention knows no places."""
        return None if self.rope is None else self.rope(places)

    def forward(self, tokens: torch.Tensor, angles: Angles | None, valid: torch.Tensor | None) -> torch.Tensor:
        """Pool normalised tokens ``(R, N, d)`` to ``(R, out)``; ``valid`` ``(R, N)`` says which count.

        A single token is only projected: no query, key or gate.
        """
        if tokens.shape[1] == 1:
            return self.wv(tokens[:, 0])
        summary = torch.cat([mean_of(tokens, valid), max_of(tokens, valid)], dim=-1)
        query, gate = self.wq(summary).unflatten(-1, (self.heads, 2 * self.head_dim)).chunk(2, dim=-1)
        # Logits are float32 where layers compute in fewer bits.
        query = self.q_norm(at_least_float32(query)) * self.head_dim**-0.5
        key = self.k_norm(at_least_float32(self.wk(tokens)).unflatten(-1, (self.heads, self.head_dim)))
        if angles is not None:
            key = angles.rotate(key)
        logits = (key * query[:, None]).sum(dim=-1)
        if valid is not None:
            logits = logits.masked_fill(~valid[..., None], float("-inf"))
        pooled = self._values(tokens, logits.softmax(dim=1))
        return (gate.sigmoid() * pooled).flatten(1)

    def _values(self, tokens: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Weighted sums of the values ``(R, h, out / h)``, for weights ``(R, N, h)`` that add up to 1."""
        if not has_plain_weight(self.wv):
            values = self.wv(tokens).unflatten(-1, (self.heads, self.head_dim))
            return torch.einsum("rnh,rnhd->rhd", weights.to(values.dtype), values)
        # The sum first, and its projection by head: the same numbers for a fraction of the products.
        mixed = weights.transpose(1, 2).to(tokens.dtype) @ tokens
        projection = self.wv.weight.unflatten(0, (self.heads, self.head_dim))
        values = torch.einsum("rhc,hdc->rhd", mixed.to(projection.dtype), projection)
        return values if self.wv.bias is None else values + self.wv.bias.view(self.heads, self.head_dim)


class PoolingBlock(nn.Module):
    """Attention and MLP around a residual of the mean and the largest token, both with a scale per channel.

    Parameters
    ----------
    dim : int
        Width of a token.
    expand : {1, 2}
        How many times wider the result is. The residual is the largest token, or mean and largest behind one another.
    heads, key_bias, rope
        See `PoolingAttention`.
    """

    def __init__(self, dim: int, expand: int, heads: int, *, key_bias: bool = True, rope: bool = False) -> None:
        super().__init__()
        self.expand, self.out = expand, expand * dim
        out = self.out
        self.gamma_1 = nn.Parameter(torch.full((out,), INITIAL_GAMMA))
        self.gamma_2 = nn.Parameter(torch.full((out,), INITIAL_GAMMA))
        self.norm1 = Norm(dim)
        self.attn = PoolingAttention(dim, out, heads, key_bias=key_bias, rope=rope)
        self.norm2 = Norm(out)
        self.mlp = Mlp(out)

    def forward(
        self, tokens: torch.Tensor, angles: Angles | None = None, valid: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Pool tokens.

        Parameters
        ----------
        tokens : Tensor
            ``(R, N, d)``.
        angles : Angles, optional
            Rotations of the keys.
        valid : Tensor, optional
            Bool ``(R, N)``: tokens that count; all if absent. Every row needs one.

        Returns
        -------
        Tensor
            ``(R, expand * d)``.
        """
        residual = max_of(tokens, valid)
        if self.expand == 2:
            residual = torch.cat([mean_of(tokens, valid), residual], dim=-1)
        residual = residual + self.gamma_1 * self.attn(self.norm1(tokens), angles, valid)
        return residual + self.gamma_2 * self.mlp(self.norm2(residual))


def mean_of(tokens: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
    """Mean over the tokens that count, ``(R, d)``."""
    if tokens.shape[1] == 1:
        return tokens[:, 0]
    if valid is None:
        return tokens.mean(dim=1)
    weights = valid.to(tokens.dtype)
    return (tokens * weights[..., None]).sum(dim=1) / weights.sum(dim=1, keepdim=True)


def max_of(tokens: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
    """Largest value per channel of the tokens that count, ``(R, d)``."""
    if tokens.shape[1] == 1:
        return tokens[:, 0]
    return tokens.amax(dim=1) if valid is None else tokens.masked_fill(~valid[..., None], float("-inf")).amax(dim=1)
