"""From stored numbers to physical values, once: unit, scale, and the offset of the product."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.raster.sample import SampleError
from eo_data.readers.formats.file_raster import FileRaster
from eo_data.sensors.quality import clear_mask
from eo_data.sensors.sentinel2 import sentinel2_offset
from eo_data.sensors.units import PHYSICAL_UNITS, InputUnit, UnitConversion, check_range, to_physical


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
    """Convert stored numbers to physical values.

    Parameters
    ----------
    name : str
        Name of the modality, for messages.
    source : ImageSource
        Unit, scale, offset, formula.
    pixels : ndarray, (T, C, H, W)
        Stored numbers; bands after those of the source are left out.
    readings, hrefs : sequences
        What was read from which file: its name and metadata may tell an offset.

    Returns
    -------
    ndarray, tuple of str
        ``(T, C, H, W)`` in the unit of `target_unit`, and what a user may want to know of it.

    Raises
    ------
    SampleError
        If values contradict their unit, cannot be converted, or an offset is not known or was forgotten.
    """
    unit, target = InputUnit(source.unit), target_unit(name, source)
    wanted = pixels[:, : len(source.bands)]
    try:
        offsets, notes = _offsets(name, source, readings, hrefs)
        check_range(wanted, unit, f"{name} ({hrefs[0]})")
        # One offset for all frames, or one per frame: a series may span the change of January 2022.
        parts = [wanted] if len(set(offsets)) == 1 else list(wanted[:, None])
        converted = [
            to_physical(part, UnitConversion(unit, source.scale, offset, source.formula), target, copy=False)
            for part, offset in zip(parts, offsets[: len(parts)], strict=True)
        ]
    except SampleError:
        raise
    except ValueError as error:
        raise SampleError(str(error)) from error
    return (converted[0] if len(converted) == 1 else np.concatenate(converted)), notes


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
        return clear_mask(np.nan_to_num(layer, nan=0.0), source.cloud_kind)
    except ValueError as error:
        msg = f"{name!r}: cloud band {source.cloud_band!r}: {error}"
        raise SampleError(msg) from error


def _offsets(
    name: str, source: ImageSource, readings: Sequence[FileRaster], hrefs: Sequence[Href]
) -> tuple[list[float], tuple[str, ...]]:
    """Return one offset per reading, and a note where it came from the product."""
    if source.offset is None:
        _refuse_forgotten_offset(name, source, readings, hrefs)
    if not isinstance(source.offset, str):
        return [float(source.offset or 0)] * len(readings), ()
    offsets = []
    for href, reading in _pairs(hrefs, readings):
        offset = sentinel2_offset(product_name=str(href), metadata=reading.tags)
        if offset is None:
            msg = (
                f"{name!r}: the digital number offset of {href} cannot be told from its name or metadata. "
                "State offset: -1000 (processing baseline 04.00 and later, from 25 January 2022) or offset: 0."
            )
            raise SampleError(msg)
        offsets.append(offset)
    listed = ", ".join(f"{offset:g}" for offset in sorted(set(offsets)))
    return offsets, (f"digital number offset {listed} from the product",)


def _refuse_forgotten_offset(
    name: str, source: ImageSource, readings: Sequence[FileRaster], hrefs: Sequence[Href]
) -> None:
    if InputUnit(source.unit) is not InputUnit.DIGITAL_NUMBER or source.formula is not None:
        return
    for href, reading in _pairs(hrefs, readings):
        known = sentinel2_offset(product_name=str(href), metadata=reading.tags)
        if known:
            msg = (
                f"{name!r}: {href} is a product whose digital numbers have an offset of {known:g}. State "
                "offset: auto, or offset: 0 if it has been taken off already."
            )
            raise SampleError(msg)


def _pairs(hrefs: Sequence[Href], readings: Sequence[FileRaster]) -> list[tuple[Href, FileRaster]]:
    """Files with what was read from them; of bands with a file each, the first file stands for the one image."""
    return list(zip(hrefs, readings, strict=len(hrefs) == len(readings)))
