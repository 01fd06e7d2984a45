"""The token layout: which patch size each group gets and where its tokens lie on the ground.

Everything here follows from names and numbers alone (bands, ground cover, patch sizes, strategy), so a layout is
resolved once and reused for every forward pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from thor_terratorch_ext.model.channels import BandSelection

Strategy = Literal["min", "max", "equal-min", "equal-max"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)

#: Reference patch size in pixels of the patch-size embedding (published ``flexivit_ref_patch_size``).
REFERENCE_PATCH_SIZE = 4


@dataclass(frozen=True)
class GroupGrid:
    """The tokens of one group.

    Parameters
    ----------
    index : int
        Group index, 0..9.
    channels : tuple of str
        Selected channels of the group in the group's order.
    positions : tuple of int
        Position of each of them among the input channels.
    gsd : int
        Pixel size in metres.
    patch_size : int
        Side of a patch in pixels of this group.
    grid_size : int
        Patches along one side of the image.
    """

    index: int
    channels: tuple[str, ...]
    positions: tuple[int, ...]
    gsd: int
    patch_size: int
    grid_size: int

    @property
    def image_size(self) -> int:
        """Side in pixels of the image that this group reads."""
        return self.patch_size * self.grid_size

    @property
    def footprint(self) -> int:
        """Side of a patch on the ground in metres."""
        return self.patch_size * self.gsd

    @property
    def n_tokens(self) -> int:
        """Number of tokens of this group."""
        return self.grid_size**2


@dataclass(frozen=True)
class TokenLayout:
    """The token sequence of one square image: groups ascending, row-major inside a group.

    Parameters
    ----------
    ground_cover : int
        Side of the image on the ground in metres.
    groups : tuple of GroupGrid
        Groups in sequence order.
    patch_size_positions : tuple of float
        Position of each group in the patch-size embedding: footprint / (reference patch size * finest GSD).
    """

    ground_cover: int
    groups: tuple[GroupGrid, ...]
    patch_size_positions: tuple[float, ...]

    @property
    def n_tokens(self) -> int:
        """Length of the token sequence."""
        return sum(group.n_tokens for group in self.groups)

    @property
    def finest_grid_size(self) -> int:
        """Patches per side of the finest group, on which groups are merged."""
        return max(group.grid_size for group in self.groups)

    def coordinates(self) -> torch.Tensor:
        """Token centres in units of the largest patch footprint.

        Returns
        -------
        Tensor
            Float64 ``(N, 2)``: row and column distance from the top left corner of the image. Centres and the
            footprint are whole or half metres, so only this one division rounds.
        """
        largest = max(group.footprint for group in self.groups)
        centres = []
        for group in self.groups:
            axis = (torch.arange(group.grid_size, dtype=torch.float64) + 0.5) * group.footprint
            centres.append(torch.cartesian_prod(axis, axis))
        return torch.cat(centres) / largest

    def channel_params(self, selection: BandSelection) -> dict[str, dict[str, int]]:
        """Describe the layout per channel as the published wrapper does: ``GSD``, ``num_patch``, ``patch_size``."""
        of_channel = {channel: group for group in self.groups for channel in group.channels}
        return {
            channel: {"GSD": grid.gsd, "num_patch": grid.grid_size, "patch_size": grid.patch_size}
            for channel, grid in ((channel, of_channel[channel]) for channel in selection.channels)
        }


def resolve_layout(
    selection: BandSelection,
    ground_cover: int,
    patch_sizes: Sequence[int],
    strategy: Strategy = "min",
    reference_patch_size: int = REFERENCE_PATCH_SIZE,
) -> TokenLayout:
    """Choose a patch size per group and lay the tokens out.

    Parameters
    ----------
    selection : BandSelection
        The bands.
    ground_cover : int
        Side of the image on the ground in metres.
    patch_sizes : sequence of int
        Candidate patch sizes in pixels. Those that tile a group's image exactly are considered for that group.
    strategy : {'min', 'max', 'equal-min', 'equal-max'}
        ``min`` and ``max`` take each group's smallest or largest candidate. ``equal-min`` and ``equal-max`` give all
        groups the same number of patches per side, the largest or the smallest number that they have in common.
    reference_patch_size : int
        Of the patch-size embedding, in pixels. Another value than the published 4 departs from pre-training.

    Raises
    ------
    ValueError
        If the ground cover is no multiple of a group's pixel size, no candidate tiles a group's image, no common
        grid exists, or the strategy is unknown. The message names the nearest values that work.
    """
    if strategy not in STRATEGIES:
        msg = f"Unknown select_patch_strategy {strategy!r}. Valid: {', '.join(STRATEGIES)}."
        raise ValueError(msg)
    groups = selection.groups()
    gsds = [selection.group_gsd[group.index] for group in groups]
    choices = [_tiling_patch_sizes(ground_cover, gsd, patch_sizes) for gsd in gsds]
    if not all(choices):
        raise ValueError(_no_patch_size_message(selection, ground_cover, patch_sizes))
    chosen = _choose(ground_cover, gsds, choices, strategy)
    grids = []
    for group, gsd, patch_size in zip(groups, gsds, chosen, strict=True):
        channels = selection.members(group)
        positions = tuple(selection.channels.index(channel) for channel in channels)
        grid_size = ground_cover // (gsd * patch_size)
        grids.append(GroupGrid(group.index, channels, positions, gsd, patch_size, grid_size))
    # The published encoder takes the finest pixel size over all configured channels, wanted or not.
    finest = min(selection.group_gsd)
    pi = tuple(grid.footprint / (reference_patch_size * finest) for grid in grids)
    return TokenLayout(ground_cover, tuple(grids), pi)


def _tiling_patch_sizes(ground_cover: int, gsd: int, patch_sizes: Sequence[int]) -> list[int]:
    return sorted({p for p in patch_sizes if ground_cover % (p * gsd) == 0})


def _choose(ground_cover: int, gsds: Sequence[int], choices: Sequence[Sequence[int]], strategy: Strategy) -> list[int]:
    if strategy == "min":
        return [choice[0] for choice in choices]
    if strategy == "max":
        return [choice[-1] for choice in choices]
    grid_sizes = [{ground_cover // (gsd * p): p for p in choice} for gsd, choice in zip(gsds, choices, strict=True)]
    common = set.intersection(*(set(sizes) for sizes in grid_sizes))
    if not common:
        offers = "; ".join(
            f"{gsd} m: " + ", ".join(f"{p} px -> {n}" for n, p in sorted(sizes.items(), reverse=True))
            for gsd, sizes in zip(gsds, grid_sizes, strict=True)
        )
        msg = (
            f"select_patch_strategy {strategy!r} needs one number of patches per side for all groups, but the patch "
            f"sizes have none in common ({offers}). Add patch sizes whose footprints in metres agree, for example "
            f"{sorted({max(gsds) // gsd * choices[-1][0] for gsd in gsds})}."
        )
        raise ValueError(msg)
    wanted = max(common) if strategy == "equal-min" else min(common)
    return [sizes[wanted] for sizes in grid_sizes]


def _nearest(value: int, valid: Sequence[int], count: int = 4) -> list[int]:
    return sorted(sorted(valid, key=lambda v: (abs(v - value), v))[:count])


def _no_patch_size_message(selection: BandSelection, ground_cover: int, patch_sizes: Sequence[int]) -> str:
    gsds = sorted({selection.group_gsd[group.index] for group in selection.groups()})
    coarse = math.lcm(*gsds)
    smallest = min(patch_sizes)
    step = math.lcm(*(smallest * gsd for gsd in gsds))
    below = max(step, ground_cover // step * step)
    covers = sorted({below, below + step if below <= ground_cover else below})
    text = (
        f"No patch size of {list(patch_sizes)} px tiles {ground_cover} m of ground at "
        f"{', '.join(f'{gsd} m' for gsd in gsds)} per pixel: ground_cover must be a multiple of patch size times GSD. "
    )
    if ground_cover % coarse == 0:
        side = math.gcd(*(ground_cover // gsd for gsd in gsds))
        valid = [p for p in range(1, side + 1) if side % p == 0]
        text += f"Nearest patch sizes that work for all groups: {_nearest(smallest, valid)}. "
    nearest = " or ".join(f"{cover} m ({cover // gsds[0]} px at {gsds[0]} m)" for cover in covers)
    return text + f"Nearest ground covers for patch size {smallest}: {nearest}."
