"""Values that cannot be measurements: numbers for no data that the file does not declare.

`eo_data.sensors.units.check_range` judges percentiles, because a declared unit is wrong for all pixels; here a single
value counts, because sixteen pixels of -9999 shift the mean of a chip.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from eo_core.text import percent
from eo_data.sensors.units import InputUnit

#: Beyond this are 1e20, the fill value of NetCDF (9.97e36), and the lowest and highest of float32 and float64.
_HUGE = 1e19

#: What a value of a unit can be; of native ones only that it is a number and no fill value.
#: Reflectance: atmospheric correction goes down to -0.2 (the lowest number of Landsat Collection 2), and glint under a
#: low sun exceeds 2 by far. Decibel: amplitudes of Sentinel-1 are whole numbers, of which 1 means some -55 dB, and the
#: subtraction of noise leaves a few values close to a power of 0 (-150 dB is 1e-15); 60 dB exceeds any target. Linear
#: power: noise that is subtracted is less than 0.1. Kelvin: the coldest cloud that was ever measured had 162 K (Proud
#: and Bachmeier 2021, doi 10.1029/2020GL091425), and channels for fires saturate below 1000 K.
POSSIBLE: Mapping[InputUnit, tuple[float, float]] = MappingProxyType(
    {
        InputUnit.REFLECTANCE: (-0.5, 10.0),
        InputUnit.DECIBEL: (-150.0, 60.0),
        InputUnit.LINEAR_POWER: (-1.0, 1e6),
        InputUnit.KELVIN: (150.0, 1000.0),
        InputUnit.NATIVE: (-_HUGE, _HUGE),
    }
)

#: Possible values that are no measurements if they come exactly: 65535 in units of 1/10000, and -9999 in hundredths of
#: a degree Celsius (HLS). Beyond 3 and below 180 K they are looked for.
_EXACTLY: Mapping[InputUnit, float] = MappingProxyType({InputUnit.REFLECTANCE: 6.5535, InputUnit.KELVIN: 173.16})
#: Below this, one value that repeats is a border (-99 of pyroSAR) or the logarithm of a constant (1e-10).
_FAINT_DECIBEL = -60.0

#: Numbers that stand for no data when nobody declares them.
_USUAL = (-9999.0, -32768.0, -999.0, -99.0, 0.0, 255.0, 32767.0, 65535.0)


def refuse_impossible(
    pixels: np.ndarray, unit: InputUnit, bands: Sequence[str], where: str, stored: np.ndarray | None = None
) -> None:
    """Refuse values that no measurement in a unit can have. Digital numbers are not judged.

    Parameters
    ----------
    pixels : ndarray, (..., C, H, W)
        In the unit; NaN where missing.
    unit : InputUnit
        Physical unit of the pixels.
    bands : sequence of str
        Name of each of the C channels.
    where : str
        Modality and file, for the message.
    stored : ndarray, optional
        The same pixels as the file has them, before scaling, for the message.

    Raises
    ------
    ValueError
        If a single value is impossible. The message names the band, the share of such values, the most frequent one
        and what to state.
    """
    if unit not in POSSIBLE:
        return
    for index, plane in _planes(pixels):
        bad = _impossible(plane, unit)
        if bad is not None:
            numbers = plane if stored is None else stored[index]
            raise ValueError(_message(plane, bad, numbers, unit, bands[index[-1]], where))


def is_possible(extremes: np.ndarray, unit: InputUnit) -> bool:
    """Whether least and largest values are such that `refuse_impossible` would find nothing, whatever lies between.

    Parameters
    ----------
    extremes : ndarray
        In the unit; NaN does not count.
    unit : InputUnit
        Of the values.
    """
    if unit not in POSSIBLE:
        return True
    low, high = POSSIBLE[unit]
    least = max(low, {InputUnit.DECIBEL: _FAINT_DECIBEL, InputUnit.KELVIN: 180.0}.get(unit, low))
    most = min(high, 3.0) if unit is InputUnit.REFLECTANCE else high
    return not ((extremes < least) | (extremes > most)).any()


def zero_is_missing(unit: InputUnit, bands: int) -> bool:
    """Whether backscatter of exactly 0 in all of some bands is no measurement.

    0 dB is none. A power of 0 is what is left where noise was subtracted, in one band; in all of several it is what
    lies beyond the footprint.
    """
    return unit is InputUnit.DECIBEL or (unit is InputUnit.LINEAR_POWER and bands > 1)


def zero_decibels(pixels: np.ndarray) -> np.ndarray:
    """Return where all bands of backscatter ``(..., C, H, W)`` are exactly 0 dB, bool ``(..., H, W)``.

    Exports without a mask leave 0 beyond the footprint; a measurement of exactly 0 dB in all bands does not happen.
    """
    empty = np.asarray(pixels[..., 0, :, :] == 0)
    for band in range(1, pixels.shape[-3]):
        if not empty.any():
            break
        empty &= pixels[..., band, :, :] == 0
    return empty


def _planes(pixels: np.ndarray) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """Yield the (H, W) planes with their index: small enough for the processor's cache."""
    for index in np.ndindex(pixels.shape[:-2]):
        yield index, pixels[index]


def _impossible(plane: np.ndarray, unit: InputUnit) -> np.ndarray | None:
    """Return where a plane cannot be, or ``None`` if it can be everywhere."""
    low, high = POSSIBLE[unit]
    # These two skip NaN and need no array beside the plane; both are NaN where all is missing.
    least, most = np.fmin.reduce(plane, axis=None), np.fmax.reduce(plane, axis=None)
    bad = np.zeros(plane.shape, dtype=bool)
    if least < low or most > high:
        bad |= (plane < low) | (plane > high)
    if unit == InputUnit.DECIBEL and least < _FAINT_DECIBEL:
        faint = plane[plane < _FAINT_DECIBEL]
        values, counts = np.unique(faint, return_counts=True)
        if counts.max() >= max(4, faint.size / 2):
            bad |= plane == values[counts.argmax()]
    if (unit == InputUnit.REFLECTANCE and most > 3) or (unit == InputUnit.KELVIN and least < 180):
        value = _EXACTLY[unit]
        bad |= np.abs(plane - np.float32(value)) <= 1e-6 * value
    return bad if bad.any() else None


def _message(plane: np.ndarray, bad: np.ndarray, numbers: np.ndarray, unit: InputUnit, band: str, where: str) -> str:
    count, valid = int(bad.sum()), int((~np.isnan(plane)).sum())
    values, counts = np.unique(numbers[bad], return_counts=True)
    number, times = values[counts.argmax()], int(counts.max())
    low, high = POSSIBLE[unit]
    found = (
        f"{where}: band {band} has {count} of {valid} values ({percent(count, valid)}) that are no "
        f"{_meaning(unit)}, which lies within {low:g} and {high:g}. The most frequent one is {_shown(number)} as "
        f"stored ({times} times)"
    )
    if number in _USUAL or abs(number) >= _HUGE:
        return (
            f"{found}, a usual number for no data, which the file does not declare as such. State "
            f"nodata: {_shown(number)} in the source, or write the no-data tag into the file."
        )
    if count > 1 and times >= count / 2:
        return (
            f"{found}: likely a number for missing pixels, which the file does not declare as such. Then state "
            f"nodata: {_shown(number)}; else correct unit, scale and offset."
        )
    return (
        f"{found}. Check unit, scale and offset of the source; if the values stand for missing pixels, mask them in "
        "the file."
    )


def _meaning(unit: InputUnit) -> str:
    return "measurement" if unit is InputUnit.NATIVE else str(unit)


def _shown(number: np.number) -> str:
    """Return a number as YAML reads it back: an exponent without a decimal point would be text."""
    if abs(number) < 1e15 and float(number).is_integer():
        return f"{number:.0f}"
    mantissa, *exponent = str(number).split("e")
    return "e".join((mantissa if "." in mantissa else f"{mantissa}.0", *exponent))
