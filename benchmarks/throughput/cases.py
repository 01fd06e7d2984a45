"""Encoders and their inputs: cores in plain PyTorch, random weights, noise for pixels. Neither changes the speed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from anysat_ext.model.encoder import AnySat
from anysat_ext.model.modalities import MODALITIES
from thor_terratorch_ext.model.channels import select_bands
from thor_terratorch_ext.model.encoder import ThorEncoder, split_groups
from thor_terratorch_ext.model.layout import resolve_layout
from thor_terratorch_ext.necks import merge_maps, token_maps

S2 = (
    *("BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3"),
    *("NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"),
)
S1_S2 = (*S2, "VV", "VH")
#: Side of THOR's windows in pixels of 10 m, and of its patches.
SIDE, PATCH = 288, 8
Batch = dict[str, torch.Tensor]


class Thor(torch.nn.Module):
    """THOR as an export runs it: an image in, the grid of its last block out.

    Parameters
    ----------
    size : {'tiny', 'small', 'base', 'large'}
        Size of the encoder.
    side : int
        Of the image in pixels of 10 m.
    attention : str
        See `thor_terratorch_ext.model.attention`.
    bands : tuple of str
        Of the image.
    """

    def __init__(self, size: Any, side: int, attention: Any = "auto", bands: tuple[str, ...] = S2) -> None:  # noqa: ANN401
        super().__init__()
        self.encoder = ThorEncoder(size, attention)
        self.layout = resolve_layout(select_bands(list(bands)), side * 10, [PATCH])
        self.sizes = [group.grid_size for group in self.layout.groups]

    def forward(self, batch: Batch) -> torch.Tensor:
        """Map ``image`` ``(B, C, side, side)`` to a grid ``(B, D, n, n)``."""
        parts = split_groups([batch["image"]], self.layout)
        last = len(self.encoder.blocks) - 1
        (tokens,) = self.encoder.forward_intermediates(parts, self.layout, [last])
        return merge_maps(token_maps(tokens, self.sizes), "mean")


class Series(torch.nn.Module):
    """AnySat as an export runs it: a series in, its grid of patches out.

    Parameters
    ----------
    size : {'tiny', 'base'}
        Size of the encoder.
    patch : int
        Side of a patch in metres.
    attention : str
        See `anysat_ext.model.attention`.
    """

    def __init__(self, size: Any, patch: int, attention: Any = "sdpa") -> None:  # noqa: ANN401
        super().__init__()
        self.encoder, self.patch = AnySat(size, ["s2"], attention=attention), patch

    def forward(self, batch: Batch) -> torch.Tensor:
        """Map ``s2`` ``(B, T, 10, side, side)`` and its dates to a grid ``(B, D, n, n)``."""
        found: torch.Tensor = self.encoder(batch, self.patch, "patch", check_dates=False)
        return found.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Case:
    """One encoder and its input.

    Parameters
    ----------
    name : str
        In tables.
    size : str
        Of the encoder.
    side : int
        Of the window in pixels of 10 m.
    batches : tuple of int
        Sizes of batches on a GPU, ascending.
    on_cpu : tuple of int
        The same on a CPU.
    frames : int
        Dates of a series; 0 for THOR.
    patch : int
        Of AnySat, in metres.
    """

    name: str
    size: str
    side: int
    batches: tuple[int, ...]
    on_cpu: tuple[int, ...] = (1,)
    frames: int = 0
    patch: int = 40

    @property
    def encoder(self) -> str:
        """Name and size of the encoder."""
        return f"{'AnySat' if self.frames else 'THOR'} {self.size}"

    @property
    def km2(self) -> float:
        """Ground of one window in km2."""
        return (self.side * 0.01) ** 2

    @property
    def stated(self) -> str:
        """Size of the input, for tables."""
        of_series = (
            f", {self.frames} date{'s' * (self.frames > 1)}, patch {self.patch} m"
            if self.frames
            else f", patch {PATCH} px"
        )
        return f"{self.side} px{of_series}"

    def model(self, *, written_out: bool = False) -> torch.nn.Module:
        """Build the encoder in eval mode; ``written_out`` leaves AnySat's attention to plain products."""
        torch.manual_seed(0)
        if self.frames:
            return Series(self.size, self.patch, "math" if written_out else "sdpa").eval()
        return Thor(self.size, self.side).eval()

    def batch(self, size: int) -> Batch:
        """Noise; of a series with the middle days of equal parts of a year."""
        generator = torch.Generator().manual_seed(0)
        if not self.frames:
            return {"image": torch.randn(size, len(S2), self.side, self.side, generator=generator)}
        shape = (size, self.frames, MODALITIES["s2"].n_bands, self.side, self.side)
        days = ((torch.arange(self.frames) + 0.5) * 365 / self.frames).long()
        return {"s2": torch.randn(shape, generator=generator), "s2_dates": days.expand(size, -1).contiguous()}


CASES = (
    Case("THOR tiny", "tiny", SIDE, (1, 16, 128), (1, 8)),
    Case("THOR base", "base", SIDE, (1, 8, 64), (1, 4)),
    Case("AnySat base 24 px T8 p10", "base", 24, (1, 16, 64), (1, 8), 8, 10),
    Case("AnySat base 96 px T12 p40", "base", 96, (4, 16), (1,), 12, 40),
    Case("AnySat base 96 px T1 p40", "base", 96, (4, 16), (1,), 1, 40),
    Case("AnySat base 60 px T8 p20", "base", 60, (1, 16), (1,), 8, 20),
    Case("THOR small", "small", SIDE, (1, 16, 128), (1, 4)),
    Case("THOR large", "large", SIDE, (1, 8, 32), (1,)),
    Case("AnySat base 240 px T8 p40", "base", 240, (1, 4), (1,), 8, 40),
)
#: Small ones, to see whether it runs.
QUICK = (
    Case("THOR tiny", "tiny", 32, (1, 2), (1, 2)),
    Case("AnySat tiny 4 px T2 p20", "tiny", 4, (1, 2), (1, 2), 2, 20),
)
