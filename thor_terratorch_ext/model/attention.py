"""Self-attention with a metric ALiBi bias, in ways that compute the same numbers.

* ``shared_bias``: the bias of a layout is built once and shared by all blocks and samples.
* ``distance``: only the distances are kept, once for all heads, and the product of queries and keys is added to them in
  one matrix multiplication per head and chunk of queries. For long sequences on a CPU, without gradients: a little
  slower than the shared bias, with the memory of one head.
* ``products``: the bias is added by the product of queries and keys, for all heads and a chunk of queries at a time.
  For bfloat16 on CPUs without AMX, without gradients: PyTorch's kernel is 1.6 times slower there than in float32, and
  this one is 1.4 times faster (340 against 160 and 240 GFLOP/s, two cores with AVX-512 BF16).
* ``chunked``: queries are taken a chunk at a time and the bias is computed for the chunk, so that memory grows
  linearly with the number of tokens. A GPU takes as many as the memory budget allows: 256 leave most of it idle.
* ``flex``: PyTorch's FlexAttention computes the bias from coordinates inside the kernel. For CUDA, where it takes the
  least memory; compiled for a CPU with AMX it reaches a quarter of the shared bias (80 against 275 GFLOP/s in bfloat16,
  38 against 91 in float32).

``auto`` takes ``distance`` or ``products`` where they apply, else ``shared_bias`` while that fits a memory budget, else
``chunked``.

While `torch.export` or `torch.compile` trace the encoder, ``distance`` and ``products`` give way to ``shared_bias`` or
``chunked``: they write into buffers of their own, which gains nothing in a compiled graph.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import lru_cache
from itertools import product
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import nn

from eo_models.forward.layout_cache import LayoutCache
from eo_models.precision.hardware import has_amx
from thor_terratorch_ext.model.alibi import alibi_bias

AttentionBackend = Literal["auto", "shared_bias", "distance", "products", "chunked", "flex"]
BACKENDS: tuple[AttentionBackend, ...] = get_args(AttentionBackend)

#: Largest bias (or distances) in bytes that ``auto`` keeps: twice the bias of THOR large on Sentinel-1 and 2 at 288 px.
MAX_BIAS_BYTES = 2**30
#: The same on a GPU, as a part of its memory, where that is more: a bias that is kept is 5 to 9 times as quick there.
MAX_BIAS_OF_GPU = 1 / 16
#: From this number of tokens on, ``auto`` prefers ``distance``: measured, below it the shared bias is 10 % quicker.
LONG_SEQUENCE = 2048
QUERY_CHUNK = 256
#: Queries of a chunk in ``products``: measured, 540 are as quick as any on CPUs with AVX-512 BF16.
PRODUCTS_CHUNK = 540
#: Tokens that go through the MLP at a time without gradients, which bounds the memory of its hidden layer: on a CPU so
#: few that it stays in the cache; on a GPU more, as it waits for each launch (0.8 GB in THOR base).
MLP_CHUNK = 512
MLP_CHUNK_GPU = 65_536

#: Maps query, key and value, each ``(B, H, N, head_dim)``, to ``(B, H, N, head_dim)``.
Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


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
    msg = f"Unknown attention backend {backend!r}. Valid: {', '.join(BACKENDS)}."
    raise ValueError(msg)


def make_attend(
    backend: AttentionBackend, coordinates: torch.Tensor, slopes: torch.Tensor, dtype: torch.dtype
) -> Attend:
    """Prepare the attention of one layout for one device and dtype.

    Parameters
    ----------
    backend : str
        One of `BACKENDS`.
    coordinates : Tensor
        Token centres ``(N, 2)``, float64, in units of the largest patch footprint, on the device of the model.
    slopes : Tensor
        ALiBi slopes ``(H,)``.
    dtype : torch.dtype
        In which query, key and value come.
    """
    n_tokens = coordinates.shape[0]
    if backend == "flex":
        return _flex(coordinates.float(), slopes.float())
    if backend == "chunked":
        return _chunked(coordinates, slopes, dtype)
    fits = n_tokens * _bytes_per_query(coordinates, slopes, dtype) <= _bias_budget(coordinates.device)
    use_bias = backend in ("shared_bias", "distance", "products") or fits
    with_gradient = _shared_bias(coordinates, slopes, dtype) if use_bias else _chunked(coordinates, slopes, dtype)
    if torch.compiler.is_compiling():
        return with_gradient
    on_cpu = coordinates.device.type == "cpu" and dtype in (torch.float32, torch.float64)
    small_enough = n_tokens**2 * dtype.itemsize <= MAX_BIAS_BYTES
    if backend == "distance" or (backend == "auto" and on_cpu and n_tokens >= LONG_SEQUENCE and small_enough):
        return _distance(coordinates, slopes, dtype, with_gradient)
    slow_kernel = coordinates.device.type == "cpu" and dtype == torch.bfloat16 and not has_amx()
    if backend == "products" or (backend == "auto" and slow_kernel and fits):
        return _products(coordinates, slopes, dtype, with_gradient)
    return with_gradient


def _kernel(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """PyTorch's fused attention; autocast would round a bias of float32 anew in every block."""
    device = query.device.type
    as_it_is = query.dtype != bias.dtype and torch.is_autocast_enabled(device)
    with torch.autocast(device, enabled=False) if as_it_is else contextlib.nullcontext():
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)


def _bias_dtype(coordinates: torch.Tensor, dtype: torch.dtype) -> torch.dtype:
    """In which numbers the bias is added: float32 for bfloat16 on a CPU, whose kernel takes that."""
    return torch.float32 if dtype == torch.bfloat16 and coordinates.device.type == "cpu" else dtype


def _bytes_per_query(coordinates: torch.Tensor, slopes: torch.Tensor, dtype: torch.dtype) -> int:
    """Bytes of the bias of one query, for all heads and keys."""
    return slopes.numel() * coordinates.shape[0] * _bias_dtype(coordinates, dtype).itemsize


def _bias_budget(device: torch.device) -> int:
    if device.type != "cuda":
        return MAX_BIAS_BYTES
    return max(MAX_BIAS_BYTES, int(MAX_BIAS_OF_GPU * torch.cuda.get_device_properties(device).total_memory))


def _shared_bias(coordinates: torch.Tensor, slopes: torch.Tensor, dtype: torch.dtype) -> Attend:
    def make() -> torch.Tensor:
        return alibi_bias(coordinates, coordinates, slopes, _bias_dtype(coordinates, dtype))

    # ``distance`` may never ask for the bias, so it is made when first needed; in a trace at once, for all blocks.
    kept = LayoutCache(max_entries=1)
    traced = make() if torch.compiler.is_compiling() else None

    def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        bias = kept.get("bias", None, make) if traced is None else traced
        return _kernel(query, key, value, bias)

    return attend


def _distance(coordinates: torch.Tensor, slopes: torch.Tensor, dtype: torch.dtype, with_gradient: Attend) -> Attend:
    # A bias of one head with slope -1 is the distance matrix, built in chunks of rows.
    distance = alibi_bias(coordinates, coordinates, -torch.ones_like(slopes[:1]), dtype)[0, 0]
    factors = [-slope for slope in slopes.tolist()]

    def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() and query.requires_grad:
            return with_gradient(query, key, value)
        batch, heads, length, dim = query.shape
        mixed = query.new_empty(batch, length, heads, dim)
        scores = query.new_empty(min(QUERY_CHUNK, length), length)
        for head, start in product(range(heads), range(0, length, QUERY_CHUNK)):
            rows = slice(start, start + QUERY_CHUNK)
            part = scores[: min(QUERY_CHUNK, length - start)]
            for sample in range(batch):
                keys = key[sample, head].T
                chunk = query[sample, head, rows]
                torch.addmm(distance[rows], chunk, keys, beta=factors[head], alpha=dim**-0.5, out=part)
                torch.softmax(part, dim=-1, out=part)
                torch.mm(part, value[sample, head], out=mixed[sample, rows, head])
        return mixed.transpose(1, 2)

    return attend


def _products(coordinates: torch.Tensor, slopes: torch.Tensor, dtype: torch.dtype, with_gradient: Attend) -> Attend:
    bias = alibi_bias(coordinates, coordinates, slopes, dtype)[0]

    def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() and query.requires_grad:
            return with_gradient(query, key, value)
        batch, heads, length, dim = query.shape
        mixed = query.new_empty(batch, length, heads, dim)
        for sample in range(batch):
            keys = key[sample].transpose(1, 2)
            for start in range(0, length, PRODUCTS_CHUNK):
                rows = slice(start, start + PRODUCTS_CHUNK)
                scores = torch.baddbmm(bias[:, rows], query[sample, :, rows], keys, alpha=dim**-0.5)
                mixed[sample, rows] = torch.bmm(torch.softmax(scores, dim=-1), value[sample]).transpose(0, 1)
        return mixed.transpose(1, 2)

    return attend


def _chunked(coordinates: torch.Tensor, slopes: torch.Tensor, dtype: torch.dtype) -> Attend:
    chunk = QUERY_CHUNK
    if coordinates.device.type == "cuda":
        chunk = max(QUERY_CHUNK, _bias_budget(coordinates.device) // _bytes_per_query(coordinates, slopes, dtype))

    def bias_of(rows: slice) -> torch.Tensor:
        return alibi_bias(coordinates[rows], coordinates, slopes, _bias_dtype(coordinates, dtype))

    def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        parts = []
        for start in range(0, coordinates.shape[0], chunk):
            rows = slice(start, start + chunk)
            # No name keeps the bias of one chunk while that of the next is made.
            parts.append(_kernel(query[:, :, rows], key, value, bias_of(rows)))
        return torch.cat(parts, dim=2)

    return attend


@lru_cache(maxsize=1)
def _compiled_flex_attention() -> Callable[..., torch.Tensor]:
    from torch.nn.attention.flex_attention import flex_attention  # noqa: PLC0415  (imports the compiler)

    return torch.compile(flex_attention)


def _flex(coordinates: torch.Tensor, slopes: torch.Tensor) -> Attend:
    rows, columns = coordinates.unbind(dim=1)

    def alibi(
        score: torch.Tensor, _batch: torch.Tensor, head: torch.Tensor, query: torch.Tensor, key: torch.Tensor
    ) -> torch.Tensor:
        squared = (rows[query] - rows[key]) ** 2 + (columns[query] - columns[key]) ** 2
        return score - slopes[head] * torch.sqrt(squared)

    def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        if query.is_cuda and not torch.compiler.is_compiling():
            return _compiled_flex_attention()(query, key, value, score_mod=alibi)
        from torch.nn.attention.flex_attention import flex_attention  # noqa: PLC0415

        return flex_attention(query, key, value, score_mod=alibi)

    return attend


class Attention(nn.Module):
    """Multi-head self-attention with a fused ``qkv`` linear layer.

    Parameters
    ----------
    dim : int
        Token width D.
    n_heads : int
        Number of heads; the scale is ``1 / sqrt(D / n_heads)``.
    """

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: torch.Tensor, attend: Attend) -> torch.Tensor:
        """Map tokens ``(B, N, D)`` to tokens ``(B, N, D)``."""
        batch, length, dim = tokens.shape
        qkv = self.qkv(tokens).view(batch, length, 3, self.n_heads, dim // self.n_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = attend(query, key, value).transpose(1, 2).reshape(batch, length, dim)
        return self.proj(mixed)


class Mlp(nn.Module):
    """Two linear layers around an exact (erf) GELU."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map tokens ``(B, N, D)`` to tokens ``(B, N, D)``."""
        return self.fc2(F.gelu(self.fc1(tokens)))


class Block(nn.Module):
    """Pre-norm transformer block without dropout, layer scale or stochastic depth."""

    def __init__(self, dim: int, n_heads: int, mlp_ratio: int = 4, eps: float = 1e-6) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(dim, n_heads)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, mlp_ratio * dim)

    def forward(self, tokens: torch.Tensor, attend: Attend) -> torch.Tensor:
        """Map tokens ``(B, N, D)`` to tokens ``(B, N, D)``."""
        tokens = tokens + self.attn(self.norm1(tokens), attend)
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return tokens + self.mlp(self.norm2(tokens))
        chunk = MLP_CHUNK if tokens.device.type == "cpu" else MLP_CHUNK_GPU
        for part in tokens.flatten(0, 1).split(chunk):
            part += self.mlp(self.norm2(part))  # noqa: PLW2901  (a view of the sum above)
        return tokens
