"""Norm, Fourier features and MLP: the small parts, and in which precision they compute.

Reference: gastruc/UniverSat at commit f6df2ee. The root of a norm, and the cosines of Fourier features, whose angles
reach hundreds of radians, are float32 at least, whatever autocast or the weights say.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

#: Added to the root mean square of a vector, not to the mean square. Source: upstream.
NORM_EPS = 1e-8
MLP_RATIO = 4
#: Standard deviation of the frequencies of pixel values, in turns per standard deviation of the input.
VALUE_BANDWIDTH = 2.5


def at_least_float32(values: torch.Tensor) -> torch.Tensor:
    """Return values in float32, or in float64 if they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


class Norm(nn.Module):
    """Division by the root mean square of the last axis, and a scale: ``w * x / (|x| / sqrt(d) + 1e-8)``.

    Parameters
    ----------
    dim : int
        Width d.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dim))

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Normalise vectors ``(..., d)``."""
        exact = at_least_float32(vectors)
        root = torch.linalg.vector_norm(exact, dim=-1, keepdim=True) * exact.shape[-1] ** -0.5
        return (exact / (root + NORM_EPS) * self.scale).to(vectors.dtype)


class FourierFeatures(nn.Module):
    """Random cosines of a number, and a linear layer: ``W sqrt(2) cos(v f + phase) + b``.

    Frequencies and phases are drawn once and never trained; they belong to the weights.

    Parameters
    ----------
    dim : int
        Width of the result, a multiple of 4.
    bandwidth : float
        Standard deviation of the frequencies in turns per unit.
    """

    freqs: torch.Tensor
    phases: torch.Tensor

    def __init__(self, dim: int, bandwidth: float) -> None:
        super().__init__()
        self.register_buffer("freqs", 2 * math.pi * bandwidth * torch.randn(dim // 4))
        self.register_buffer("phases", 2 * math.pi * torch.rand(dim // 4))
        self.proj = nn.Linear(dim // 4, dim)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Map values ``(...)`` to ``(..., dim)``."""
        exact = at_least_float32(values)[..., None]
        angles = exact * at_least_float32(self.freqs) + at_least_float32(self.phases)
        return self.proj((angles.cos() * math.sqrt(2.0)).to(self.freqs.dtype))


class Mlp(nn.Module):
    """Two linear layers around an exact (erf) GELU."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, MLP_RATIO * dim)
        self.fc2 = nn.Linear(MLP_RATIO * dim, dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map tokens ``(..., D)`` to tokens ``(..., D)``."""
        return self.fc2(F.gelu(self.fc1(tokens)))
