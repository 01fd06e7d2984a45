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

DATES = "_dates"
MASK = "_mask"
#: Days that the date encoding has seen: the loaders of the pre-training count from 0 or from 1.
FIRST_DAY, LAST_DAY = 0, 366


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
        _check_batch({modality.name: data[modality.name] for modality in modalities})
        sizes = {modality: _square_size(modality, data[modality.name]) for modality in modalities}
        grids = {
            modality: patch_grid(modality, size, scale, self.reduce_scale, crop=self.crop)
            for modality, size in sizes.items()
        }
        common_side(grids, sizes, scale)
        return [self._observe(modality, grid, data) for modality, grid in grids.items()]

    def _find(self, data: object) -> list[Modality]:
        """The modalities of a dictionary, every key of which must have a meaning."""
        if not isinstance(data, Mapping):
            msg = f"data must be a dictionary of tensors such as {{'s2': ..., 's2_dates': ...}}, got {_kind(data)}."
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
        for key in data:
            if not isinstance(data[key], torch.Tensor):
                msg = f"{key!r} must be a torch tensor, got {_kind(data[key])}. Convert it with torch.as_tensor."
                raise ValueError(msg)
        for name in names:
            _check_image(MODALITIES[name], data[name])
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
        dates = _read_dates(modality, data)
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
    frames = observation.valid_frames
    if frames is not None:
        _check_frames(observation.modality, frames)
        observation = replace(observation, valid_frames=None if bool(frames.all()) else frames)
    _check_finite(observation.modality, observation.pixels)
    if observation.modality.is_series:
        _check_dates(observation.modality, observation.dates, check_year=check_dates)
    return observation


def _check_frames(modality: Modality, frames: torch.Tensor) -> None:
    empty = ~frames.any(dim=1)
    if bool(empty.any()):
        msg = (
            f"{modality.name + MASK!r} leaves no valid frame in samples {empty.nonzero().flatten().tolist()}. Every "
            "sample needs one; leave out the samples or the modality."
        )
        raise ValueError(msg)


def _check_finite(modality: Modality, pixels: torch.Tensor) -> None:
    finite = torch.isfinite(pixels)
    if finite.all():
        return
    samples = (~finite).flatten(1).any(dim=1).nonzero().flatten().tolist()
    mask = f" or leave the frames out with a {modality.name + MASK!r} of shape (B, T)" if modality.is_series else ""
    msg = (
        f"{modality.name!r} holds {int((~finite).sum())} NaN or infinite values in samples {samples}; one would spoil "
        f"its whole sample. Fill them{mask}."
    )
    raise ValueError(msg)


def _check_dates(modality: Modality, dates: torch.Tensor, *, check_year: bool) -> None:
    key = modality.name + DATES
    if not torch.isfinite(dates).all():
        msg = f"{key!r} holds NaN or infinity. Every frame needs a date; leave undated frames out."
        raise ValueError(msg)
    first, last = float(dates.min()), float(dates.max())
    if check_year and (first < FIRST_DAY or last > LAST_DAY):
        msg = (
            f"{key!r} must hold days of the year, {FIRST_DAY} (1 January) to {LAST_DAY}, got values from "
            f"{first:g} to {last:g}. Convert the dates, or pass check_dates=False to feed other days as they are "
            "(the encoding does not repeat after a year)."
        )
        raise ValueError(msg)


def _read_dates(modality: Modality, data: Mapping[str, torch.Tensor]) -> torch.Tensor:
    key = modality.name + DATES
    batch, length = data[modality.name].shape[:2]
    if key not in data:
        msg = (
            f"{modality.name!r} is a series of {length} frames without dates. Add {key!r} with the day of the year "
            f"(1 January = 0) of every frame of every sample, shape (B, T) = ({batch}, {length})."
        )
        raise ValueError(msg)
    dates = data[key]
    if dates.shape != (batch, length):
        msg = (
            f"{key!r} must have one day per frame of {modality.name!r}, shape (B, T) = ({batch}, {length}), got "
            f"{tuple(dates.shape)}. For the same days in all samples use dates.expand({batch}, {length})."
        )
        raise ValueError(msg)
    if dates.dtype in (torch.bool, torch.bfloat16) or dates.is_complex():
        msg = (
            f"{key!r} must hold days of the year in a dtype that tells all days apart, got {dates.dtype}. Keep "
            "dates as torch.long or torch.float32, in mixed precision, too."
        )
        raise ValueError(msg)
    return dates


def _kind(value: object) -> str:
    return f"{value!r}" if value is None or isinstance(value, bool | int | float | str) else type(value).__name__


def _check_image(modality: Modality, image: torch.Tensor) -> None:
    expected = "(B, T, C, H, W)" if modality.is_series else "(B, C, H, W)"
    given = tuple(image.shape)
    if image.ndim != (5 if modality.is_series else 4):
        advice = "Give one frame a T of 1." if modality.is_series else "It has no time axis."
        msg = f"{modality.name!r} must have shape {expected}, got {given}. {advice}"
        raise ValueError(msg)
    if not image.is_floating_point():
        msg = (
            f"{modality.name!r} must hold normalised floating point values, got {image.dtype}. Use "
            "(image.float() - mean) / std with the statistics of your data set."
        )
        raise ValueError(msg)
    bands = image.shape[-3]
    if bands != modality.n_bands:
        msg = (
            f"{modality.name!r} must have {modality.n_bands} channels ({', '.join(modality.bands)}) in {expected}, got "
            f"{bands} in {given}."
        )
        raise ValueError(msg)
    if 0 in given:
        msg = f"{modality.name!r} is empty: shape {given}, expected {expected} with at least one of each."
        raise ValueError(msg)


def _check_batch(images: Mapping[str, torch.Tensor]) -> None:
    batches = {name: image.shape[0] for name, image in images.items()}
    first = next(iter(batches.values()))
    if any(n != first for n in batches.values()):
        listed = ", ".join(f"{name} {n}" for name, n in batches.items())
        msg = f"All modalities must have the same number of samples, got {listed}."
        raise ValueError(msg)


def _square_size(modality: Modality, image: torch.Tensor) -> int:
    height, width = image.shape[-2:]
    if height != width:
        msg = (
            f"{modality.name!r} must be square, got {height} x {width} px. Crop it to {min(height, width)} px or cut "
            "it into square tiles."
        )
        raise ValueError(msg)
    return int(height)


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
