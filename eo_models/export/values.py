"""The values of images on their way to an encoder, as a part of a graph: what `eo_data.preprocess` does with numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from eo_data.preprocess.normalisation import (
    MIN_STD,
    Identity,
    Log1pPercentile,
    Normaliser,
    PerTileZScore,
    UnitScale,
    ZScore,
)
from eo_data.preprocess.steps import PixelSteps
from eo_data.sensors.units import InputUnit, UnitConversion

#: Takes values without missing ones ``(B, T, C, H, W)`` and what is observed of them; returns normalised ones.
Normalise = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class PreparedValues(nn.Module):
    """Numbers as a deployed file takes them to an encoder's input.

    Parameters
    ----------
    stored : UnitConversion
        What the numbers are.
    unit : InputUnit
        What the steps take.
    steps : PixelSteps
        Of the preprocessing.

    Raises
    ------
    ValueError
        For a normalisation or a conversion that no graph does.
    """

    def __init__(self, stored: UnitConversion, unit: InputUnit, steps: PixelSteps) -> None:
        super().__init__()
        self._stored, self._unit, self._steps = stored, unit, steps
        self._convert = _conversion(stored, unit)
        self._normalise = _normalise(steps.normaliser)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return float32 without NaN, with one band more where there is a ratio.

        Parameters
        ----------
        pixels : Tensor
            ``(B, C, H, W)`` or ``(B, T, C, H, W)``, float32; NaN and infinity are missing.
        """
        values = pixels if pixels.ndim == 5 else pixels[:, None]
        values = self._convert(values)
        if self._steps.zero_missing:
            values = _where_finite(values, 0.0)
        if self._steps.ratio is not None:
            first, second = (values[:, :, band, None] for band in self._steps.ratio)
            values = torch.cat([values, first / (second + 1e-10)], dim=2)
        observed = torch.isfinite(values)
        values = torch.where(observed, values, 0.0)
        if self._steps.clip is not None:
            values = values.clamp(*self._steps.clip)
        values = torch.where(observed, self._normalise(values, observed), 0.0)
        return values if pixels.ndim == 5 else values[:, 0]


def _where_finite(values: torch.Tensor, other: float) -> torch.Tensor:
    return torch.where(torch.isfinite(values), values, other)


def _conversion(stored: UnitConversion, unit: InputUnit) -> Callable[[torch.Tensor], torch.Tensor]:
    if stored.formula is not None:
        msg = f"The formula {stored.formula} is not a part of deployed files. Take dB or linear power."
        raise ValueError(msg)
    if stored.unit is unit:
        return lambda values: values
    if stored.unit is InputUnit.DIGITAL_NUMBER:
        return lambda values: (values + stored.offset) * stored.scale
    if (stored.unit, unit) == (InputUnit.LINEAR_POWER, InputUnit.DECIBEL):
        return lambda values: 10 * torch.log10(torch.where(values > 0, values, torch.nan))
    if (stored.unit, unit) == (InputUnit.DECIBEL, InputUnit.LINEAR_POWER):
        return lambda values: torch.pow(10.0, values / 10)
    msg = f"{stored.unit} cannot become {unit} in a graph."
    raise ValueError(msg)


def _normalise(normaliser: Normaliser) -> Normalise:
    """Return the same transform of tensors."""
    for kind, make in _TRANSFORMS.items():
        if isinstance(normaliser, kind):
            made: Normalise = make(normaliser)
            return made
    known = ", ".join(kind.name for kind in _TRANSFORMS)
    msg = f"The normalisation {normaliser.name} is not a part of deployed files. Valid: {known}; or normalised input."
    raise ValueError(msg)


def _zscore(given: ZScore) -> Normalise:
    mean = torch.tensor(given.mean, dtype=torch.float32)[:, None, None]
    std = torch.tensor(given.std, dtype=torch.float32).clamp(min=MIN_STD)[:, None, None]

    def apply(values: torch.Tensor, _observed: torch.Tensor) -> torch.Tensor:
        limited = values if given.clip is None else values.clamp(*given.clip)
        return (limited - mean) / std

    return apply


def _unit_scale(_given: UnitScale) -> Normalise:
    return lambda values, _: values.clamp(0, 1)


def _identity(given: Identity) -> Normalise:
    return lambda values, _: values if given.clip is None else values.clamp(*given.clip)


def _log1p(given: Log1pPercentile) -> Normalise:
    def apply(values: torch.Tensor, _observed: torch.Tensor) -> torch.Tensor:
        logarithm = torch.log1p(values.clamp(min=0))
        of_frames = logarithm.flatten(2)
        count = int(of_frames.shape[-1])
        position = given.q / 100 * (count - 1)
        lower = int(position)
        # The percentile lies between two of the largest values; ONNX sorts by TopK.
        largest = torch.topk(of_frames, count - lower, dim=-1).values
        low, high = largest[..., -1], largest[..., -2 if count - lower > 1 else -1]
        top = low + (high - low) * (position - lower)
        top = torch.where(top > 0, top, 1.0)
        return (logarithm / top[..., None, None, None]).clamp(0, 1)

    return apply


def _per_tile(_given: PerTileZScore) -> Normalise:
    def apply(values: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
        axes = (1, 3, 4)
        weight = observed.to(values.dtype)
        count = weight.sum(axes, keepdim=True).clamp(min=1)
        mean = (values * weight).sum(axes, keepdim=True) / count
        centred = (values - mean) * weight
        std = torch.sqrt((centred * centred).sum(axes, keepdim=True) / count)
        highest = torch.where(observed, values, -torch.inf).amax(axes, keepdim=True)
        lowest = torch.where(observed, values, torch.inf).amin(axes, keepdim=True)
        # Of a constant band, what is left after the mean is rounding.
        return torch.where(highest > lowest, centred / std.clamp(min=MIN_STD), 0.0)

    return apply


_TRANSFORMS: Mapping[type[Normaliser], Callable[..., Normalise]] = {
    ZScore: _zscore,
    UnitScale: _unit_scale,
    Identity: _identity,
    Log1pPercentile: _log1p,
    PerTileZScore: _per_tile,
}
