"""Single-date images to tokens: one convolution per token and a token MLP."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from anysat_ext.model.inputs import Observation
from anysat_ext.model.modalities import Modality
from anysat_ext.model.temporal import SeriesProjector
from eo_models.forward.chunking import bytes_per_value, even_slices, in_chunks, rows_per_chunk
from eo_models.forward.recompute import Call


class Kernels(nn.Module):
    """The weight of a convolution without bias whose stride is its kernel size: a linear map of a block of pixels."""

    def __init__(self, bands: int, kernel: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim, bands, kernel, kernel))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, blocks: torch.Tensor) -> torch.Tensor:
        """Map blocks of pixels ``(n, C * k * k)`` to ``(n, D)``."""
        return F.linear(blocks, self.weight.flatten(1))


class ImageProjector(nn.Module):
    """Sub-patch tokens of a single-date image.

    Parameters
    ----------
    modality : Modality
        An image.
    dim : int
        Token width D.
    """

    def __init__(self, modality: Modality, dim: int) -> None:
        super().__init__()
        self.modality = modality
        self.patch_embed = Kernels(modality.n_bands, modality.kernel, dim)
        # Linear, norm and ReLU twice; these norms keep PyTorch's epsilon of 1e-5.
        self.mlp = nn.ModuleDict(
            {
                "0": nn.Linear(dim, 2 * dim),
                "1": nn.LayerNorm(2 * dim),
                "3": nn.Linear(2 * dim, dim),
                "4": nn.LayerNorm(dim),
            }
        )

    def forward(self, observation: Observation, budget: int | None, call: Call, *, dropout: bool) -> torch.Tensor:
        """Embed the patches of a batch; the published projector has no dropout.

        Parameters
        ----------
        observation : Observation
            Image ``(B, C, H, W)``.
        budget : int or None
            Bytes for the intermediate results of one chunk of tokens.
        call : callable
            Calls the embedding of a chunk, see `eo_models.forward.recompute.calls_of`.
        dropout : bool
            Without effect.

        Returns
        -------
        Tensor
            ``(B * n**2, r**2, D)``: row-major patches, tokens in the nested order of the weights.
        """
        del dropout
        pixels, n, r = observation.pixels, observation.grid.side, observation.grid.tokens
        batch, bands = pixels.shape[:2]
        g, k = self.modality.tokens_per_cell, self.modality.kernel
        s = r // g
        # Nested order: 10 m cell row, cell column, then the g x g tokens of the cell; not the raster order of the
        # (g s)^2 grid. The position encoding that follows takes it for raster order, and the weights are trained so.
        blocks = pixels.reshape(batch, bands, n, s, g, k, n, s, g, k).permute(0, 2, 6, 3, 7, 4, 8, 1, 5, 9)
        rows = blocks.reshape(batch * n * n * r * r, bands * k * k)
        dim = self.patch_embed.weight.shape[0]
        limit = rows_per_chunk(budget, 4 * dim * bytes_per_value(rows), rows.device)
        tokens = in_chunks(lambda part: call(self._embed, rows[part]), even_slices(rows.shape[0], limit))
        return tokens.view(batch * n * n, r * r, dim)

    def _embed(self, rows: torch.Tensor) -> torch.Tensor:
        tokens = self.patch_embed(rows)
        tokens = F.relu(self.mlp["1"](self.mlp["0"](tokens)))
        # Tokens are what blocks add to: as exact as the pixels, also where layers compute in bfloat16.
        return F.relu(self.mlp["4"](self.mlp["3"](tokens).to(rows.dtype)))


def make_projector(modality: Modality, dim: int) -> SeriesProjector | ImageProjector:
    """The projector of a modality."""
    return SeriesProjector(modality, dim) if modality.is_series else ImageProjector(modality, dim)
