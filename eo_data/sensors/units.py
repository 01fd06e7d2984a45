"""Units of pixel values: what the numbers in a file are, and their conversion to physical units.

Conversion is explicit and happens once. A declared unit that the values contradict is refused: the mix-up of digital
numbers with reflectance, or of linear power with dB, is the dominant silent error of users.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np


class InputUnit(enum.StrEnum):
    """What the numbers are.

    ``digital_number``: as stored, with a scale and an offset. ``reflectance``: fraction, 0..1 (snow and clouds
    exceed 1 a bit). ``linear_power``: radar backscatter as a ratio. ``decibel``: 10 log10 of it. ``kelvin``:
    brightness temperature. ``native``: anything else, never converted (8-bit aerial images, elevation).
    """

    DIGITAL_NUMBER = "digital_number"
    REFLECTANCE = "reflectance"
    LINEAR_POWER = "linear_power"
    DECIBEL = "decibel"
    KELVIN = "kelvin"
    NATIVE = "native"


#: Units with a physical meaning, to which digital numbers are scaled.
_PHYSICAL = (InputUnit.REFLECTANCE, InputUnit.LINEAR_POWER, InputUnit.DECIBEL, InputUnit.KELVIN)

#: The unit of a band (`eo_data.sensors.tables.Band.unit`) as an `InputUnit`.
PHYSICAL_UNITS: Mapping[str, InputUnit] = MappingProxyType(
    {"reflectance": InputUnit.REFLECTANCE, "dB": InputUnit.DECIBEL, "K": InputUnit.KELVIN}
)


def _decibel(power: np.ndarray) -> np.ndarray:
    return np.float32(10) * np.log10(np.where(power > 0, power, np.float32(np.nan)))


def _worldcereal_s1(numbers: np.ndarray) -> np.ndarray:
    """Sentinel-1 of WorldCereal and of the ALOS mosaics: dB = 20 log10(number) - 83, where the number is positive."""
    return 2 * _decibel(numbers) - np.float32(83)


@dataclass(frozen=True)
class _Formula:
    function: Callable[[np.ndarray], np.ndarray]
    unit: InputUnit


#: Named conversions from digital numbers that are not linear, with the unit of their result.
_FORMULAS: Mapping[str, _Formula] = MappingProxyType({"worldcereal_s1": _Formula(_worldcereal_s1, InputUnit.DECIBEL)})


@dataclass(frozen=True)
class UnitConversion:
    """The unit of stored values, and what turns digital numbers into a physical unit.

    Examples: Sentinel-2 of baseline 04.00 and later has ``offset=-1000``. Landsat collection 2 surface reflectance,
    ``number * 2.75e-5 - 0.2``, is ``scale=2.75e-5, offset=-0.2 / 2.75e-5``.

    Parameters
    ----------
    unit : InputUnit or str
        Of the stored values.
    scale : float
        Physical value of one digital number.
    offset : float
        Added to the digital number before it is scaled.
    formula : str, optional
        ``worldcereal_s1`` instead of scale and offset: dB = 20 log10(number) - 83.

    Raises
    ------
    ValueError
        For an unknown unit or formula, a formula for anything but digital numbers, or a senseless scale or offset.
    """

    unit: InputUnit
    scale: float = 1e-4
    offset: float = 0.0
    formula: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "unit", as_unit(self.unit))
        if not (math.isfinite(self.scale) and self.scale != 0 and math.isfinite(self.offset)):
            msg = f"scale must be a finite number other than 0 and offset finite, got {self.scale!r}, {self.offset!r}."
            raise ValueError(msg)
        if self.formula is not None and self.formula not in _FORMULAS:
            msg = f"Unknown formula {self.formula!r}. Valid: {', '.join(_FORMULAS)}, or none for scale and offset."
            raise ValueError(msg)
        if self.formula is not None and self.unit is not InputUnit.DIGITAL_NUMBER:
            msg = f"Formula {self.formula!r} is for the unit digital_number, got {self.unit}. Leave one of them out."
            raise ValueError(msg)


def as_unit(value: object) -> InputUnit:
    """Return the unit of that name.

    Raises
    ------
    ValueError
        If there is none; the message lists the valid ones.
    """
    if isinstance(value, str) and value.lower() in list(InputUnit):
        return InputUnit(value.lower())
    msg = f"Unknown unit {value!r}. Valid: {', '.join(InputUnit)}."
    raise ValueError(msg)


def all_finite(values: np.ndarray) -> bool:
    """Return whether no value is NaN or infinite."""
    if values.dtype.kind != "f" or not values.size:
        return bool(np.isfinite(values).all())
    with np.errstate(invalid="ignore"):
        # NaN goes through both, and neither needs an array beside the plane.
        return all(np.isfinite([plane.min(), plane.max()]).all() for plane in _planes(values))


def as_float32(pixels: np.ndarray, *, copy: bool = True) -> np.ndarray:
    """Return an array of any shape as float32, with NaN where a value is not finite.

    A copy, unless ``copy`` is false and the array is float32 already; then its infinite values become NaN in place.
    """
    with np.errstate(over="ignore"):  # no-data such as -1.8e308 becomes infinite, and then missing
        values = np.array(pixels, dtype=np.float32, copy=copy or None)
    if np.asarray(pixels).dtype.kind == "f":
        for plane in _planes(values):
            # These two pass over NaN.
            if plane.size and np.isinf([np.fmin.reduce(plane, axis=None), np.fmax.reduce(plane, axis=None)]).any():
                plane[np.isinf(plane)] = np.nan
    return values


def _planes(values: np.ndarray) -> Iterator[np.ndarray]:
    """Views of the last two axes: small enough for the processor's cache."""
    if values.ndim < 3:
        yield values
    else:
        for part in values:
            yield from _planes(part)


def to_physical(pixels: np.ndarray, conversion: UnitConversion, target: InputUnit, *, copy: bool = True) -> np.ndarray:
    """Convert stored values to another unit.

    Digital numbers become ``(number + offset) * scale``, or what the formula says. As a *target*, digital numbers
    are ``reflectance / scale``: free of the offset, as in Earth Engine's ``*_HARMONIZED`` collections.

    Parameters
    ----------
    pixels : ndarray
        Any shape and numeric dtype.
    conversion : UnitConversion
        What the values are.
    target : InputUnit
        What the values are converted to.
    copy : bool
        Leave ``pixels`` alone. If false, a float32 array is converted in place.

    Returns
    -------
    ndarray
        float32 of the same shape. NaN stays, infinity becomes NaN, and so does the dB value of a power that is not
        positive.

    Raises
    ------
    ValueError
        If the units cannot be converted into each other.
    """
    goal = as_unit(target)
    unit, formula = conversion.unit, conversion.formula
    values = as_float32(pixels, copy=copy)
    if formula is not None and goal in _PHYSICAL:
        values, unit = _FORMULAS[formula].function(values), _FORMULAS[formula].unit
    elif unit is InputUnit.DIGITAL_NUMBER and goal in _PHYSICAL:
        if conversion.offset:
            values += conversion.offset
        values *= conversion.scale
        return values
    elif unit is InputUnit.REFLECTANCE and goal is InputUnit.DIGITAL_NUMBER:
        return values / np.float32(conversion.scale)
    elif unit is goal is InputUnit.DIGITAL_NUMBER and formula is None:
        return values + np.float32(conversion.offset)
    if goal in (unit, InputUnit.NATIVE):
        return values
    if (unit, goal) == (InputUnit.LINEAR_POWER, InputUnit.DECIBEL):
        return _decibel(values)
    if (unit, goal) == (InputUnit.DECIBEL, InputUnit.LINEAR_POWER):
        return np.power(np.float32(10), values / np.float32(10))
    msg = (
        f"Values in {unit} cannot be converted to {goal}. Possible: digital_number to any unit, reflectance to "
        "digital_number, linear_power to decibel and back, anything to native (unchanged). Declare the unit of the "
        "file, or ask for another target."
    )
    raise ValueError(msg)


def check_range(pixels: np.ndarray, unit: InputUnit, source: str) -> None:
    """Refuse values that contradict the declared unit.

    Judged by percentiles of the values that are neither missing nor 0, so that single bright pixels do not count. A
    large array is sampled on a regular grid. ``native`` values are not judged.

    Parameters
    ----------
    pixels : ndarray
        Values as stored, last two axes (H, W).
    unit : InputUnit
        Declared unit.
    source : str
        File or band, for the message.

    Raises
    ------
    ValueError
        If the values look like another unit; the message says which and what to declare.
    """
    declared = as_unit(unit)
    sample = _sampled(pixels)
    if declared is InputUnit.NATIVE or not sample.size:
        return
    low, middle, high = (float(value) for value in np.percentile(sample, (1, 50, 99)))
    fractional = bool((sample != np.round(sample)).any())
    looks = _contradiction(declared, low, middle, high, fractional)
    if looks:
        msg = (
            f"{source} is declared as {declared}, but its values look like {looks} (1st, 50th and 99th percentile: "
            f"{low:.4g}, {middle:.4g}, {high:.4g}). Declare the unit that they have; valid: {', '.join(InputUnit)}."
        )
        raise ValueError(msg)


def _sampled(pixels: np.ndarray, count: int = 16384) -> np.ndarray:
    array = np.asarray(pixels)
    step = max(1, math.isqrt(array.size // count))
    values = array[..., ::step, ::step].astype(np.float64).ravel()
    return values[np.isfinite(values) & (values != 0)]


def _contradiction(unit: InputUnit, low: float, middle: float, high: float, fractional: bool) -> str | None:  # noqa: FBT001
    """Say what values look like if not like their unit.

    Bounds: reflectance of clouds reaches 2.5, backscatter ranges over -50..30 dB with most land below 0 dB, and the
    Earth radiates at 150..400 K.
    """
    rules: Mapping[InputUnit, Sequence[tuple[bool, str]]] = {
        InputUnit.REFLECTANCE: [
            (high > 10, "digital_number (reflectance is a fraction; the usual scale is 0.0001)"),
            (middle < -1, "decibel or normalised values"),
        ],
        InputUnit.DIGITAL_NUMBER: [(fractional and low >= -0.5 and high <= 3, "reflectance or linear_power")],
        InputUnit.DECIBEL: [
            (low >= 0 and middle < 1, "linear_power"),
            (low >= 0 and middle > 50, "digital_number"),
        ],
        InputUnit.LINEAR_POWER: [(middle < 0, "decibel"), (middle > 50, "digital_number")],
        InputUnit.KELVIN: [(not 150 <= middle <= 400, "degrees Celsius or digital_number")],
    }
    return next((looks for wrong, looks in rules[unit] if wrong), None)


def toa_reflectance(
    radiance: np.ndarray, solar_flux: Sequence[float] | np.ndarray, cos_sza: np.ndarray | float
) -> np.ndarray:
    """Top-of-atmosphere reflectance ``pi L / (F0 cos(SZA))`` of Sentinel-3 radiance.

    Parameters
    ----------
    radiance : ndarray
        L in mW m-2 sr-1 nm-1, ``(..., C, H, W)``.
    solar_flux : sequence of float or ndarray
        F0 per band in mW m-2 nm-1, see `SOLAR_FLUX`; or of every pixel, ``(C, H, W)``, NaN where it is not known.
    cos_sza : ndarray or float
        Cosine of the sun's zenith angle, one number or ``(H, W)``; taken as 0.01 where it is less.

    Returns
    -------
    ndarray
        float32, clipped to 0..2; NaN stays.

    Raises
    ------
    ValueError
        If there is not one positive flux per band.
    """
    values = as_float32(radiance)
    flux = np.asarray(solar_flux, dtype=np.float32)
    fits = values.ndim >= 3 and flux.shape in (values.shape[-3:-2], values.shape[-3:])
    if not fits or (flux <= 0).any() or (flux.ndim == 1 and np.isnan(flux).any()):
        shown = flux.tolist() if flux.ndim < 2 else f"fluxes {flux.shape}"
        msg = (
            f"Expected radiance (..., C, H, W) and one positive solar flux per band, got shape {values.shape} and "
            f"{shown}. Take the fluxes from eo_data.sensors.tables.SOLAR_FLUX by band name."
        )
        raise ValueError(msg)
    cosine = np.clip(np.asarray(cos_sza, dtype=np.float32), 0.01, 1)
    of_pixels = flux[:, None, None] if flux.ndim == 1 else flux
    return np.clip(np.float32(np.pi) * values / (of_pixels * cosine), 0, 2)
