"""Rotary positions: of pixels, sub-patches and patches in two dimensions, and of days in one.

Angles are float32 whatever autocast says: they reach 44 radians in the plane and 749 in time, and bfloat16 would turn
them by up to a tenth of a radian and more (2 % in the features).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from universat_ext.model.numbers import at_least_float32

#: Base of the wavelengths in time, and in the plane; turns per unit of the fastest rotation in the plane.
DAY_BASE, PLANE_BASE, PLANE_TURNS = 100_000.0, 10_000.0, 7.0
#: Places of the four register tokens, as (row, column).
CORNERS = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))


@dataclass(frozen=True)
class Angles:
    """Cosines and sines of rotations, and how the channels of a head are paired.

    Parameters
    ----------
    cos, sin : Tensor
        ``(A, N, 1, d)``: of A groups of rows, N positions, d channels of a head; float32.
    in_quarters : bool
        Whether the quarters of a head are the pairs (in the plane), or neighbouring channels (in time).
    """

    cos: torch.Tensor
    sin: torch.Tensor
    in_quarters: bool

    def rotate(self, vectors: torch.Tensor) -> torch.Tensor:
        """Rotate ``(R, N, h, d)``, whose R rows are A groups of equal size."""
        groups = self.cos.shape[0]
        grouped = vectors if groups == 1 else vectors.unflatten(0, (groups, -1))
        cos, sin = (self.cos, self.sin) if groups == 1 else (self.cos[:, None], self.sin[:, None])
        exact = at_least_float32(grouped)
        turned = exact * cos + self._partners(exact) * sin
        return turned.to(vectors.dtype).view_as(vectors)

    def _partners(self, vectors: torch.Tensor) -> torch.Tensor:
        if self.in_quarters:
            one, two, three, four = vectors.chunk(4, dim=-1)
            return torch.cat([-two, one, -four, three], dim=-1)
        pairs = vectors.unflatten(-1, (-1, 2))
        return torch.stack([-pairs[..., 1], pairs[..., 0]], dim=-1).flatten(-2)


def lattice(side: int, device: torch.device | None = None) -> torch.Tensor:
    """Rows and columns of a square grid, evenly from 0 to 1 inclusive: float32 ``(side**2, 2)``, rows slowest."""
    axis = torch.linspace(0.0, 1.0, side, device=device)
    return torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1).reshape(side * side, 2)


def with_corners(places: torch.Tensor) -> torch.Tensor:
    """Put the places of the four registers in front of ``(n, 2)``."""
    return torch.cat([torch.tensor(CORNERS, device=places.device), places])


class PlaneRope(nn.Module):
    """Rotations by a place in the plane, with a learned matrix.

    Every channel has an angle of its own, ``row * F[0] + column * F[1]``: after training the two of a pair need not
    share it.

    Parameters
    ----------
    head_dim : int
        Channels per head, a multiple of 4.
    """

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        quarter = head_dim // 4
        steps = 2 * math.pi * PLANE_TURNS * PLANE_BASE ** (-torch.arange(quarter) / (quarter - 1))
        still = torch.zeros(2 * quarter)
        self.freqs = nn.Parameter(
            torch.stack([torch.cat([steps, steps, still]), torch.cat([still, steps, steps])]).float()
        )

    def forward(self, places: torch.Tensor) -> Angles:
        """Angles of places ``(n, 2)`` (row, column)."""
        freqs = at_least_float32(self.freqs)
        # Products and a sum, no matrix product: autocast would make bfloat16 of that one.
        angles = places[:, :1] * freqs[0] + places[:, 1:] * freqs[1]
        return Angles(angles.cos()[None, :, None], angles.sin()[None, :, None], in_quarters=True)


def day_angles(days: torch.Tensor, head_dim: int) -> Angles:
    """Angles of days.

    Parameters
    ----------
    days : Tensor
        ``(A, N)``, whole numbers: channel pair i turns by ``day * 100000**(-2 i / d)``.
    head_dim : int
        Channels per head d.
    """
    steps = 1.0 / DAY_BASE ** (torch.arange(0, head_dim, 2, device=days.device).float() / head_dim)
    angles = (days.float()[..., None] * steps).repeat_interleave(2, dim=-1)[:, :, None]
    return Angles(angles.cos(), angles.sin(), in_quarters=False)
