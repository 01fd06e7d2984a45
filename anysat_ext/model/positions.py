"""Position encodings and relative position buckets. All are constants of a grid; nothing is learned here.

The encodings are evaluated in float32 in the published order of operations: a phase of some hundred radians then has
an error of 1e-5, which is part of what the weights were trained with.
"""

from __future__ import annotations

import torch

#: Column of a relative position table for pairs with a class token.
CLASS_BUCKET = 7
#: Columns of a relative position table. The first three are never read.
N_BUCKETS = 8


def sincos_1d(coordinates: torch.Tensor, dim: int) -> torch.Tensor:
    """All sines first, then all cosines, of ``coordinate * 10000**(-j / (dim / 2))``.

    Parameters
    ----------
    coordinates : Tensor
        Float32 ``(n,)``.
    dim : int
        Even.

    Returns
    -------
    Tensor
        Float32 ``(n, dim)``.
    """
    frequency = 1.0 / 10000.0 ** (torch.arange(dim // 2, dtype=torch.float32) / (dim / 2))
    phase = coordinates[:, None] * frequency
    return torch.cat([phase.sin(), phase.cos()], dim=1)


def sincos_2d(side: int, step: float, dim: int) -> torch.Tensor:
    """Encode a square grid: the first half of the channels encodes the column, the second half the row.

    Parameters
    ----------
    side : int
        Grid cells per side.
    step : float
        Distance between neighbours in the unit of the encoding: metres for the tokens of a patch, 10 m for patches.
    dim : int
        Token width D, a multiple of 4.

    Returns
    -------
    Tensor
        Float32 ``(side**2, D)``, row-major.
    """
    axis = sincos_1d(torch.arange(side, dtype=torch.float32) * step, dim // 2)
    columns = axis[None, :, :].expand(side, side, -1)
    rows = axis[:, None, :].expand(side, side, -1)
    return torch.cat([columns, rows], dim=2).reshape(side * side, dim)


def encode_dates(dates: torch.Tensor, dim: int, repeats: int, period: int) -> torch.Tensor:
    """Encode days of the year: sine and cosine take turns, and every attention head gets the same encoding.

    Channel ``i`` of a head is ``sin`` (even) or ``cos`` (odd) of ``date / period**(2 * (i // 2) / dim)``: the fastest
    turns once in 2 pi days. It has no period of a year.

    Parameters
    ----------
    dates : Tensor
        ``(B, T)``.
    dim : int
        Channels per head.
    repeats : int
        Number of heads.
    period : int
        367, or 366 for Landsat 8.

    Returns
    -------
    Tensor
        Float32 ``(B, T, repeats * dim)``.
    """
    channel = torch.arange(dim, device=dates.device)
    divisor = float(period) ** (2 * (channel // 2).float() / dim)
    phase = dates.float()[..., None] / divisor
    encoding = torch.where(channel % 2 == 0, phase.sin(), phase.cos())
    return encoding.repeat(1, 1, repeats)


def grid_buckets(side: int, rows: slice = slice(None), device: torch.device | None = None) -> torch.Tensor:
    """Relative position buckets between the cells of a square grid.

    iRPE (Wu et al. 2021) with Euclidean distances and thresholds 1.9, 3.8 and 15.2 comes down to four rings: the cell
    itself, its 8 neighbours (rounded distance 1), 2 or 3 away, and all others. Squared integer distances never lie
    on a limit.

    Parameters
    ----------
    side : int
        Cells per side.
    rows : slice
        Which cells (row-major) to take as the first of a pair; all by default.
    device : torch.device, optional
        Where to compute.

    Returns
    -------
    Tensor
        int64 ``(n, side**2)`` with values 3..6.
    """
    index = torch.arange(side * side, device=device)
    first = index[rows, None]
    squared = (first // side - index // side) ** 2 + (first % side - index % side) ** 2
    return 3 + (squared > 0).long() + (squared > 2).long() + (squared > 12).long()


def token_buckets(side: int) -> torch.Tensor:
    """Buckets of a class token followed by the tokens of a square grid: int64 ``(1 + side**2, 1 + side**2)``."""
    buckets = torch.full((1 + side * side, 1 + side * side), CLASS_BUCKET)
    buckets[1:, 1:] = grid_buckets(side)
    return buckets
