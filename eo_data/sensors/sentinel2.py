"""Sentinel-2's digital numbers: their offset by metadata and by pixels, and numbers that are no values.

Source: ESA, Sentinel-2 Products Specification Document (special values NODATA 0 and SATURATED 65535, with every
baseline; offsets of -1000 from processing baseline 04.00 on).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from eo_data.sensors.tables import SENTINEL2

#: Special values of the product.
NO_DATA, SATURATED = 0, 65535

#: Processing baseline in a product name (``_N0400_``) or granule id (``_N04.00``).
_BASELINE = re.compile(r"_N(\d{2})\.?(\d{2})(?![0-9])")

#: Names of products and of their band files with the time of sensing, and the day from which on all have baseline 04.00
#: or later. Of a name without a baseline (Planetary Computer, single JPEG 2000 files), an earlier day says nothing:
#: older scenes are processed again.
_SENSED = re.compile(
    r"(?:S2[A-D]_MSIL(?:1C|2A)|(?<![A-Za-z0-9])T\d{2}[A-Z]{3})_(\d{8})T\d{6}_(?:R\d{3}|B[01]\d|B8A)(?![0-9])"
)
_FIRST_OF_BASELINE_4 = "20220125"

_OFFSET_TAG = re.compile(r"(BOA|RADIO)_ADD_OFFSET", re.IGNORECASE)


def sentinel2_offset(
    product_name: str | None = None,
    metadata: Mapping[str, object] | None = None,
    baseline: str | float | None = None,
) -> float | None:
    """Return the offset of a Sentinel-2 product, to be added to its digital numbers.

    -1000 from processing baseline 04.00 on (January 2022, and reprocessed older scenes), 0 before it and where the
    provider has taken it off: Earth Engine's ``*_HARMONIZED`` collections, ``earthsearch:boa_offset_applied``.

    Parameters
    ----------
    product_name : str, optional
        SAFE name, granule id or collection: ``S2A_MSIL2A_20220301T..._N0400_...``, ``COPERNICUS/S2_SR_HARMONIZED``.
        Without a baseline in it, a day of sensing from 25 January 2022 on tells.
    metadata : mapping, optional
        Tags of the file, properties of a STAC item or the item itself: ``s2:processing_baseline``,
        ``PROCESSING_BASELINE``, ``BOA_ADD_OFFSET...`` or ``RADIO_ADD_OFFSET...`` of the product's MTD file.
    baseline : str or float, optional
        Processing baseline if known otherwise: ``04.00``, ``N0400``, 4.0.

    Returns
    -------
    float or None
        ``None`` if it cannot be known; then it has to be stated.

    Raises
    ------
    ValueError
        If the sources contradict each other, or a baseline is not a number.
    """
    tags = dict(metadata or {})
    nested = tags.get("properties")
    tags |= nested if isinstance(nested, Mapping) else {}
    if offset_is_applied(tags) or "_HARMONIZED" in (product_name or "").upper():
        return 0.0
    found: dict[str, float | None] = {
        f"tag {key}": _as_offset(value) for key, value in tags.items() if _OFFSET_TAG.search(key)
    }
    for key in ("s2:processing_baseline", "processing:version", "PROCESSING_BASELINE"):
        if key in tags:
            found[key] = _offset_of_baseline(tags[key])
    if baseline is not None:
        found["baseline"] = _offset_of_baseline(baseline)
    in_name = _BASELINE.search(product_name or "")
    if in_name:
        found[f"name {product_name}"] = _offset_of_baseline(".".join(in_name.groups()))
    if not found:
        sensed = _SENSED.search(product_name or "")
        if sensed and sensed[1] >= _FIRST_OF_BASELINE_4:
            return -1000.0
    offsets = {value for value in found.values() if value is not None}
    if len(offsets) > 1:
        said = "; ".join(f"{value:g} by {key}" for key, value in found.items() if value is not None)
        msg = f"The offset of a Sentinel-2 product is contradictory: {said}. State the offset in the config."
        raise ValueError(msg)
    return offsets.pop() if offsets else None


def is_sentinel2(sensor: str | None) -> bool:
    """Return whether a key of `eo_data.sensors.tables.SENSORS` is one of Sentinel-2."""
    return (sensor or "").startswith("sentinel2")


def offset_is_applied(metadata: Mapping[str, object]) -> bool:
    """Return whether a catalogue says that it has taken the offset off the numbers (Element84's Earth Search)."""
    return str(metadata.get("earthsearch:boa_offset_applied", "")).lower() == "true"


def _as_offset(value: object) -> float:
    try:
        return float(str(value))
    except ValueError as error:
        msg = f"The offset tag of a Sentinel-2 product must be a number such as -1000, got {value!r}."
        raise ValueError(msg) from error


def _offset_of_baseline(value: object) -> float | None:
    """-1000 from 04.00 on, 0 before; ``None`` for 99.99, which a local run of Sen2Cor writes."""
    match = re.fullmatch(r"N?(?:(\d{1,2})(?:\.\d{1,2})?|(\d{2})\d{2})", str(value).strip().upper())
    if match is None:
        msg = f"A processing baseline is written like '04.00' or 'N0400', got {value!r}."
        raise ValueError(msg)
    major = int(match[1] or match[2])
    return None if major == 99 else -1000.0 if major >= 4 else 0.0


def special_numbers(numbers: np.ndarray, offset: float) -> np.ndarray | None:
    """Return where digital numbers are no values by the product's definition.

    0 is no data where all bands have it. In a single band it is no data as long as an offset is in the numbers, where
    it would be a reflectance of -0.1; where the offset has been taken off, dark water is 0 in some bands. 65535 is a
    saturated value.

    Parameters
    ----------
    numbers : ndarray, (..., C, H, W)
        As stored, any numeric dtype; NaN where missing.
    offset : float
        To be added to the numbers: -1000 where it is still in them, else 0.

    Returns
    -------
    ndarray of the same shape, bool, or None
        True = missing; ``None`` if all numbers are values, the usual case.
    """
    special = None
    for index in np.ndindex(numbers.shape[:-3]):
        image = numbers[index]
        found = _special_numbers(image, offset)
        if found is not None:
            special = np.zeros(numbers.shape, dtype=bool) if special is None else special
            special[index] = found
    return special


def _special_numbers(image: np.ndarray, offset: float) -> np.ndarray | None:
    """Return special numbers of one image ``(C, H, W)``."""
    # Two numbers a plane, which skip NaN, spare most images the masks.
    if all(np.fmin.reduce(plane, axis=None) > NO_DATA for plane in image) and not any(
        np.fmax.reduce(plane, axis=None) == SATURATED for plane in image
    ):
        return None
    empty = image == NO_DATA
    if offset >= 0:
        # A band that is missing already says nothing about the others.
        empty &= (empty | np.isnan(image)).all(axis=0)
    special = empty | (image == SATURATED)
    return special if special.any() else None


#: Pixels from which on they are asked, and how many of a band are looked at.
_ENOUGH, _SAMPLE = 1000, 16384
#: Numbers with an offset of 1000 in them: reflectance of the ground is not below -0.05 (over-corrected dark water has
#: -0.02), and that at the top of the atmosphere not below 0 but for noise.
_TOO_DARK = {"L1C": 850, "L2A": 500}
#: Numbers between which surfaces without reflectance lie if the offset is in them.
_NOTHING = (960, 1080)


def offset_contradiction(
    numbers: np.ndarray, bands: Sequence[str], offset: float, level: str | None = None
) -> str | None:
    """Say whether the pixels of a Sentinel-2 product contradict its metadata about the offset.

    Metadata lie: catalogues flag an offset as taken off that is there, and the other way round. Pixels tell it only
    where some are dark, and the absence of a contradiction confirms nothing.

    - The offset is said to be in the numbers, and 5 % of the pixels are at reflectances that do not exist, in two
      bands at least (of level 1C, where a path radiance is added, in one).
    - It is said not to be there, and there is an edge at 1000: nothing is below, and 2 % of the pixels lie just above
      in all bands beyond 780 nm at once, as water and shadows do. Ground of a reflectance of 0.1 in all bands that is
      the darkest of a scene is what this would confuse, so at least an infrared band and a short-wave infrared band
      are asked, or the four bands of 10 m.

    Parameters
    ----------
    numbers : ndarray, (C, H, W) or (T, C, H, W)
        As stored; NaN, 0 and 65535 are not looked at. Frames with fewer than 1000 pixels are judged together.
    bands : sequence of str
        Canonical name of each channel; others are not looked at.
    offset : float
        By the metadata: -1000 if it is in the numbers, 0 if it is not.
    level : str, optional
        ``L1C`` or ``L2A``, alone or at the end of a text such as the key of a sensor; L2A if it is not known.

    Returns
    -------
    str or None
        Both facts and the remedy; ``None`` if the pixels do not tell.
    """
    product = "L1C" if (level or "").upper().endswith("L1C") else "L2A"
    judge = _offset_is_gone if offset < 0 else _offset_is_there
    judged = (judge(samples, nanometres, product) for samples, nanometres in _frames(numbers, bands))
    return next((found for found in judged if found), None)


def _frames(numbers: np.ndarray, bands: Sequence[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield some pixels of each frame as ``(C, N)``, NaN where they say nothing, and the wavelengths of the bands.

    Bands with too few pixels are left out.
    """
    wavelengths = {band.name: band.wavelength_nm or 0.0 for band in SENTINEL2.bands}
    channels = [i for i, name in enumerate(bands) if name in wavelengths]
    if not channels:
        return
    nanometres = np.array([wavelengths[bands[i]] for i in channels])
    height, width = numbers.shape[-2:]
    step = max(1, math.isqrt(height * width // _SAMPLE))
    frames = (numbers[None] if numbers.ndim == 3 else numbers)[:, channels, ::step, ::step]
    if height * width < _ENOUGH:
        frames = frames.swapaxes(0, 1).reshape(1, len(channels), 1, -1)
    for frame in frames:
        samples = frame.reshape(len(channels), -1).astype(np.float32)
        samples[(samples == NO_DATA) | (samples == SATURATED)] = np.nan
        enough = np.count_nonzero(~np.isnan(samples), axis=1) >= _ENOUGH
        if enough.any():
            yield samples[enough], nanometres[enough]


def _offset_is_gone(samples: np.ndarray, nanometres: np.ndarray, level: str) -> str | None:
    """Judge numbers that are said to have the offset in them."""
    limit = _TOO_DARK[level]
    # Atmospheric correction of blue light may go far below 0 in shadows.
    asked = nanometres > (0 if level == "L1C" else 520)
    counts = np.count_nonzero(samples < limit, axis=1)
    share = np.where(asked, counts / np.count_nonzero(~np.isnan(samples), axis=1), 0.0)
    dark = int((share >= 0.05).sum())
    needed = 1 if level == "L1C" else 2
    if dark < needed and not (asked.sum() == 1 and share.max() >= 0.5):
        return None
    return (
        f"The metadata say that an offset of -1000 is to be added to the numbers, but {100 * share.max():.0f} % of the "
        f"pixels of a band are below {limit}, and would have a reflectance below {(limit - 1000) / 10000:g}: it seems "
        "to have been taken off already. Compare with the product, and state offset: 0 if it has been taken off, or "
        "offset: -1000 if it has not."
    )


def _offset_is_there(samples: np.ndarray, nanometres: np.ndarray, level: str) -> str | None:
    """Judge numbers that are said to be free of the offset."""
    low, high = _NOTHING
    valid = np.count_nonzero(~np.isnan(samples), axis=1)
    if (np.count_nonzero(samples < low, axis=1) > 0.002 * valid).any() or not _varies(samples):
        return None
    infrared, shortwave = (nanometres > 780) & (nanometres < 1000), nanometres > 1500
    needed = None
    if infrared.any() and shortwave.any():
        asked, needed = infrared | shortwave, 0.02
    elif level == "L2A" and infrared.any() and (nanometres < 700).sum() >= 3:
        asked, needed = infrared | (nanometres > 650), 0.05
    if needed is not None:
        # At the top of the atmosphere the air adds to the infrared.
        limit = np.where(infrared & (level == "L1C"), high + 220, high)[:, None]
        at_edge = (samples[asked] <= limit[asked]).all(axis=0)
        share = np.count_nonzero(at_edge) / valid[asked].min()
        if share >= needed:
            return _there(
                f"no band is darker than {low}, and {100 * share:.0f} % of the pixels are near 1000 in all bands that "
                "water and shadows leave dark"
            )
    for values in samples[(nanometres > 1300) & (nanometres < 1500)]:
        # The cirrus band shows nothing, that is 1000 with the offset, wherever there is no high cloud.
        lowest, middle = np.nanpercentile(values, (1, 50))
        if lowest >= 990 and middle <= 1030:
            return _there(f"the cirrus band lies at {middle:.0f} where there is no cloud, and not near 0")
    return None


def _varies(samples: np.ndarray) -> bool:
    """Whether the bands hold more than one value each, as every measurement does."""
    return bool((np.fmax.reduce(samples, axis=1) > np.fmin.reduce(samples, axis=1)).all())


def _there(fact: str) -> str:
    return (
        f"The metadata say that no offset is in the numbers, but {fact}: they seem to be 1000 too high. Compare with "
        "the product, and state offset: -1000 if the offset is in the numbers, or offset: 0 if it is not."
    )
