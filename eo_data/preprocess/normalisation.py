"""Normalisation of pixel values: small named transforms that carry their statistics and say where they come from.

A transform takes an array whose last three axes are (C, H, W), in the unit that it expects, and returns float32. NaN
(missing) stays NaN through all of them; `fill_missing` comes afterwards, so that a missing pixel gets the value that
stands for "nothing" in the normalised range.

rs-embed fills *before* it normalises: there a missing Sentinel-2 pixel is reflectance 0, normalised ``-mean / std``.
For the same numbers call ``fill_missing`` first.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

import numpy as np

from eo_core.text import did_you_mean
from eo_data.sensors.units import all_finite, as_float32

#: Standard deviations are taken to be at least this.
MIN_STD = 1e-6


class Normaliser(Protocol):
    """A named transform of pixel values."""

    name: ClassVar[str]

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return float32 of the same shape ``(..., C, H, W)``."""

    def describe(self) -> dict[str, Any]:
        """Name, statistics and provenance, as plain values for a manifest."""


@dataclass(frozen=True)
class ZScore:
    """``(x - mean) / std`` per band, with given statistics.

    With ``clip=(0, 1)``, reflectance is limited as rs-embed limits digital numbers to 0..10000 before it divides by
    10000.

    Parameters
    ----------
    mean, std : sequence of float
        One per band, in the unit of the pixels. A standard deviation below 1e-6 counts as 1e-6.
    clip : pair of float, optional
        Range to which values are limited before.
    provenance : str
        Where the statistics come from.

    Raises
    ------
    ValueError
        If the statistics are of different lengths, not finite or negative, or the range is empty; when called, if
        the image has another number of bands.
    """

    mean: Sequence[float]
    std: Sequence[float]
    clip: tuple[float, float] | None = None
    provenance: str = "given"
    name: ClassVar[str] = "zscore"

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(float(value) for value in self.mean))
        object.__setattr__(self, "std", tuple(float(value) for value in self.std))
        object.__setattr__(self, "clip", _as_range(self.clip))
        sound = all(map(math.isfinite, (*self.mean, *self.std))) and min(self.std, default=-1) >= 0
        if len(self.mean) != len(self.std) or not sound:
            msg = (
                "mean and std must be lists of finite numbers, one per band, and std at least 0, got "
                f"{list(self.mean)} and {list(self.std)}."
            )
            raise ValueError(msg)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Normalise ``(..., C, H, W)``; float32."""
        values = _image(pixels)
        if values.shape[-3] != len(self.mean):
            msg = (
                f"Expected {len(self.mean)} bands, as many as there are statistics, got an array of shape "
                f"{values.shape} (..., C, H, W). Give one mean and one std per selected band."
            )
            raise ValueError(msg)
        # Band by band, so that a band stays in the processor's cache through all steps.
        for i, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
            band = values[..., i, :, :]
            if self.clip is not None:
                np.clip(band, *self.clip, out=band)
            band -= np.float32(mean)
            band /= np.maximum(np.float32(std), np.float32(MIN_STD))
        return values

    def describe(self) -> dict[str, Any]:
        """Name, statistics and provenance."""
        return _described(self)


@dataclass(frozen=True)
class Log1pPercentile:
    """rs-embed's rule for Sentinel-1 in linear power: logarithm, scaled by a high percentile, 0..1.

    ``y = ln(1 + max(x, 0))``, divided by its q-th percentile (linear interpolation) over all bands and pixels of the
    image together, or by 1 if that is not positive, and limited to 0..1. Missing values count as 0 in the percentile,
    as they do there.

    Parameters
    ----------
    q : float
        Percentile.

    Raises
    ------
    ValueError
        If ``q`` is not in 0..100; when called, if most values that are not 0 are negative, as in dB.
    """

    q: float = 99.0
    name: ClassVar[str] = "log1p_p99"

    def __post_init__(self) -> None:
        if not 0 <= self.q <= 100:
            msg = f"q must be a percentile in 0..100, got {self.q!r}."
            raise ValueError(msg)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Normalise ``(..., C, H, W)``, every image for itself; float32 in 0..1."""
        values = _image(pixels)
        counted = values[np.isfinite(values) & (values != 0)]
        if counted.size and np.count_nonzero(counted < 0) > 0.5 * counted.size:
            share = np.count_nonzero(counted < 0) / counted.size
            msg = (
                f"{share:.0%} of the values are negative, which linear power never is: they look like dB. Convert "
                "them to the unit linear_power first, or normalise dB with the zscore."
            )
            raise ValueError(msg)
        logarithm = np.log1p(np.maximum(values, 0))
        top = np.percentile(np.nan_to_num(logarithm, nan=0.0), self.q, axis=(-3, -2, -1), keepdims=True)
        return np.clip(logarithm / np.where(top > 0, top, 1).astype(np.float32), 0, 1)

    def describe(self) -> dict[str, Any]:
        """Name and percentile."""
        return _described(self) | {"provenance": "rs-embed; percentile of each image"}


@dataclass(frozen=True)
class UnitScale:
    """Limit reflectance to 0..1 (rs-embed: digital numbers / 10000, limited to 0..1)."""

    name: ClassVar[str] = "unit_scale"

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Limit ``(..., C, H, W)``; float32 in 0..1."""
        return np.clip(_image(pixels), 0, 1)

    def describe(self) -> dict[str, Any]:
        """Name."""
        return _described(self)


@dataclass(frozen=True)
class Identity:
    """Leave values as they are, in the unit in which they come.

    rs-embed's ``raw`` for Sentinel-2 are digital numbers: convert to `InputUnit.DIGITAL_NUMBER` and give
    ``clip=(0, 10000)``.

    Parameters
    ----------
    clip : pair of float, optional
        Range to which values are limited.

    Raises
    ------
    ValueError
        If the range is empty.
    """

    clip: tuple[float, float] | None = None
    name: ClassVar[str] = "none"

    def __post_init__(self) -> None:
        object.__setattr__(self, "clip", _as_range(self.clip))

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return ``(..., C, H, W)`` as float32."""
        values = _image(pixels)
        return values if self.clip is None else np.clip(values, *self.clip)

    def describe(self) -> dict[str, Any]:
        """Name and range."""
        return _described(self)


@dataclass(frozen=True)
class PerTileZScore:
    """Per band, zero mean and unit deviation over the frames and pixels of one tile (a rule of rs-embed).

    Mean and population standard deviation over the observed values, in float64; the deviation is at least 1e-6. A
    constant band becomes 0. The result does not depend on the unit's scale.

    Raises
    ------
    ValueError
        When called with anything but one image or one series.
    """

    name: ClassVar[str] = "per_tile_zscore"

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Normalise one image ``(C, H, W)`` or series ``(T, C, H, W)``; float32."""
        values = _image(pixels)
        if values.ndim > 4:
            msg = (
                f"{self.name} takes one image (C, H, W) or one series (T, C, H, W), got shape {values.shape}. "
                "Normalise the samples of a batch one by one."
            )
            raise ValueError(msg)
        bands = values[None] if values.ndim == 3 else values
        for band in range(bands.shape[1]):
            one = bands[:, band]
            seen = one[~np.isnan(one)].astype(np.float64)
            if not seen.size or seen.min() == seen.max():
                one -= seen[0] if seen.size else 0
            else:
                one[...] = (one - seen.mean()) / max(seen.std(), MIN_STD)
        return values

    def describe(self) -> dict[str, Any]:
        """Name and source of the statistics."""
        return _described(self) | {"provenance": "the tile itself"}


def _image(pixels: np.ndarray) -> np.ndarray:
    """Return a float32 copy with NaN where a value is missing or infinite, if there are a band and two image axes."""
    if np.ndim(pixels) < 3:
        msg = f"Expected an array of shape (..., C, H, W), got {np.shape(pixels)}. Give bands an axis of their own."
        raise ValueError(msg)
    return as_float32(pixels)


def _as_range(clip: Sequence[float] | None) -> tuple[float, float] | None:
    if clip is None:
        return None
    ends = tuple(float(value) for value in clip)
    if len(ends) != 2 or not ends[0] < ends[1]:
        msg = f"clip must be two numbers, the lower first, such as (0, 1), got {clip!r}."
        raise ValueError(msg)
    return ends[0], ends[1]


def _described(transform: Any) -> dict[str, Any]:  # noqa: ANN401  (any dataclass of this module)
    values = {field.name: getattr(transform, field.name) for field in fields(transform)}
    return {"name": transform.name} | {
        key: list(value) if isinstance(value, tuple) else value for key, value in values.items()
    }


def fill_missing(pixels: np.ndarray, value: float = 0.0) -> np.ndarray:
    """Return float32 with a number in place of NaN and infinity; the array itself if there is nothing to replace.

    Raises
    ------
    ValueError
        If the value is not finite.
    """
    if not math.isfinite(value):
        msg = f"Missing values must be filled with a finite number such as 0.0, got {value!r}."
        raise ValueError(msg)
    values = np.asarray(pixels, dtype=np.float32)
    if all_finite(values):
        return values
    return np.where(np.isfinite(values), values, np.float32(value))


@dataclass(frozen=True)
class Dialect:
    """Names of normalisations: the same name means other things for other encoders.

    An encoder's package has dialects of its own, made of the parts below.

    Parameters
    ----------
    name : str
        Of the dialect, for messages.
    transforms : mapping of str to callable
        What makes the transform of each name; names in lower case.
    """

    name: str
    transforms: Mapping[str, Callable[..., Normaliser]]


def named(make: Callable[..., Normaliser], *names: str) -> Mapping[str, Callable[..., Normaliser]]:
    """Return several names of one transform."""
    return MappingProxyType(dict.fromkeys(names, make))


UNIT_SCALE_NAMES = named(UnitScale, "unit_scale", "unit", "reflectance")
IDENTITY_NAMES = named(Identity, "none", "raw", "off")
LOGARITHM_NAMES = named(Log1pPercentile, "log1p_p99", "log1p", "s1_log_normalize", "log_normalize")
TILE_NAMES = named(PerTileZScore, "per_tile_zscore", "tile_zscore")

#: The names of this project, where no encoder says otherwise.
OWN = Dialect(
    "own",
    MappingProxyType(
        {**named(ZScore, "zscore"), **LOGARITHM_NAMES, **UNIT_SCALE_NAMES, **IDENTITY_NAMES, **TILE_NAMES}
    ),
)


def normaliser(name: str, dialect: Dialect = OWN, **arguments: Any) -> Normaliser:  # noqa: ANN401
    """Return the transform of that name.

    The names of `OWN`:

    ======================================================== ============================================
    ``zscore``                                               `ZScore` with given statistics
    ``log1p_p99``, ``log1p``, ``s1_log_normalize``,          `Log1pPercentile`
    ``log_normalize``
    ``per_tile_zscore``, ``tile_zscore``                     `PerTileZScore`
    ``unit_scale``, ``unit``, ``reflectance``                `UnitScale`
    ``none``, ``raw``, ``off``                               `Identity`
    ======================================================== ============================================

    Parameters
    ----------
    name : str
        Without regard to case.
    dialect : Dialect
        Whose names.
    **arguments
        Of the transform, such as ``mean`` and ``std`` of a `ZScore`.

    Raises
    ------
    ValueError
        For an unknown name, an argument that the transform does not have, or missing statistics.
    """
    names = dialect.transforms
    make = names.get(str(name).strip().lower())
    if make is None:
        hint = did_you_mean(str(name), names)
        msg = f"Unknown normalisation {name!r} ({dialect.name}).{hint} Valid: {', '.join(names)}."
        raise ValueError(msg)
    valid = _arguments_of(make)
    unknown = [argument for argument in arguments if argument not in valid]
    if unknown:
        msg = f"Normalisation {name!r} has no argument {unknown[0]!r}. Valid: {', '.join(valid) or 'none'}."
        raise ValueError(msg)
    if "mean" in valid and not {"mean", "std"} <= arguments.keys():
        without = [other for other, made in names.items() if "mean" not in _arguments_of(made)]
        msg = (
            f"Normalisation {name!r} ({dialect.name}) needs the arguments mean and std, one number per band each; "
            f"compute them with `python -m eo_data.statistics`. Without statistics: {', '.join(without)}."
        )
        raise ValueError(msg)
    return make(**arguments)


def _arguments_of(make: Callable[..., Normaliser]) -> list[str]:
    return list(inspect.signature(make).parameters)
