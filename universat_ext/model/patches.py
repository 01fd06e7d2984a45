"""The universal patch encoder: pixels of any sensor to one token per patch and one per sub-patch.

Four pooling blocks, over the pixels of a sub-patch, the channels, the dates and the sub-patches. Nothing belongs to a
sensor but numbers: a wavelength or a code per channel, metres per pixel, pixels per sub-patch.

Rows of the first three blocks are independent, so they are computed in chunks of sub-patches, which saves most of the
memory and, on a CPU, time: intermediate results stay in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import nn

from eo_models.forward.chunking import bytes_per_value, even_slices, in_chunks, rows_per_chunk, sample_slices
from eo_models.forward.recompute import Call
from universat_ext.model.grid import PatchGrid
from universat_ext.model.inputs import Observation
from universat_ext.model.modalities import CELL_METRES, CODES
from universat_ext.model.numbers import MLP_RATIO, VALUE_BANDWIDTH, FourierFeatures, Norm
from universat_ext.model.pooling import PoolingBlock
from universat_ext.model.positions import day_angles, lattice, with_corners

TEMPORAL_REGISTERS, SPATIAL_REGISTERS = 2, 4
#: Values of a chunk on a CPU where no budget is stated; 4 k to 16 k are about equally quick.
CPU_VALUES = 2**14
#: A patch side of one kilometre in units of 10 m. Positions of sub-patches count in it. Source: upstream.
CELLS_PER_KILOMETRE = 100


@dataclass(frozen=True)
class PatchTokens:
    """What the patch encoder makes of one modality.

    Parameters
    ----------
    patches : Tensor
        ``(B, P, D)``, row-major.
    subpatches : Tensor
        ``(B, P * S, D)``, patch by patch, row-major within a patch.
    """

    patches: torch.Tensor
    subpatches: torch.Tensor


class PatchEncoder(nn.Module):
    """The universal patch encoder.

    Parameters
    ----------
    dim : int
        Width D of a token.
    heads : int
        Heads of the trunk; the blocks have a sixth, a fourth, a half and all of them.
    width : int
        Width of an embedded value.
    expand : sequence of int
        How many times wider each of the four blocks makes a token.
    budget : int or None
        Bytes for the intermediate results of one chunk.
    """

    def __init__(self, dim: int, heads: int, width: int, expand: Sequence[int], budget: int | None) -> None:
        super().__init__()
        self.budget = budget
        pixel, channel, date, subpatch = expand
        widths = [width, width * pixel, width * pixel * channel, width * pixel * channel * date]
        final = widths[3] * subpatch
        for code in CODES:
            self.register_parameter(f"Encoding_{code}", nn.Parameter(torch.randn(width)))
        self.registers_temporal = nn.Parameter(0.02 * torch.randn(1, TEMPORAL_REGISTERS, widths[2]))
        self.registers_spatial = nn.Parameter(0.02 * torch.randn(1, SPATIAL_REGISTERS, widths[3]))
        self.spectral_embed = FourierFeatures(width, 1.0)
        self.embed = FourierFeatures(width, VALUE_BANDWIDTH)
        self.spatial_proj = nn.Linear(widths[3], dim)
        self.predictor_blocks = nn.ModuleList(
            [
                PoolingBlock(widths[0], pixel, max(1, heads // 6), rope=True),
                PoolingBlock(widths[1], channel, max(1, heads // 4)),
                PoolingBlock(widths[2], date, max(1, heads // 2)),
                PoolingBlock(widths[3], subpatch, heads, rope=True),
            ]
        )
        self.predictor_norm = Norm(final)
        self.final_proj = nn.Linear(final, dim)

    def forward(self, observation: Observation, scale: float, call: Call) -> PatchTokens:
        """Encode the patches of one modality.

        Parameters
        ----------
        observation : Observation
            Its pixels, dates and grid.
        scale : float
            Side of a patch in 10 m, the nominal one: positions count in it.
        call : callable
            Calls the embedding of a chunk, see `eo_models.forward.recompute.calls_of`.
        """
        grid, batch = observation.grid, observation.pixels.shape[0]
        values = cut(observation.pixels, grid)  # (B * P * S, T, C, q^2)
        per_sample = grid.side**2 * grid.subpatches**2
        slices = sample_slices(batch, per_sample, self._limit(values))
        codes = self._codes(observation.modality.descriptors).to(values.dtype)
        encode = partial(self._subpatches, observation=observation, codes=codes, per_sample=per_sample)
        cells = in_chunks(lambda rows: call(encode, values[rows], rows), slices)  # (B * P * S, d)
        rows = cells.unflatten(0, (-1, grid.subpatches**2))
        # Published so: what the output block reads trains neither the patch encoder nor this projection.
        subpatches = self.spatial_proj(cells.detach()).detach().view(batch, per_sample, -1)
        return PatchTokens(self._patches(rows, grid, scale, call).unflatten(0, (batch, -1)), subpatches)

    def _block(self, axis: int) -> PoolingBlock:
        """The block over an axis: pixels, channels, dates, sub-patches."""
        return cast("PoolingBlock", self.predictor_blocks[axis])

    def _limit(self, values: torch.Tensor) -> int | None:
        """Sub-patches of a chunk."""
        per_subpatch = values.shape[1] * values.shape[2] * values.shape[3]
        if self.budget is None and values.device.type == "cpu" and not torch.compiler.is_compiling():
            return max(1, CPU_VALUES // per_subpatch)
        width = MLP_RATIO * self._block(0).out
        return rows_per_chunk(self.budget, per_subpatch * 3 * width * bytes_per_value(values), values.device)

    def _codes(self, descriptors: Sequence[float | str]) -> torch.Tensor:
        """What is added to the values of each channel: ``(C, width of the second block)``."""
        floats = [value for value in descriptors if not isinstance(value, str)]
        wavelengths = torch.tensor(floats, dtype=torch.float32, device=self.embed.freqs.device)
        embedded = iter(self.spectral_embed(wavelengths.to(self.embed.freqs.dtype)).unbind()) if floats else iter(())
        codes = [
            self.get_parameter(f"Encoding_{value}") if isinstance(value, str) else next(embedded)
            for value in descriptors
        ]
        return torch.stack(codes).repeat(1, self._block(0).expand)

    def _subpatches(
        self, values: torch.Tensor, rows: slice, *, observation: Observation, codes: torch.Tensor, per_sample: int
    ) -> torch.Tensor:
        """Values ``(r, T, C, q^2)`` of some sub-patches to ``(r, d)``."""
        count, frames, channels, _ = values.shape
        pixel, channel, date = (self._block(axis) for axis in range(3))
        angles = None
        if observation.grid.pixels > 1:
            side = observation.grid.pixels
            metres = side * observation.modality.pixel_metres / CELL_METRES
            angles = pixel.attn.angles(lattice(side, values.device) * metres)
        pooled = pixel(self.embed(values.flatten(0, 2)), angles).view(count * frames, channels, -1)
        pooled = channel(pooled + codes).view(count, frames, -1)
        if frames == 1:
            return date(pooled)
        samples = slice(rows.start // per_sample, -(-rows.stop // per_sample))
        return self._dates(pooled, observation, samples)

    def _dates(self, frames: torch.Tensor, observation: Observation, samples: slice) -> torch.Tensor:
        """Frames ``(r, T, d)`` of some sub-patches of consecutive samples to ``(r, d)``."""
        block = self._block(2)
        days = observation.dates[samples]
        days = days.trunc() if days.is_floating_point() else days
        days = torch.cat([days.new_zeros(days.shape[0], TEMPORAL_REGISTERS), days], dim=1).to(frames.device)
        registers = self.registers_temporal.to(frames.dtype).expand(frames.shape[0], -1, -1)
        tokens = torch.cat([registers, frames], dim=1)
        angles = day_angles(days, block.attn.head_dim)
        if observation.valid_frames is None:
            return block(tokens, angles)
        valid = observation.valid_frames[samples].repeat_interleave(frames.shape[0] // days.shape[0], dim=0)
        seen = torch.cat([valid.new_ones(valid.shape[0], TEMPORAL_REGISTERS), valid], dim=1)
        # A sample with a single frame that counts is encoded as a single image: without registers and date.
        first = valid.long().argmax(dim=1)
        single = block(frames.gather(1, first[:, None, None].expand(-1, 1, frames.shape[2])))
        return torch.where(valid.sum(dim=1)[:, None] == 1, single, block(tokens, angles, seen))

    def _patches(self, rows: torch.Tensor, grid: PatchGrid, scale: float, call: Call) -> torch.Tensor:
        """Sub-patches ``(B * P, S, d)`` to patch tokens ``(B * P, D)``."""
        block, n = self._block(3), grid.subpatches
        places = with_corners(lattice(n, rows.device)) * (scale * n / CELLS_PER_KILOMETRE)

        def encode(part: torch.Tensor) -> torch.Tensor:
            registers = self.registers_spatial.to(part.dtype).expand(part.shape[0], -1, -1)
            pooled = block(torch.cat([registers, part], dim=1), block.attn.angles(places))
            return self.final_proj(self.predictor_norm(pooled))

        per_row = (n * n + SPATIAL_REGISTERS) * 3 * block.out * bytes_per_value(rows)
        limit = rows_per_chunk(self.budget, per_row, rows.device)
        return in_chunks(lambda part: call(encode, rows[part]), even_slices(rows.shape[0], limit))


def cut(pixels: torch.Tensor, grid: PatchGrid) -> torch.Tensor:
    """Cut an image into sub-patches, row-major: patches of the tile, sub-patches of a patch, pixels of a sub-patch.

    Rows and columns that fill no sub-patch of their patch are left out.

    Parameters
    ----------
    pixels : Tensor
        ``(B, T, C, n * g, n * g)``: n patches per side of g pixels.
    grid : PatchGrid
        How to cut.

    Returns
    -------
    Tensor
        ``(B * n**2 * S, T, C, q**2)``.
    """
    n, g, k, q = grid.side, grid.patch_pixels, grid.subpatches, grid.pixels
    batch, frames, channels = pixels.shape[:3]
    patches = pixels.view(batch, frames, channels, n, g, n, g)[:, :, :, :, : k * q, :, : k * q]
    parts = patches.reshape(batch, frames, channels, n, k, q, n, k, q)
    return parts.permute(0, 3, 6, 4, 7, 1, 2, 5, 8).reshape(batch * n * n * k * k, frames, channels, q * q)
