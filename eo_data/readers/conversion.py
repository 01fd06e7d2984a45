"""From stored numbers to physical values, once: unit, scale, and the offset of the product."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.raster.sample import SampleError
from eo_data.readers.formats.file_raster import FileRaster
from eo_data.readers.scaling import BandScaling, band_scalings, refuse_packed
from eo_data.sensors.plausible import is_possible, refuse_impossible, zero_decibels, zero_is_missing
from eo_data.sensors.quality import clear_mask
from eo_data.sensors.scaling import assumed_scale
from eo_data.sensors.sentinel2 import NO_DATA, SATURATED, is_sentinel2, offset_contradiction, special_numbers
from eo_data.sensors.units import (
    PHYSICAL_UNITS,
    InputUnit,
    UnitConversion,
    as_float32,
    check_range,
    to_physical,
)


def target_unit(name: str, source: ImageSource) -> InputUnit:
    """Return the unit of the values that are handed on.

    Parameters
    ----------
    name : str
        Name of the modality, for messages.
    source : ImageSource
        Its ``target_unit`` counts; else the physical unit of its bands in the sensor's table.

    Raises
    ------
    SampleError
        If the bands have several.
    """
    if source.target_unit is not None:
        return InputUnit(source.target_unit)
    unit = InputUnit(source.unit)
    if unit is InputUnit.NATIVE or source.table is None:
        return InputUnit.REFLECTANCE if unit is InputUnit.DIGITAL_NUMBER else unit
    units = {band.unit for band in source.known_bands}
    if len(units) > 1:
        msg = (
            f"{name!r} mixes bands of different units ({', '.join(sorted(units))}). Make them modalities of "
            "their own, or declare unit: native."
        )
        raise SampleError(msg)
    return PHYSICAL_UNITS[units.pop()] if units else unit


def convert_frames(
    name: str, source: ImageSource, pixels: np.ndarray, readings: Sequence[FileRaster], hrefs: Sequence[Href]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Convert stored numbers to physical values; what cannot be a measurement is missing or refused.

    Parameters
    ----------
    name : str
        Name of the modality, for messages.
    source : ImageSource
        Unit, scale, offset, formula.
    pixels : ndarray, (T, C, H, W)
        Stored numbers; bands after those of the source are left out. Changed in place.
    readings, hrefs : sequences
        What was read from which file.

    Returns
    -------
    ndarray, tuple of str
        ``(T, C, H, W)`` in the unit of `target_unit`, and what a user may want to know of it.

    Raises
    ------
    SampleError
        If values contradict their unit, are impossible in it or cannot be converted, or a scale or an offset is not
        known, was forgotten, or contradicts the file or the pixels.
    """
    target = target_unit(name, source)
    wanted = pixels[:, : len(source.bands)]
    try:
        if InputUnit(source.unit) is InputUnit.DIGITAL_NUMBER:
            return _from_numbers(name, source, wanted, readings, hrefs, target)
        return _from_values(name, source, wanted, readings, hrefs, target)
    except SampleError:
        raise
    except ValueError as error:
        raise SampleError(str(error)) from error


def _from_values(
    name: str,
    source: ImageSource,
    pixels: np.ndarray,
    readings: Sequence[FileRaster],
    hrefs: Sequence[Href],
    target: InputUnit,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Convert from one physical unit to another."""
    unit, where = InputUnit(source.unit), f"{name} ({hrefs[0]})"
    for reading in readings:
        refuse_packed(name, source, reading.bands[: len(source.bands)])
    check_range(pixels, unit, where)
    pixels, notes = _without_zeros(as_float32(pixels, copy=False), unit)
    refuse_impossible(pixels, unit, source.bands, where)
    scale = source.scale if source.scale is not None else assumed_scale(source.sensor, _canonical(source, 0))
    if unit is InputUnit.REFLECTANCE and target is InputUnit.DIGITAL_NUMBER and scale is None:
        msg = f"{name!r}: reflectance becomes digital numbers by a scale, which is not stated. State scale."
        raise ValueError(msg)
    return to_physical(pixels, UnitConversion(unit, scale or 1.0), target, copy=False), notes


def _from_numbers(
    name: str,
    source: ImageSource,
    pixels: np.ndarray,
    readings: Sequence[FileRaster],
    hrefs: Sequence[Href],
    target: InputUnit,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Convert digital numbers: by one scale and offset for all frames, or by those of each frame."""
    where = f"{name} ({hrefs[0]})"
    check_range(pixels, InputUnit.DIGITAL_NUMBER, where)
    if source.formula is not None or target is InputUnit.NATIVE:
        conversion = UnitConversion(InputUnit.DIGITAL_NUMBER, 1.0, 0.0, source.formula)
        return to_physical(pixels, conversion, target, copy=False), ()
    count = len(source.bands)
    scalings = [band_scalings(name, source, own.bands[:count], own.tags, target) for own in readings]
    notes = tuple(dict.fromkeys(band.note for own in scalings for band in own if band.note))
    # A series may span the change of January 2022.
    parts = [pixels] if all(own == scalings[0] for own in scalings) else list(pixels[:, None])
    converted = [
        _scaled(where, source, part, own, target) for part, own in zip(parts, scalings[: len(parts)], strict=True)
    ]
    result = converted[0] if len(converted) == 1 else np.concatenate(converted)
    if target in (InputUnit.DECIBEL, InputUnit.LINEAR_POWER):
        result, zeros = _without_zeros(result, target)
        notes += zeros
    return result, notes


def _scaled(
    where: str, source: ImageSource, pixels: np.ndarray, scalings: Sequence[BandScaling], target: InputUnit
) -> np.ndarray:
    """Scale the numbers ``(T, C, H, W)`` of frames of one product, in place."""
    extremes = _extremes(pixels)
    _check_sentinel2(where, source, pixels, scalings, extremes)
    for i, band in enumerate(scalings):
        for number in band.missing:
            pixels[:, i][pixels[:, i] == np.float32(number)] = np.nan
    for channels, band in _alike(scalings):
        conversion = UnitConversion(InputUnit.DIGITAL_NUMBER, 1.0 if band.scale is None else band.scale, band.offset)
        part = pixels[:, channels]
        result = to_physical(part, conversion, target, copy=False)
        if not np.may_share_memory(result, part):
            part[...] = result
    scale = np.array([band.scale or 1.0 for band in scalings])
    offset = np.array([band.offset for band in scalings])
    if target is InputUnit.DIGITAL_NUMBER or is_possible((extremes + offset) * scale, target):
        return pixels
    try:
        refuse_impossible(pixels, target, source.bands, where)
    except ValueError:
        stored = [pixels[:, i] / (band.scale or 1.0) - band.offset for i, band in enumerate(scalings)]
        refuse_impossible(pixels, target, source.bands, where, np.round(np.stack(stored, axis=1), 2))
        raise
    return pixels


def _extremes(pixels: np.ndarray) -> np.ndarray:
    """Least and largest number of each band, float64 ``(2, C)``; NaN where all are missing."""
    planes = [pixels[:, i] for i in range(pixels.shape[1])]
    return np.array(
        [[find.reduce(plane, axis=None) for plane in planes] for find in (np.fmin, np.fmax)], dtype=np.float64
    )


def _alike(scalings: Sequence[BandScaling]) -> Iterator[tuple[slice, BandScaling]]:
    """Runs of channels of one scale and offset."""
    start = 0
    for stop in range(1, len(scalings) + 1):
        first = scalings[start]
        if stop == len(scalings) or (scalings[stop].scale, scalings[stop].offset) != (first.scale, first.offset):
            yield slice(start, stop), first
            start = stop


def _check_sentinel2(
    where: str, source: ImageSource, numbers: np.ndarray, scalings: Sequence[BandScaling], extremes: np.ndarray
) -> None:
    """Mark the special numbers of Sentinel-2, and compare the offset with the dark pixels."""
    if not is_sentinel2(source.sensor):
        return
    offset = scalings[0].offset
    # A number that the config states for missing pixels counts instead of those of the product. HLS has a fill value of
    # its own, and 0 is a value there.
    usual = extremes[0].min() > NO_DATA and extremes[1].max() < SATURATED
    asked = source.nodata is None and not scalings[0].has_other_fill and not usual
    special = special_numbers(numbers, offset) if asked else None
    if special is not None:
        numbers[special] = np.nan
    if not (scalings[0].metadata or scalings[0].stated):
        return  # where nobody says anything, pixels alone never decide
    names = [_canonical(source, i) for i in range(len(source.bands))]
    contradiction = offset_contradiction(numbers, names, offset, source.sensor)
    if contradiction is None:
        return
    if scalings[0].stated:
        warnings.warn(f"{where}: the config states offset: {offset:g}. {contradiction}", stacklevel=2)
        return
    msg = f"{where}: {contradiction}"
    raise ValueError(msg)


def _without_zeros(pixels: np.ndarray, unit: InputUnit) -> tuple[np.ndarray, tuple[str, ...]]:
    """Take backscatter of exactly 0 in all bands, dB or power, as missing: it is what lies beyond the footprint."""
    if not zero_is_missing(unit, pixels.shape[-3]):
        return pixels, ()
    empty = zero_decibels(pixels)
    count = int(empty.sum())
    if not count:
        return pixels, ()
    np.copyto(pixels, np.float32(np.nan), where=empty[..., None, :, :])
    return pixels, (f"{count} pixels of exactly 0 ({unit}) in all bands count as missing",)


def _canonical(source: ImageSource, band: int) -> str:
    name = source.bands[band]
    return (source.table.canonical(name) if source.table else None) or name


def clear_pixels(name: str, source: ImageSource, bands: Sequence[str], pixels: np.ndarray) -> np.ndarray | None:
    """Return where stored values ``(T, C, H, W)`` show the ground, bool ``(T, H, W)``; ``None`` if that is not known.

    The classes of a quality layer are looked at as they are stored, and must not be converted.

    Raises
    ------
    SampleError
        If the layer holds what it should not.
    """
    if source.cloud_band is None:
        return None
    layer = pixels[:, list(bands).index(source.cloud_band)]
    try:
        return clear_mask(layer, source.cloud_kind, name=source.cloud_band)
    except ValueError as error:
        msg = f"{name!r}: cloud band {source.cloud_band!r}: {error}"
        raise SampleError(msg) from error
