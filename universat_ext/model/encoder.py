"""The UniverSat encoder in plain PyTorch.

Reference: gastruc/UniverSat at commit f6df2ee ("AnySat v2", MIT). Parameter names, shapes and the arithmetic of the
forward pass are those of the published encoder, so its checkpoint loads as it is. Not built are the heads of the
pre-training (``projector__*``), which no feature depends on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import nn

from eo_models.forward.checks import kind_of
from eo_models.forward.chunking import check_budget
from eo_models.forward.recompute import calls_of
from eo_models.precision.matmul import unless_chosen
from universat_ext.model.grid import PUBLISHED, Rules, check_patch_size, latent_side, output_side, warn_if_costly
from universat_ext.model.inputs import Observation, Overrides, checked, match
from universat_ext.model.modalities import CELL_METRES
from universat_ext.model.patches import PatchEncoder, PatchTokens
from universat_ext.model.pooling import PoolingBlock
from universat_ext.model.positions import CORNERS, lattice, with_corners
from universat_ext.model.transformer import OutputBlock, TrunkBlock

SizeName = Literal["tiny", "base"]
#: Outputs beside ``tokens/<modality>``.
OUTPUTS = ("grid", "all", "subpatches")
TOKENS = "tokens/"
#: Beginning of the keys of the heads of the pre-training.
HEADS = "projector__"
REGISTERS = len(CORNERS)
#: Heads of the block that fuses modalities, at every size.
FUSION_HEADS = 8


@dataclass(frozen=True)
class Size:
    """Size of an encoder.

    Parameters
    ----------
    name : {'tiny', 'base'}
        Only base has published weights.
    embed_dim : int
        Token width D.
    depth : int
        Blocks of the trunk.
    heads : int
        Heads of the trunk.
    value_dim : int
        Width of an embedded pixel value.
    expand : tuple of int
        How many times wider the blocks over pixels, channels, dates and sub-patches make a token.
    """

    name: SizeName
    embed_dim: int
    depth: int
    heads: int
    value_dim: int
    expand: tuple[int, int, int, int]


#: Base as the published hub builds it, tiny as the published configuration of the training does.
SIZES: Mapping[SizeName, Size] = MappingProxyType(
    {
        "tiny": Size("tiny", 192, 6, 8, 48, (1, 2, 2, 2)),
        "base": Size("base", 768, 12, 12, 96, (2, 2, 2, 2)),
    }
)


class UniverSat(nn.Module):
    """UniverSat: images and series of any sensors in, an output grid of any size out.

    Parameters
    ----------
    size : {'base', 'tiny'}
        See `SIZES`.
    memory_budget : int, optional
        Bytes that the intermediate results of one chunk of sub-patches, patches or output cells may take. The default
        suits the cache of a CPU, or an accelerator. It changes no result.
    gradient_checkpointing : bool
        While training, keep only the input of each block and of each chunk, and compute the rest again in the backward
        pass.

    Raises
    ------
    ValueError
        If an argument is none of the valid values.
    """

    def __init__(
        self,
        size: SizeName = "base",
        *,
        memory_budget: int | None = None,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if size not in SIZES:
            msg = f"Unknown UniverSat size {size!r}. Valid: {', '.join(SIZES)}."
            raise ValueError(msg)
        self.size = SIZES[size]
        self.memory_budget = check_budget(memory_budget)
        self.gradient_checkpointing = gradient_checkpointing
        dim, heads, budget = self.size.embed_dim, self.size.heads, self.memory_budget
        self.registers = nn.Parameter(0.02 * torch.randn(1, REGISTERS, dim))
        self.spatial_encoder = PatchEncoder(dim, heads, self.size.value_dim, self.size.expand, budget)
        self.blocks = nn.ModuleList(
            [
                PoolingBlock(dim, 1, FUSION_HEADS, key_bias=False),
                *(TrunkBlock(dim, heads) for _ in range(self.size.depth)),
                nn.Identity(),  # published in the place of the change of grid, which has no weights
                OutputBlock(dim, heads, budget),
            ]
        )
        self.register_load_state_dict_pre_hook(_without_heads)

    def forward(
        self,
        data: Mapping[str, torch.Tensor],
        patch_size: float = 40,
        output: str = "grid",
        *,
        latent_grid: int | None = None,
        output_grid: int | Literal["patch"] | None = None,
        wavelengths: Mapping[str, Sequence[float | str]] | None = None,
        input_res: Mapping[str, float] | None = None,
        subpatches: Mapping[str, int] | None = None,
        rules: Rules = PUBLISHED,
    ) -> torch.Tensor:
        """Encode a batch of tiles.

        Parameters
        ----------
        data : mapping of str to Tensor
            Per modality a series ``(B, T, C, H, W)`` with ``<modality>_dates`` ``(B, T)`` (days from 1 January = 0,
            whole numbers up to 749), or a single image ``(B, C, H, W)``; standard scores of the data set's statistics,
            channels in the order of `universat_ext.model.modalities.MODALITIES` or of ``wavelengths``. All are square
            and cover the same ground; MODIS is the one pixel around the tile. The date of a single frame has no effect.
            ``<modality>_mask``, optional: bool ``(B, T)``, false for frames to leave out; the result is that without
            these frames.
        patch_size : float
            Side of a patch in metres.
        output : str
            ``grid``, ``all`` (four registers in front), ``subpatches``, or ``tokens/<modality>``.
        latent_grid : int, optional
            Number of patches of the tile, a square; see ``rules`` for the default.
        output_grid : int or 'patch', optional
            Cells per side of the output, or that of the patches; see `universat_ext.model.grid.output_side` for the
            default.
        wavelengths : mapping of str to sequence of (float or str), optional
            By modality, a wavelength in micrometres (0.2 to 20) or a code of each channel.
        input_res : mapping of str to float, optional
            By modality, metres per pixel.
        subpatches : mapping of str to int, optional
            By modality, pixels per side of a sub-patch.
        rules : Rules
            What is done where the input leaves a choice: by default what the published encoder does in silence. The
            TerraTorch backbone has more careful ones (`universat_ext.model.grid.CAREFUL`).

        Returns
        -------
        Tensor
            ``grid``: ``(B, G**2, D)``, row-major. ``all``: ``(B, 4 + G**2, D)``. ``subpatches``: ``(B, N, D)``, those
            of all modalities but MODIS behind one another, patch by patch. ``tokens/<modality>``: ``(B, P, D)``.

        Raises
        ------
        ValueError
            If anything in the input is not as described.
        """
        metres = check_patch_size(patch_size)
        overrides = Overrides.parse(wavelengths, input_res, subpatches)
        observations = match(data, metres, overrides, rules, self.registers.dtype)
        shown = _shown(output, observations)
        if not torch.compiler.is_compiling():
            observations = checked(observations, metres, rules)
        grids = {observation.modality: observation.grid for observation in observations}
        latent = latent_side(latent_grid, grids, rules)
        cells = output_side(output_grid, latent, grids)
        if rules.pixel_count == "nearest" and not torch.compiler.is_compiling():
            warn_if_costly(cells, grids)
        with unless_chosen():
            # MODIS goes first. Its one token stands for the whole tile, and the output does not read it.
            ordered = sorted(observations, key=lambda observation: not observation.modality.is_context)
            wanted = [observation for observation in ordered if shown in (None, observation.modality.name)]
            tokens = self._encode_patches(wanted, metres / CELL_METRES)
            if shown is not None:
                return tokens[0].patches
            if output == "subpatches":
                return torch.cat([own.subpatches for own in _gridded(ordered, tokens)], dim=1)
            trunk = self._encode_tile(tokens, latent)
            found = self._read_output(trunk, cells, ordered, tokens)
        return found if output == "all" else found[:, REGISTERS:]

    def check_values(
        self,
        data: Mapping[str, torch.Tensor],
        patch_size: float = 40,
        *,
        wavelengths: Mapping[str, Sequence[float | str]] | None = None,
        input_res: Mapping[str, float] | None = None,
        subpatches: Mapping[str, int] | None = None,
        rules: Rules = PUBLISHED,
    ) -> None:
        """Refuse what `forward` refuses, and warn as it does; arguments and errors as there."""
        metres = check_patch_size(patch_size)
        overrides = Overrides.parse(wavelengths, input_res, subpatches)
        checked(match(data, metres, overrides, rules, self.registers.dtype), metres, rules)

    def _encode_patches(self, observations: Sequence[Observation], scale: float) -> list[PatchTokens]:
        call = calls_of(self, gradient_checkpointing=self.gradient_checkpointing)
        return [self.spatial_encoder(observation, scale, call) for observation in observations]

    def _encode_tile(self, tokens: Sequence[PatchTokens], latent: int) -> torch.Tensor:
        """Fuse the patch tokens of all modalities and run the trunk: ``(B, 4 + L**2, D)``."""
        call = calls_of(self, gradient_checkpointing=self.gradient_checkpointing)
        fused, *trunk = self.blocks[: self.size.depth + 1]
        stacked = torch.stack([resampled(own.patches, latent) for own in tokens], dim=2)
        batch = stacked.shape[0]
        patches = call(fused, stacked.flatten(0, 1)).unflatten(0, (batch, -1))
        found = torch.cat([self.registers.to(patches.dtype).expand(batch, -1, -1), patches], dim=1)
        places = with_corners(lattice(latent, found.device))
        for block in trunk:
            found = call(block, found, places)
        return found

    def _read_output(
        self,
        trunk: torch.Tensor,
        side: int,
        observations: Sequence[Observation],
        tokens: Sequence[PatchTokens],
    ) -> torch.Tensor:
        """Bring the trunk to the output grid, and let its cells read the sub-patches: ``(B, 4 + G**2, D)``."""
        cells = torch.cat([trunk[:, :REGISTERS], resampled(trunk[:, REGISTERS:], side)], dim=1)
        read = torch.cat([own.subpatches for own in _gridded(observations, tokens)], dim=1)
        grids = [observation.grid for observation in observations if not observation.modality.is_context]
        places = torch.cat([_subpatch_places(grid.side, grid.subpatches, cells.device) for grid in grids])
        call = calls_of(self, gradient_checkpointing=self.gradient_checkpointing)
        block = cast("OutputBlock", self.blocks[-1])
        return call(block, cells, with_corners(lattice(side, cells.device)), read, places)


def _without_heads(_module: nn.Module, state: dict[str, object], prefix: str, *_: object) -> None:
    """Leave out the heads of the pre-training, which are not built, before a state is compared with the module."""
    for key in [key for key in state if key.startswith(prefix + HEADS)]:
        del state[key]


def resampled(tokens: torch.Tensor, side: int) -> torch.Tensor:
    """Bring a square grid of tokens ``(B, n**2, D)`` to ``(B, side**2, D)``, bilinear with aligned corners."""
    own = round(tokens.shape[1] ** 0.5)
    if own == side:
        return tokens
    grid = tokens.transpose(1, 2).unflatten(2, (own, own))
    return F.interpolate(grid, size=(side, side), mode="bilinear", align_corners=True).flatten(2).transpose(1, 2)


def _subpatch_places(side: int, subpatches: int, device: torch.device) -> torch.Tensor:
    """Places of all sub-patches of a tile in the order of the tokens, patch by patch: ``(N, 2)``."""
    whole = lattice(side * subpatches, device).view(side, subpatches, side, subpatches, 2)
    return whole.transpose(1, 2).reshape(-1, 2)


def _gridded(observations: Sequence[Observation], tokens: Sequence[PatchTokens]) -> list[PatchTokens]:
    pairs = zip(observations, tokens, strict=True)
    return [own for observation, own in pairs if not observation.modality.is_context]


def _shown(output: object, observations: Sequence[Observation]) -> str | None:
    """The modality whose patch tokens are wanted, if any."""
    if output in OUTPUTS:
        return None
    names = [observation.modality.name for observation in observations if not observation.modality.is_context]
    if isinstance(output, str) and output.removeprefix(TOKENS) in names and output.startswith(TOKENS):
        return output.removeprefix(TOKENS)
    valid = ", ".join((*OUTPUTS, *(TOKENS + name for name in names)))
    msg = f"output must be one of {valid}, got {kind_of(output)}."
    raise ValueError(msg)
