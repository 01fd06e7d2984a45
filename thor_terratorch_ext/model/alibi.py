"""Two-dimensional ALiBi in metres: attention falls off with the distance between token centres on the ground.

Formula (THOR 1.0; slopes after Press et al. 2022, "Train Short, Test Long"):
``bias[h, i, j] = -slope[h] * ||u_i - u_j|| / M`` with token centres ``u`` in metres and ``M`` the largest patch
footprint of the layout. Adding a coarse group therefore rescales the bias of all groups.
"""

from __future__ import annotations

import math

import torch

#: Rows of a bias that are computed at a time, which bounds the temporary memory.
_ROWS = 256


def alibi_slopes(n_heads: int) -> torch.Tensor:
    """Slope of each head.

    Parameters
    ----------
    n_heads : int
        Number of heads. For a number that is no power of two, the slopes of the next lower power of two come first
        and every second slope of the next higher one follows, unsorted.

    Returns
    -------
    Tensor
        Float32 ``(n_heads,)``.
    """

    def geometric(n: int) -> list[float]:
        return [2.0 ** (-8.0 * (i + 1) / n) for i in range(n)]

    lower = 2 ** int(math.log2(n_heads))
    slopes = geometric(lower) + geometric(2 * lower)[::2][: n_heads - lower]
    return torch.tensor(slopes, dtype=torch.float32)


def pairwise_distance(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Euclidean distances between token centres, by differences and not by the matrix-product form.

    Parameters
    ----------
    queries, keys : Tensor
        Coordinates ``(Q, 2)`` and ``(K, 2)``.

    Returns
    -------
    Tensor
        ``(Q, K)`` in the dtype of the coordinates.
    """
    rows = queries[:, None, 0] - keys[None, :, 0]
    columns = queries[:, None, 1] - keys[None, :, 1]
    if torch.compiler.is_compiling():
        # ONNX has no hypot. Distances are a few patches, whose squares no float64 overflows at.
        return torch.sqrt(rows * rows + columns * columns)
    return torch.hypot(rows, columns)


def alibi_bias(
    queries: torch.Tensor, keys: torch.Tensor, slopes: torch.Tensor, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Additive attention bias, shared by all samples and blocks.

    Parameters
    ----------
    queries, keys : Tensor
        Coordinates ``(Q, 2)`` and ``(K, 2)`` in units of the largest footprint, float32 or float64. Half precision
        is not enough: float16 overflows beyond 65 504 m and bfloat16 keeps 8 bits of a distance.
    slopes : Tensor
        ``(H,)``.
    dtype : torch.dtype
        Of the result; the arithmetic before is done in the precision of the coordinates.

    Returns
    -------
    Tensor
        ``(1, H, Q, K)``.
    """
    factors = -slopes.to(dtype=torch.float32, device=queries.device)[:, None, None]
    if torch.compiler.is_compiling():
        # A compiler plans memory by itself, and a loop over rows would be unrolled.
        return (factors * pairwise_distance(queries, keys).to(torch.float32)).to(dtype)[None]
    shape = (1, slopes.numel(), queries.shape[0], keys.shape[0])
    bias = torch.empty(shape, dtype=dtype, device=queries.device)
    for start in range(0, queries.shape[0], _ROWS):
        rows = slice(start, start + _ROWS)
        bias[0, :, rows] = factors * pairwise_distance(queries[rows], keys).to(torch.float32)
    return bias
