"""Dated series to tokens: a token MLP per pixel and date, then attention over the dates with learned queries (L-TAE).

Reference: Garnot and Landrieu 2020 (L-TAE) with the changes of gastruc/AnySat: group norms, one key projection, no
value projection, a date encoding that is added after the norm over frames.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from anysat_ext.model.inputs import Observation
from anysat_ext.model.modalities import Modality
from anysat_ext.model.positions import encode_dates
from eo_models.forward.chunking import bytes_per_value, in_chunks, rows_per_chunk, sample_slices
from eo_models.forward.recompute import Call
from eo_models.precision.plain import has_plain_weight

N_HEADS = 16
KEY_DIM = 8
MLP_GROUPS = 4
#: Published rate on the attention weights while training.
ATTENTION_DROPOUT = 0.1


class RowNorm(nn.GroupNorm):
    """Group norm of rows that have their channels next to one another in memory.

    The same numbers as `torch.nn.GroupNorm`. PyTorch's kernel for images in channels-last order evaluates it in one
    pass on a CPU: 1.5 times as fast as a layer norm per group and three times as fast as the kernel for other orders,
    and in bfloat16 with statistics, scale and offset in float32.
    """

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Normalise ``(R, D)``, or ``(R, D, T)`` over all T; the result has the order in memory of the input."""
        if rows.device.type != "cpu" or torch.is_grad_enabled():
            return super().forward(rows)
        frames = rows[:, None] if rows.ndim == 2 else rows.transpose(1, 2)
        length, dim = frames.shape[1:]
        images = frames.reshape(-1, length, 1, dim).permute(0, 3, 1, 2)
        normed = super().forward(images).permute(0, 2, 3, 1)
        return normed.reshape(rows.shape) if rows.ndim == 2 else normed.reshape(-1, length, dim).transpose(1, 2)


def norm_relu(rows: torch.Tensor, norm: nn.GroupNorm) -> torch.Tensor:
    """Group norm of every row of ``(n, C)`` for itself, then ReLU."""
    return F.relu(norm(rows))


class TokenMlp(nn.ModuleDict):
    """Linear layers, each followed by a group norm and a ReLU, under the names of a sequence of ``stride`` modules."""

    def __init__(self, widths: Sequence[int], stride: int) -> None:
        super().__init__()
        self.stride = stride
        for i, (width, next_width) in enumerate(itertools.pairwise(widths)):
            self[str(stride * i)] = nn.Linear(width, next_width)
            self[str(stride * i + 1)] = RowNorm(MLP_GROUPS, next_width)

    def forward(self, rows: torch.Tensor, dropout: float = 0.0) -> torch.Tensor:
        """Map rows ``(n, C)`` to rows ``(n, D)``."""
        for key in range(0, self.stride * len(self) // 2, self.stride):
            rows = norm_relu(self[str(key)](rows), cast("nn.GroupNorm", self[str(key + 1)]))
            rows = F.dropout(rows, dropout) if dropout else rows
        return rows


class LearnedQueries(nn.Module):
    """The keys and queries of the temporal attention."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.Q = nn.Parameter(torch.randn(N_HEADS, KEY_DIM) * math.sqrt(2.0 / KEY_DIM))
        self.fc1_k = nn.Linear(dim, N_HEADS * KEY_DIM)
        nn.init.normal_(self.fc1_k.weight, std=math.sqrt(2.0 / KEY_DIM))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Scores ``(R, T, 16)`` of frames ``(R, T, D)``, up to a constant over the frames.

        The queries do not depend on the input: query times key is one linear map ``D -> 16`` instead of ``D -> 128``,
        and the key's bias shifts all frames alike, which the softmax ignores.
        """
        if not has_plain_weight(self.fc1_k):
            keys = self.fc1_k(frames).unflatten(-1, (N_HEADS, KEY_DIM))
            return torch.einsum("hk,...hk->...h", self.Q, keys) / math.sqrt(KEY_DIM)
        weight = self.fc1_k.weight.view(N_HEADS, KEY_DIM, -1)
        folded = torch.einsum("hk,hkd->hd", self.Q, weight) / math.sqrt(KEY_DIM)
        return F.linear(frames, folded)


class TemporalEncoder(nn.Module):
    """One vector per pixel from its series.

    Parameters
    ----------
    modality : Modality
        A series.
    dim : int
        Token width D.
    """

    def __init__(self, modality: Modality, dim: int) -> None:
        super().__init__()
        widths = (modality.n_bands, dim // 8, dim // 2, dim, 2 * dim, dim)
        # The published sequence has a fourth module per step, a dropout.
        self.inconv = TokenMlp(widths, stride=4)
        self.attention_heads = LearnedQueries(dim)
        self.in_norm = RowNorm(N_HEADS, dim) if modality.frames_normalised else None
        self.mlp = TokenMlp((dim, dim), stride=3)
        self.out_norm = RowNorm(N_HEADS, dim)
        self.widest = max(widths)

    def forward(
        self, pixels: torch.Tensor, encoding: torch.Tensor, valid: torch.Tensor | None, dropout: float | None
    ) -> torch.Tensor:
        """Encode pixels.

        Parameters
        ----------
        pixels : Tensor
            ``(b, S, T, C)``: S pixels of each of b samples.
        encoding : Tensor
            Date encoding ``(b, T, D)``.
        valid : Tensor or None
            Bool ``(b, T)``: frames to use; all if absent.
        dropout : float or None
            Rate of the projector; ``None`` for no dropout at all.

        Returns
        -------
        Tensor
            ``(b * S, D)``.
        """
        b, s, t, c = pixels.shape
        frames = self.inconv(pixels.reshape(-1, c), dropout or 0.0).view(b * s, t, -1)
        mask = None if valid is None else valid[:, None].expand(b, s, t).reshape(b * s, t, 1)
        if self.in_norm is not None:
            frames = _norm_over_frames(frames, mask, self.in_norm)
        frames = (frames.view(b, s, t, -1) + encoding[:, None].to(frames.dtype)).view(b * s, t, -1)
        scores = self.attention_heads(frames)
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        weights = scores.softmax(dim=1, dtype=encoding.dtype)
        if dropout is not None:
            weights = F.dropout(weights, ATTENTION_DROPOUT)
        # No value projection: head h averages its own sixteenth of the channels.
        weights = weights[..., None].to(frames.dtype)
        merged = (frames.view(b * s, t, N_HEADS, -1) * weights).sum(dim=1).view(b * s, -1)
        # From here on tokens are what blocks add to: as exact as the pixels, also where layers compute in bfloat16.
        merged = self.mlp(merged).to(pixels.dtype)
        return self.out_norm(F.dropout(merged, dropout) if dropout else merged)


def _norm_over_frames(frames: torch.Tensor, mask: torch.Tensor | None, norm: nn.GroupNorm) -> torch.Tensor:
    """Group norm over a sixteenth of the channels and all (valid) frames of a pixel: it couples the frames.

    Parameters
    ----------
    frames : Tensor
        ``(R, T, D)``.
    mask : Tensor or None
        Bool ``(R, T, 1)``. Frames that are masked have no part in the statistics, as if they were not there.
    norm : nn.GroupNorm
        The norm, epsilon 1e-5.
    """
    if mask is None:
        return norm(frames.transpose(1, 2)).transpose(1, 2)
    rows, length, dim = frames.shape
    groups = frames.to(norm.weight.dtype).view(rows, length, norm.num_groups, -1)
    share = mask[..., None].to(groups.dtype) / (mask.sum(dim=1) * groups.shape[-1]).view(rows, 1, 1, 1)
    mean = (groups * share).sum(dim=(1, 3), keepdim=True)
    centred = groups - mean
    variance = (centred.square() * share).sum(dim=(1, 3), keepdim=True)
    flat = (centred * torch.rsqrt(variance + norm.eps)).view(rows, length, dim)
    return (flat * norm.weight + norm.bias).to(frames.dtype)


class SeriesProjector(nn.Module):
    """Sub-patch tokens of a dated series.

    Parameters
    ----------
    modality : Modality
        A series.
    dim : int
        Token width D.
    """

    def __init__(self, modality: Modality, dim: int) -> None:
        super().__init__()
        self.modality = modality
        self.pad_parameter = nn.Parameter(torch.tensor(0.0))
        self.patch_embed = TemporalEncoder(modality, dim)

    def forward(self, observation: Observation, budget: int | None, call: Call, *, dropout: bool) -> torch.Tensor:
        """Embed the patches of a batch.

        Parameters
        ----------
        observation : Observation
            Series ``(B, T, C, H, W)`` with its dates.
        budget : int or None
            Bytes for the intermediate results of one chunk of pixels.
        call : callable
            Calls the encoder of a chunk, see `eo_models.forward.recompute.calls_of`.
        dropout : bool
            Whether to drop out at the published rates.

        Returns
        -------
        Tensor
            ``(B * n**2, r**2, D)``: row-major patches of row-major tokens.
        """
        pixels = observation.pixels
        if observation.kept_values is not None:
            pixels = torch.where(observation.kept_values, pixels, self.pad_parameter.to(pixels.dtype))
        n, r = observation.grid.side, observation.grid.tokens
        batch, length, bands = pixels.shape[:3]
        # Pixels are sorted by patch while they still have C channels: the tokens come out in order, never moved again.
        rows = pixels.reshape(batch, length, bands, n, r, n, r).permute(0, 3, 5, 4, 6, 1, 2)
        rows = rows.reshape(-1, length, bands)
        dim = self.patch_embed.out_norm.num_channels
        encoding = encode_dates(observation.dates, dim // N_HEADS, N_HEADS, self.modality.period).to(rows)
        per_sample = rows.shape[0] // batch
        rate = self.modality.dropout if dropout else None

        def encode(part: slice) -> torch.Tensor:
            samples = slice(part.start // per_sample, -(-part.stop // per_sample))
            pixels_of = rows[part].view(samples.stop - samples.start, -1, length, bands)
            valid = None if observation.valid_frames is None else observation.valid_frames[samples]
            return call(self.patch_embed, pixels_of, encoding[samples], valid, rate)

        widest = self.patch_embed.widest
        limit = rows_per_chunk(budget, 2 * widest * length * bytes_per_value(rows), rows.device)
        return in_chunks(encode, sample_slices(batch, per_sample, limit)).view(batch * n * n, r * r, dim)
