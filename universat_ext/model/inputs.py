"""The dictionary of tensors: matched by names and shapes, and checked by value as a step of its own.

`match` looks at names, shapes and dtypes only, so a trace by `torch.export` or `torch.compile` runs it, too. `checked`
looks at values and is left out of a trace.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from eo_models.forward.checks import (
    DATES,
    MASK,
    check_batch,
    check_days,
    check_finite,
    check_frames,
    check_image,
    check_tensors,
    kind_of,
    read_dates,
    square_side,
)
from universat_ext.model.grid import PatchGrid, Rules, check_coarse, check_extents, patch_grid
from universat_ext.model.modalities import LAST_TABLE_DAY, MODALITIES, Modality, described

#: Mean size of values beyond which they are no standard scores.
STRANGE_SIZE = 10.0


@dataclass(frozen=True)
class Overrides:
    """What is stated of sensors beside the table, by name; see `universat_ext.model.modalities.described`."""

    wavelengths: Mapping[str, object]
    input_res: Mapping[str, object]
    subpatches: Mapping[str, object]

    @classmethod
    def parse(cls, wavelengths: object, input_res: object, subpatches: object) -> Overrides:
        """Check that each is a mapping by modality, or ``None``.

        Raises
        ------
        ValueError
            If one is not.
        """
        return cls(
            _by_modality("wavelengths", wavelengths),
            _by_modality("input_res", input_res),
            _by_modality("subpatches", subpatches),
        )

    def names(self) -> set[str]:
        """Sensors that something is stated of."""
        return {str(name) for part in (self.wavelengths, self.input_res, self.subpatches) for name in part}

    def modality(self, name: str) -> Modality:
        """Return a sensor as stated."""
        return described(name, self.wavelengths.get(name), self.input_res.get(name), self.subpatches.get(name))


def _by_modality(argument: str, given: object) -> Mapping[str, object]:
    if given is not None and not isinstance(given, Mapping):
        msg = f"{argument} must be a mapping by modality such as {{'s2': ...}}, got {kind_of(given)}."
        raise ValueError(msg)
    return given or {}


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
        ``(B, T, C, n * g, n * g)``, a T of 1 for an image; 0 where frames do not count.
    dates : Tensor
        ``(B, T)``: days; of an image 0, which has no effect.
    valid_frames : Tensor or None
        Bool ``(B, T)``: frames that count; all if absent.
    """

    modality: Modality
    grid: PatchGrid
    pixels: torch.Tensor
    dates: torch.Tensor
    valid_frames: torch.Tensor | None = None


def match(data: object, metres: float, overrides: Overrides, rules: Rules, dtype: torch.dtype) -> list[Observation]:
    """Return the observations in the order of the dictionary.

    Parameters
    ----------
    data : mapping of str to Tensor
        See `universat_ext.model.encoder.UniverSat.forward`.
    metres : float
        Side of a patch.
    overrides : Overrides
        What is stated of sensors.
    rules : Rules
        What is done where the input leaves a choice.
    dtype : torch.dtype
        The dtype of the weights.

    Raises
    ------
    ValueError
        If a name, a shape or a dtype is not as it should be; the message says what came, what is valid and what to do.
    """
    if not isinstance(data, Mapping):
        msg = f"data must be a dictionary of tensors such as {{'s2': ..., 's2_dates': ...}}, got {kind_of(data)}."
        raise ValueError(msg)
    modalities = _find(data, overrides)
    images = {modality: _as_series(modality, data) for modality in modalities}
    check_batch({modality.name: image for modality, image in images.items()})
    sizes = {modality: square_side(modality.name, image) for modality, image in images.items()}
    check_extents(sizes)
    if rules.pixel_count == "nearest":
        check_coarse(modalities, metres)
    grids = {modality: patch_grid(modality, size, metres, rules) for modality, size in sizes.items()}
    return [_observe(modality, grids[modality], images[modality], data, dtype) for modality in modalities]


def _find(data: Mapping[str, torch.Tensor], overrides: Overrides) -> list[Modality]:
    """The modalities of a dictionary, every key of which must have a meaning."""
    known = overrides.names() | set(MODALITIES)
    names = [key for key in data if key in known]
    extras = {name + suffix for name in names for suffix in (DATES, MASK)}
    unknown = [key for key in data if key not in names and key not in extras]
    undated = [name for name in names if name + MASK in data and name + DATES not in data]
    if unknown or not names or undated:
        fault = f"unknown keys {', '.join(map(repr, unknown))}" if unknown else "no image in it"
        if undated and not unknown:
            fault = f"{undated[0] + MASK!r} without {undated[0] + DATES!r}: a mask is for the frames of a series"
        msg = (
            f"data may hold sensors of the table ({', '.join(MODALITIES)}) or such as `wavelengths` and `input_res` "
            f"describe, '<modality>{DATES}' and, for a series, '<modality>{MASK}'; got {fault}. Remove or rename what "
            "is no input."
        )
        raise ValueError(msg)
    check_tensors(data)
    return [overrides.modality(name) for name in names]


def _as_series(modality: Modality, data: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Check an image and give it a time axis: with dates it is a series, without an image."""
    name = modality.name
    image, dated = data[name], name + DATES in data
    if dated and image.ndim == 4:
        msg = (
            f"{name!r} {tuple(image.shape)} has dates but no axis of frames. Give it as (B, T, C, H, W), or leave out "
            f"{name + DATES!r}: the date of a single image has no effect."
        )
        raise ValueError(msg)
    if not dated and image.ndim == 5:
        if image.shape[1] != 1:
            read_dates(name, data)  # says that they are missing
        check_image(name, image, modality.bands, series=True)
        return image
    check_image(name, image, modality.bands, series=dated)
    return image if dated else image[:, None]


def _observe(
    modality: Modality, grid: PatchGrid, image: torch.Tensor, data: Mapping[str, torch.Tensor], dtype: torch.dtype
) -> Observation:
    edge = grid.side * grid.patch_pixels
    pixels = image[..., :edge, :edge].to(dtype)
    if modality.name + DATES not in data:
        return Observation(modality, grid, pixels, torch.zeros(pixels.shape[:2], device=pixels.device))
    dates, frames = read_dates(modality.name, data), _read_mask(modality.name, image, data)
    if frames is not None:
        # A frame that does not count may hold anything, NaN as well.
        pixels = pixels.masked_fill(~frames[:, :, None, None, None], 0.0)
        dates = dates.masked_fill(~frames.to(dates.device), 0)
    return Observation(modality, grid, pixels, dates, frames)


def _read_mask(name: str, image: torch.Tensor, data: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
    if name + MASK not in data:
        return None
    mask = data[name + MASK].to(image.device, torch.bool)
    if mask.shape != image.shape[:2]:
        msg = (
            f"{name + MASK!r} must have shape (B, T) = {tuple(image.shape[:2])}, true for frames that count; got "
            f"{tuple(mask.shape)}."
        )
        raise ValueError(msg)
    return mask


def checked(observations: Sequence[Observation], metres: float, rules: Rules) -> list[Observation]:
    """Refuse values that would spoil the result in silence, and drop a mask of frames that leaves none out.

    Parameters
    ----------
    observations : sequence of Observation
        What `match` found.
    metres : float
        Side of a patch.
    rules : Rules
        Which days are valid.

    Raises
    ------
    ValueError
        For NaN or infinity, a sample without a frame that counts, a fraction of a day, or a day out of range.

    Warns
    -----
    UserWarning
        Unless rules are the published ones: for pixels that are no standard scores, patches that are not as large as
        stated, and pixels that are left out.
    """
    found = [_checked(observation, rules) for observation in observations]
    if rules.pixel_count == "nearest":
        for observation in found:
            _warn(observation, metres)
    return found


def _checked(observation: Observation, rules: Rules) -> Observation:
    name, frames, dates = observation.modality.name, observation.valid_frames, observation.dates
    if frames is not None:
        check_frames(name, frames)
        observation = replace(observation, valid_frames=None if bool(frames.all()) else frames)
    check_finite(name, observation.pixels, series=observation.pixels.shape[1] > 1)
    wider = (
        f" Days up to {LAST_TABLE_DAY} are allowed by last_day={LAST_TABLE_DAY}; beyond them there are none."
        if rules.last_day < LAST_TABLE_DAY
        else ""
    )
    check_days(name, dates, 0, rules.last_day, f"Convert the dates.{wider}")
    if bool((dates != dates.trunc()).any()):
        msg = (
            f"{name + DATES!r} must hold whole days, got fractions such as "
            f"{float(dates[dates != dates.trunc()][0]):g}, which the published encoder truncates. Round them."
        )
        raise ValueError(msg)
    return observation


def _warn(observation: Observation, metres: float) -> None:
    """Say what the encoder would make of odd input without a word."""
    modality, grid = observation.modality, observation.grid
    real = grid.patch_pixels * modality.pixel_metres
    if not modality.is_context and abs(real - metres) > 1e-3 * metres:
        _say(
            f"Patches of {modality.name!r} are {real:g} m (its pixels have {modality.pixel_metres:g} m), not the "
            f"stated {metres:g} m; they are resampled to the tile's patch grid."
        )
    rest = grid.patch_pixels - grid.subpatches * grid.pixels
    if rest:
        _say(
            f"Sub-patches of {grid.pixels} px leave {rest} of the {grid.patch_pixels} rows and columns of every patch "
            f"of {modality.name!r} unread, as in the pre-training."
        )
    size = float(observation.pixels.abs().mean())
    if modality.standardised and size > STRANGE_SIZE:
        _say(
            f"Values of {modality.name!r} are {size:.3g} on average, but UniverSat takes standard scores, (x - mean) / "
            "std with the statistics of the data set. Raw numbers give finite features that mean nothing."
        )


def _say(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=5)
