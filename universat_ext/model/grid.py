"""How images are cut into patches and sub-patches, and which patch grid the tile gets."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from universat_ext.model.modalities import CELL_METRES, LAST_TABLE_DAY, Modality, check_count, check_metres

#: Relative distance of a pixel count from a whole number that is rounding.
ROUNDING = 1e-6
#: Pairs of output cells and sub-patches from which the output costs more than the rest: 128 x 128 cells of as many.
COSTLY_PAIRS = 2**28


@dataclass(frozen=True)
class Rules:
    """What the encoder does where the input leaves a choice. The published choices are the defaults.

    Parameters
    ----------
    latent_from : str
        Whose patch grid the tile gets: ``first`` in the dictionary (published: another order of keys gives other
        features), ``finest`` (the one with the most patches, whatever the order), or the name of a modality.
    pixel_count : {'truncated', 'nearest'}
        Pixels per side of a patch. ``truncated``: as published, in float64, where 1.2 m in pixels of 0.2 m are 5.
        ``nearest``: whole numbers but for rounding; others are refused, unless a pixel is more than half of a patch.
    crop : bool
        Leave out rows and columns that fill no patch, and those of a patch that fill no sub-patch, as published;
        else they are refused.
    last_day : int
        Last day that a date may have, up to 749; 0 is 1 January.
    """

    latent_from: str = "first"
    pixel_count: Literal["truncated", "nearest"] = "truncated"
    crop: bool = True
    last_day: int = LAST_TABLE_DAY


#: The published call.
PUBLISHED = Rules()
#: What hides no mistake.
CAREFUL = Rules("finest", "nearest", crop=False, last_day=366)


@dataclass(frozen=True)
class PatchGrid:
    """Where the tokens of one image are.

    Parameters
    ----------
    side : int
        Patches per side of the tile, n.
    patch_pixels : int
        Pixels per side of a patch, g.
    subpatches : int
        Sub-patches per side of a patch.
    pixels : int
        Pixels per side of a sub-patch, q.
    """

    side: int
    patch_pixels: int
    subpatches: int
    pixels: int


def patch_grid(modality: Modality, size: int, metres: float, rules: Rules) -> PatchGrid:
    """Cut a square image.

    Parameters
    ----------
    modality : Modality
        The sensor.
    size : int
        Pixels per side.
    metres : float
        Side of a patch.
    rules : Rules
        See there.

    Raises
    ------
    ValueError
        If patches or sub-patches do not fit the pixels.
    """
    if modality.is_context:
        if size != 1:
            msg = (
                f"{modality.name!r} is one pixel of {modality.pixel_metres:g} m for the whole tile, got {size} x "
                f"{size} pixels. Take the pixel that covers the centre of the tile."
            )
            raise ValueError(msg)
        return PatchGrid(1, 1, 1, 1)
    pixels = patch_pixels(modality, metres, rules)
    subpatches, rest = divmod(pixels, modality.subpatch_pixels)
    if subpatches == 0:
        smallest = modality.subpatch_pixels * modality.pixel_metres
        msg = (
            f"A patch of {metres:g} m is {pixels} px of {modality.name!r} per side, less than its sub-patch of "
            f"{modality.subpatch_pixels} px. The smallest patch_size for it is {smallest:g} m."
        )
        raise ValueError(msg)
    if rest and not rules.crop and not modality.rest_is_usual:
        step = modality.subpatch_pixels * modality.pixel_metres
        msg = (
            f"A patch of {metres:g} m is {pixels} px of {modality.name!r} per side, of which sub-patches of "
            f"{modality.subpatch_pixels} px leave {rest} unread. Take patch_size {step * subpatches:g} or "
            f"{step * (subpatches + 1):g}, or pass crop=True to leave them out."
        )
        raise ValueError(msg)
    side = size // pixels
    if side == 0 or (size % pixels and not rules.crop):
        raise ValueError(_size_message(modality, size, metres, pixels))
    return PatchGrid(side, pixels, subpatches, modality.subpatch_pixels)


def patch_pixels(modality: Modality, metres: float, rules: Rules) -> int:
    """Pixels per side of a patch.

    Raises
    ------
    ValueError
        If it is no whole number, and the rules do not truncate it.
    """
    if rules.pixel_count == "truncated":
        return max(int(metres / CELL_METRES * CELL_METRES / modality.pixel_metres), 1)
    count = metres / modality.pixel_metres
    nearest = max(round(count), 1)
    if abs(count - nearest) <= ROUNDING * nearest:
        return nearest
    if count < 2:
        return 1  # one pixel stands for a patch of about its size: 40 m in pixels of 30 m is published use
    below = math.floor(count) * modality.pixel_metres
    msg = (
        f"A patch of {metres:g} m is {count:g} px of {modality.name!r} ({modality.pixel_metres:g} m), no whole number. "
        f"Take patch_size {below:g} or {below + modality.pixel_metres:g}."
    )
    raise ValueError(msg)


def _size_message(modality: Modality, size: int, metres: float, pixels: int) -> str:
    text = (
        f"{modality.name!r} is {size} px ({size * modality.pixel_metres:g} m) per side, which patches of {metres:g} m "
        f"({pixels} px) do not tile exactly. "
    )
    if size < pixels:
        return text + f"Take a patch_size of at most {size * modality.pixel_metres:g} m, or a larger tile."
    return text + (
        f"Take {size // pixels * pixels} px, or another patch_size, or pass crop=True to leave out the last "
        f"{size % pixels} rows and columns."
    )


def check_patch_size(value: object) -> float:
    """Return the side of a patch in metres.

    Raises
    ------
    ValueError
        If it is no positive number: the published model takes -40 and 0 for patches of one pixel.
    """
    return check_metres("patch_size (the side of a patch)", value)


def check_extents(sizes: Mapping[Modality, int]) -> None:
    """Refuse images of different extents, which would be stretched over each other.

    Parameters
    ----------
    sizes : mapping of Modality to int
        Pixels per side of each.

    Raises
    ------
    ValueError
        If extents differ by a pixel of the coarsest image or more, or there is only context.
    """
    gridded = {modality: size for modality, size in sizes.items() if not modality.is_context}
    if not gridded:
        msg = (
            "'modis' is context for other modalities and has no patches of its own: give at least one other modality "
            "with it."
        )
        raise ValueError(msg)
    extents = [modality.pixel_metres * size for modality, size in gridded.items()]
    coarsest = max(modality.pixel_metres for modality in gridded)
    if max(extents) - min(extents) >= coarsest * (1 - ROUNDING):
        listed = ", ".join(f"{m.name} {m.pixel_metres * size:g} m ({size} px)" for m, size in gridded.items())
        msg = (
            f"All modalities must cover the same extent on the ground, to a pixel of {coarsest:g} m, got {listed}. "
            f"Crop them to the smallest extent, {min(extents):g} m, around the same centre."
        )
        raise ValueError(msg)


def check_coarse(modalities: Sequence[Modality], metres: float) -> None:
    """Refuse patches that are smaller than a pixel of every image.

    Raises
    ------
    ValueError
        With the smallest patch size.
    """
    finest = min((m for m in modalities if not m.is_context), key=lambda m: m.pixel_metres)
    if metres < finest.pixel_metres * (1 - ROUNDING):
        msg = (
            f"patch_size {metres:g} m is less than a pixel of {finest.name!r}, the finest image "
            f"({finest.pixel_metres:g} m). Take {finest.pixel_metres:g} m or more."
        )
        raise ValueError(msg)


def latent_side(given: object, grids: Mapping[Modality, PatchGrid], rules: Rules) -> int:
    """Return the patches per side that the tile gets, L.

    Parameters
    ----------
    given : int or None
        Their number, L^2, where it is stated.
    grids : mapping of Modality to PatchGrid
        Of all images, in the order of the dictionary.
    rules : Rules
        Whose grid it is otherwise.

    Raises
    ------
    ValueError
        If the number is no square, or the rules name a modality that is not there.
    """
    if given is not None:
        count = check_count("latent_grid (the number of patches)", given)
        side = math.isqrt(count)
        if side * side != count:
            msg = f"latent_grid is the number of patches of a square, got {count}. Take {side**2} or {(side + 1) ** 2}."
            raise ValueError(msg)
        return side
    if rules.latent_from == "first":
        return next(iter(grids.values())).side
    if rules.latent_from == "finest":
        return max(grid.side for grid in grids.values())
    for modality, grid in grids.items():
        if modality.name == rules.latent_from:
            return grid.side
    names = ", ".join(modality.name for modality in grids)
    msg = f"latent_from must be 'first', 'finest' or a modality of the input ({names}), got {rules.latent_from!r}."
    raise ValueError(msg)


def output_side(given: object, latent: int, grids: Mapping[Modality, PatchGrid]) -> int:
    """Return the cells per side of the output.

    ``patch`` is the latent side. By default, as published, it is the latent side times the largest number of pixels per
    side of a sub-patch. (That is not the number of sub-patches: 10 cells a patch of SPOT, whatever its size; and for
    sensors of 10 m the patch grid.)

    Raises
    ------
    ValueError
        If it is no positive whole number.
    """
    if given == "patch":
        return latent
    if given is None:
        return latent * max(grid.pixels for grid in grids.values())
    return check_count("output_grid (cells per side, or 'patch')", given)


def warn_if_costly(side: int, grids: Mapping[Modality, PatchGrid]) -> None:
    """Warn of an output whose cells and sub-patches make very many pairs: every cell attends to every sub-patch."""
    subpatches = sum((grid.side * grid.subpatches) ** 2 for modality, grid in grids.items() if not modality.is_context)
    pairs = side**2 * subpatches
    if pairs > COSTLY_PAIRS:
        warnings.warn(
            f"{side} x {side} output cells attend to {subpatches} sub-patches: {pairs:.1e} pairs a sample, which take "
            "longer than all the rest. Take coarser cells (cell_metres), larger sub-patches, or a smaller tile.",
            UserWarning,
            stacklevel=3,
        )
