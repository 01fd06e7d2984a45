"""How images are cut into patches, and patches into tokens."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, SupportsIndex, cast, get_args

from anysat_ext.model.modalities import CELL_METRES, Modality

#: Patches per tile up to which the model card recommends AnySat.
RECOMMENDED_PATCHES = 1024
ReduceScale = Literal["published", "training"]
REDUCE_SCALES: tuple[ReduceScale, ...] = get_args(ReduceScale)


def check_reduce_scale(value: object) -> ReduceScale:
    """Return ``value`` if it is one of `REDUCE_SCALES`.

    Raises
    ------
    ValueError
        If it is not.
    """
    for valid in REDUCE_SCALES:
        if value == valid:
            return valid
    msg = f"reduce_scale must be one of {', '.join(REDUCE_SCALES)}, got {value!r}."
    raise ValueError(msg)


def patch_scale(patch_size: object) -> int:
    """Return how many 10 m cells a patch has per side.

    Raises
    ------
    ValueError
        If the patch size is no positive multiple of 10, or no whole number at all. The published model takes 25 for
        20 and turns 5 and 0 into a scale of 0.
    """
    try:
        metres = None if isinstance(patch_size, bool) else operator.index(cast("SupportsIndex", patch_size))
    except TypeError:
        metres = None
    if metres is None or metres <= 0 or metres % CELL_METRES:
        below = max(CELL_METRES, int(metres) // CELL_METRES * CELL_METRES) if metres and metres > 0 else CELL_METRES
        msg = (
            f"patch_size is the side of a patch in metres, a whole number and positive multiple of {CELL_METRES}, "
            f"got {patch_size!r}. Take for example {below} or {below + CELL_METRES}."
        )
        raise ValueError(msg)
    return int(metres) // CELL_METRES


@dataclass(frozen=True)
class PatchGrid:
    """Where the tokens of one image are.

    Parameters
    ----------
    side : int
        Patches per side of the tile, n.
    tokens : int
        Tokens per side of a patch, r.
    pixels : int
        Pixels per side of a patch.
    """

    side: int
    tokens: int
    pixels: int


@dataclass(frozen=True)
class TileLayout:
    """What the tokens of a tile are, beside its class token.

    Parameters
    ----------
    side : int
        Patches per side of the tile.
    scale : int
        10 m cells per side of a patch.
    n_images : int
        Modalities with a grid of patches, M.
    n_context : int
        Modalities with one token for the whole tile (MODIS).
    """

    side: int
    scale: int
    n_images: int
    n_context: int


def patch_grid(modality: Modality, size: int, scale: int, reduce_scale: ReduceScale, *, crop: bool) -> PatchGrid:
    """Cut a square image into patches.

    Parameters
    ----------
    modality : Modality
        The sensor.
    size : int
        Pixels per side.
    scale : int
        10 m cells per side of a patch.
    reduce_scale : {'published', 'training'}
        Whether patches of the 30 m sensors have one token per 10 m cell, as the release configuration says by
        mistake, or one per pixel, as trained.
    crop : bool
        Drop rows and columns at the bottom and right that fill no patch, as the published model does unasked.

    Raises
    ------
    ValueError
        If the patches do not fit the pixels of the image.
    """
    if modality.is_context:
        return _context_grid(modality, size)
    if modality.is_series:
        tokens = _series_tokens(modality, scale, reduce_scale)
        pixels = tokens
    else:
        tokens = scale * modality.tokens_per_cell
        pixels = tokens * modality.kernel
    side = size // pixels
    if side == 0 or (size % pixels and not crop):
        raise ValueError(_size_message(modality, size, scale, pixels))
    return PatchGrid(side, tokens, pixels)


def _context_grid(modality: Modality, size: int) -> PatchGrid:
    # The reduce scale of 12 makes one token of the one pixel that a tile of the training data has.
    if size != 1:
        msg = (
            f"{modality.name!r} is one pixel of {modality.pixel_metres:g} m for the whole tile, (B, T, C, 1, 1); got "
            f"{size} x {size} pixels. Take the pixel that covers the centre of the tile."
        )
        raise ValueError(msg)
    return PatchGrid(1, 1, 1)


def _series_tokens(modality: Modality, scale: int, reduce_scale: ReduceScale) -> int:
    cells_per_pixel = int(modality.pixel_metres) // CELL_METRES
    if cells_per_pixel == 1:
        return scale
    # Published as it is: at patch size 10 every 30 m pixel is taken for a patch of 10 m.
    if scale == 1:
        return 1
    metres = scale * CELL_METRES
    if reduce_scale != "training":
        msg = (
            f"{modality.name!r} has pixels of {modality.pixel_metres:g} m; the release configuration, without the "
            f"reduce_scale of {modality.training_reduce_scale} of the training, can only cut it at patch_size 10 and "
            f"alone, got patch_size {metres}. Build the encoder with reduce_scale='training' and take a multiple of "
            f"{modality.pixel_metres:g}."
        )
        raise ValueError(msg)
    if scale % cells_per_pixel:
        below = max(1, scale // cells_per_pixel) * cells_per_pixel * CELL_METRES
        msg = (
            f"{modality.name!r} has pixels of {modality.pixel_metres:g} m, so patch_size must be a multiple of that, "
            f"got {metres}. Take for example {below} or {below + cells_per_pixel * CELL_METRES}."
        )
        raise ValueError(msg)
    return scale // modality.training_reduce_scale


def _size_message(modality: Modality, size: int, scale: int, pixels: int) -> str:
    extent = size * modality.pixel_metres
    metres = scale * CELL_METRES
    text = (
        f"{modality.name!r} is {size} px ({extent:g} m) per side, which patches of {metres} m ({pixels} px) do not "
        "tile exactly. "
    )
    if size < pixels:
        return text + f"Take a patch_size of at most {int(extent) // CELL_METRES * CELL_METRES} m, or a larger tile."
    unit = pixels // scale
    fitting = [CELL_METRES * s for s in range(1, size // unit + 1) if size % (unit * s) == 0]
    sizes = f" or patch_size {', '.join(map(str, fitting[:6]))}" if fitting else ""
    return text + (
        f"Take {size // pixels * pixels} px{sizes}, or pass crop=True to drop the last "
        f"{size % pixels} rows and columns."
    )


def common_side(grids: Mapping[Modality, PatchGrid], sizes: Mapping[Modality, int], scale: int) -> int:
    """Return the number of patches per side, the same for all modalities but MODIS.

    Raises
    ------
    ValueError
        If the modalities cover different extents or have different patch grids, or there is only MODIS.
    """
    gridded = [modality for modality in grids if not modality.is_context]
    if not gridded:
        msg = (
            "'modis' is context for other modalities and has no patches of its own: give at least one other modality "
            "with it."
        )
        raise ValueError(msg)
    extents = {modality.name: sizes[modality] * modality.pixel_metres for modality in gridded}
    if max(extents.values()) - min(extents.values()) > 1e-6:
        listed = ", ".join(f"{name} {extent:g} m ({sizes[m]} px)" for m, (name, extent) in _paired(gridded, extents))
        msg = (
            f"All modalities must cover the same extent on the ground, got {listed}. Crop them to the smallest extent, "
            f"{min(extents.values()):g} m, around the same centre."
        )
        raise ValueError(msg)
    sides = {modality.name: grids[modality].side for modality in gridded}
    if len(set(sides.values())) > 1:
        listed = ", ".join(f"{name} {n} x {n}" for name, n in sides.items())
        msg = (
            f"The modalities have different numbers of patches at patch_size {scale * CELL_METRES}: {listed}. Sensors "
            "of 30 m need reduce_scale='training' and a patch_size that is a multiple of 30 to go with others."
        )
        raise ValueError(msg)
    return next(iter(sides.values()))


def _paired(gridded: list[Modality], extents: dict[str, float]) -> list[tuple[Modality, tuple[str, float]]]:
    return list(zip(gridded, extents.items(), strict=True))


def warn_if_many(side: int, scale: int) -> None:
    """Warn of more patches than the model card recommends; memory and time of the attention grow with their square."""
    patches = side * side
    if patches > RECOMMENDED_PATCHES:
        enough = -(-side * scale // int(RECOMMENDED_PATCHES**0.5)) * CELL_METRES
        warnings.warn(
            f"{patches} patches ({side} x {side} of {scale * CELL_METRES} m) per tile; the model card recommends at "
            f"most {RECOMMENDED_PATCHES}, for example with patch_size {enough} or a smaller tile.",
            UserWarning,
            stacklevel=4,
        )
