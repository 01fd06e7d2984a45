"""The published dictionary of tensors: matched by names and shapes, and checked by value as a step of its own.

The published model checks little and with ``assert``; what it lets pass and computes wrongly is an error here.
`InputSpec.match` looks at names, shapes and dtypes only, so a trace by `torch.export` or `torch.compile` runs it, too.
`checked` looks at values and is left out of a trace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from anysat_ext.model.grid import PatchGrid, ReduceScale, common_side, patch_grid, warn_if_many
from anysat_ext.model.modalities import MODALITIES, Modality
from eo_models.forward.checks import (
    DATES,
    MASK,
    check_batch,
    check_dates_are_numbers,
    check_days,
    check_finite,
    check_frames,
    check_image,
    check_tensors,
    kind_of,
    read_dates,
    square_side,
)

#: Days that the date encoding has seen: the loaders of the pre-training count from 0 or from 1.
FIRST_DAY, LAST_DAY = 0, 366
_OTHER_DAYS = (
    "Convert the dates, or pass check_dates=False to feed other days as they are (the encoding does not repeat after a "
    "year)."
)


@dataclass(frozen=True)
class Observation:
    """One modality of a batch.

    Parameters
    ----------
    modality : Modality
        The sensor.
    grid : PatchGrid
        How its image is cut.
    pixels : Tensor
        ``(B, T, C, H, W)`` or ``(B, C, H, W)``, cropped to whole patches, 0 where a mask leaves values out.
    dates : Tensor
        ``(B, T)`` of a series, 0 for frames to leave out; empty for an image.
    valid_frames : Tensor or None
        Bool ``(B, T)``: frames to use; all if absent.
    kept_values : Tensor or None
        Bool like ``pixels``: values to keep; the others become the learned padding value.
    """

    modality: Modality
    grid: PatchGrid
    pixels: torch.Tensor
    dates: torch.Tensor
    valid_frames: torch.Tensor | None = None
    kept_values: torch.Tensor | None = None


@dataclass(frozen=True)
class InputSpec:
    """What a dictionary may hold.

    Parameters
    ----------
    modalities : tuple of str
        Those that the encoder is built with.
    reduce_scale : {'published', 'training'}
        See `anysat_ext.model.grid.patch_grid`.
    dtype : torch.dtype
        The dtype of the weights.
    crop : bool
        Drop what fills no patch.
    """

    modalities: tuple[str, ...]
    reduce_scale: ReduceScale
    dtype: torch.dtype
    crop: bool

    def match(self, data: Mapping[str, torch.Tensor], scale: int) -> list[Observation]:
        """Return the observations in the order of the dictionary.

        Parameters
        ----------
        data : mapping of str to Tensor
            The published dictionary, see `anysat_ext.model.encoder.AnySat.forward`.
        scale : int
            10 m cells per side of a patch.

        Raises
        ------
        ValueError
            If a name, a shape or a dtype is not as it should be; the message says what came, what is valid and what
            to do.
        """
        modalities = self._find(data)
        check_batch({modality.name: data[modality.name] for modality in modalities})
        sizes = {modality: square_side(modality.name, data[modality.name]) for modality in modalities}
        grids = {
            modality: patch_grid(modality, size, scale, self.reduce_scale, crop=self.crop)
            for modality, size in sizes.items()
        }
        common_side(grids, sizes, scale)
        return [self._observe(modality, grid, data) for modality, grid in grids.items()]

    def _find(self, data: object) -> list[Modality]:
        """The modalities of a dictionary, every key of which must have a meaning."""
        if not isinstance(data, Mapping):
            msg = f"data must be a dictionary of tensors such as {{'s2': ..., 's2_dates': ...}}, got {kind_of(data)}."
            raise ValueError(msg)
        names = [key for key in data if key in MODALITIES]
        absent = [name for name in names if name not in self.modalities]
        if absent:
            msg = (
                f"The encoder was built without {', '.join(map(repr, absent))} (it has {', '.join(self.modalities)}). "
                "Name all modalities that you want to feed in AnySat(modalities=...)."
            )
            raise ValueError(msg)
        series = [name for name in names if MODALITIES[name].is_series]
        extras = {name + suffix for name in series for suffix in (DATES, MASK)}
        unknown = [key for key in data if key not in names and key not in extras]
        if unknown or not names:
            fault = f"unknown keys {', '.join(map(repr, unknown))}" if unknown else "no image in it"
            msg = (
                f"data may hold the modalities {', '.join(self.modalities)} and, for a series that is in it, "
                f"'<modality>{DATES}' and '<modality>{MASK}'; got {fault}. Remove or rename what is no input."
            )
            raise ValueError(msg)
        check_tensors(data)
        for name in names:
            check_image(name, data[name], MODALITIES[name].bands, series=MODALITIES[name].is_series)
        return [MODALITIES[name] for name in names]

    def _observe(self, modality: Modality, grid: PatchGrid, data: Mapping[str, torch.Tensor]) -> Observation:
        edge = grid.side * grid.pixels
        pixels = data[modality.name][..., :edge, :edge].to(self.dtype)
        if not modality.is_series:
            return Observation(modality, grid, pixels, torch.empty(0))
        frames, kept = _read_mask(modality, data)
        if frames is not None:
            # A frame that does not count may hold anything, NaN as well.
            pixels = pixels.masked_fill(~frames[:, :, None, None, None], 0.0)
        if kept is not None:
            kept = kept[..., :edge, :edge]
            pixels = pixels.masked_fill(~kept, 0.0)
        dates = read_dates(modality.name, data)
        if frames is not None:
            dates = dates.masked_fill(~frames.to(dates.device), 0)
        return Observation(modality, grid, pixels, dates, frames, kept)


def checked(observations: Sequence[Observation], scale: int, *, check_dates: bool) -> list[Observation]:
    """Refuse values that would spoil the result in silence, and drop a mask of frames that leaves none out.

    Parameters
    ----------
    observations : sequence of Observation
        What `InputSpec.match` found.
    scale : int
        10 m cells per side of a patch.
    check_dates : bool
        Refuse days outside 0..366.

    Raises
    ------
    ValueError
        For a sample without a valid frame, NaN or infinity, or a day outside the year.

    Warns
    -----
    UserWarning
        For more patches than the model card recommends.
    """
    warn_if_many(next(o.grid.side for o in observations if not o.modality.is_context), scale)
    return [_checked(observation, check_dates=check_dates) for observation in observations]


def _checked(observation: Observation, *, check_dates: bool) -> Observation:
    name, series = observation.modality.name, observation.modality.is_series
    frames = observation.valid_frames
    if frames is not None:
        check_frames(name, frames)
        observation = replace(observation, valid_frames=None if bool(frames.all()) else frames)
    check_finite(name, observation.pixels, series=series)
    if series and check_dates:
        check_days(name, observation.dates, FIRST_DAY, LAST_DAY, _OTHER_DAYS)
    elif series:
        check_dates_are_numbers(name, observation.dates)
    return observation


def _read_mask(modality: Modality, data: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Frames to use ``(B, T)`` and values to keep ``(B, T, C, H, W)``; a mask is one of the two by its shape."""
    key = modality.name + MASK
    if key not in data:
        return None, None
    image = data[modality.name]
    mask = data[key].to(image.device, torch.bool)
    if mask.shape == image.shape:
        return None, mask
    if mask.shape != image.shape[:2]:
        msg = (
            f"{key!r} must have shape (B, T) = {tuple(image.shape[:2])} to leave frames out, or the shape of "
            f"{modality.name!r}, {tuple(image.shape)}, to pad single values; got {tuple(mask.shape)}."
        )
        raise ValueError(msg)
    return mask, None
