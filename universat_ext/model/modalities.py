"""The sensors that UniverSat's published table knows, and sensors of the user's own.

A sensor has no weights: it is described by a wavelength in micrometres or a learned code per channel, metres per
pixel, and pixels per side of a sub-patch. Source: ``modality_registry.py`` of gastruc/UniverSat at commit f6df2ee.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from universat_ext.model.hyperspectral import ENMAP_NM, HYPERION_NM, NEON_NM

#: Side in metres of the cell that positions are counted in.
CELL_METRES = 10
#: Last day of the published table of angles in time; the first is 0.
LAST_TABLE_DAY = 749
#: Learned descriptions of channels that have no wavelength.
CODES = ("VV", "VH", "Ratio_VV_VH", "HH", "HV", "Ratio_HH_HV", "nDEM", "DSM")
#: Wavelengths in micrometres that a channel may have. What is beyond them was given in another unit.
SHORTEST, LONGEST = 0.2, 20.0

Descriptor = float | str


@dataclass(frozen=True)
class Modality:
    """A sensor as the encoder takes it.

    Parameters
    ----------
    name : str
        Key of its image in the dictionary.
    bands : tuple of str
        Name of each channel.
    descriptors : tuple of float or str
        Of each channel: wavelength in micrometres, or one of `CODES`.
    pixel_metres : float
        Pixel size on the ground.
    subpatch_pixels : int
        Pixels per side of a sub-patch.
    standardised : bool
        Whether the weights saw it as standard scores; heights they saw in metres.
    rest_is_usual : bool
        Whether the pre-training left out pixels that fill no sub-patch of their patch, as the encoder then does.
    """

    name: str
    bands: tuple[str, ...]
    descriptors: tuple[Descriptor, ...]
    pixel_metres: float
    subpatch_pixels: int = 1
    standardised: bool = True
    rest_is_usual: bool = False

    @property
    def is_context(self) -> bool:
        """Whether the image is one pixel for the whole tile instead of a grid of patches (MODIS)."""
        return self.name == "modis"


_S2 = (("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12"),)
_S2_UM = (0.49, 0.56, 0.665, 0.705, 0.74, 0.783, 0.833, 0.865, 1.61, 2.19)
_S1 = ("VV", "VH", "VV/VH"), ("VV", "VH", "Ratio_VV_VH")
_RGBN = ("R", "G", "B", "NIR")
_TM = ("B1", "B2", "B3", "B4", "B5", "B7"), (0.485, 0.56, 0.66, 0.835, 1.65, 2.22)
_OLCI = tuple(f"Oa{number:02d}" for number in (2, 4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18))


def _spectrometer(name: str, nanometres: Sequence[int], pixel_metres: float, subpatch_pixels: int = 1) -> Modality:
    bands = tuple(f"{number}nm" for number in nanometres)
    if len(set(bands)) < len(bands):  # two spectrometers may share a wavelength
        bands = tuple(f"{band}_{i}" for i, band in enumerate(bands))
    return Modality(name, bands, tuple(number / 1000 for number in nanometres), pixel_metres, subpatch_pixels)


# The names of the bands of `aerial` are the published ones, but the data of the pre-training (TreeSatAI-TS) looks as if
# near infrared came first. Unresolved: channels are taken in the order given.
_ALL = (
    Modality("s2", *_S2, _S2_UM, 10.0),
    Modality("s2flair", *_S2, _S2_UM, 12.8),
    # B8 is 842 nm here and 833 nm in the configuration of the training.
    Modality("s2withaerosol", ("B1", *_S2[0]), (0.442, *_S2_UM[:6], 0.842, *_S2_UM[7:]), 10.0),
    Modality(
        "s2l1c",
        ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12"),
        (0.442, *_S2_UM[:8], 0.944, 1.375, 1.612, 2.19),
        10.0,
    ),
    Modality("s2_4band", ("B2", "B3", "B4", "B8"), (0.49, 0.56, 0.665, 0.842), 10.0),
    Modality("s1", *_S1, 10.0),
    Modality("s1-asc", *_S1, 10.0),
    Modality("s1flair", *_S1, 12.8),
    Modality("s3", _OLCI, (0.412, 0.49, 0.51, 0.56, 0.62, 0.665, 0.674, 0.681, 0.709, 0.779, 0.865, 0.885), 300.0),
    # Resampled to 10 m; the panchromatic band first.
    Modality(
        "l8",
        ("B8", "B1", "B2", "B3", "B4", "B5", "B6", "B7", "B9", "B10", "B11"),
        (0.59, 0.443, 0.482, 0.562, 0.655, 0.865, 1.61, 2.2, 1.375, 10.9, 12.0),
        10.0,
    ),
    Modality("l8forestnet", ("B2", "B3", "B4", "B5", "B6", "B7"), (0.482, 0.562, 0.655, 0.865, 1.61, 2.2), 10.0),
    Modality("l7", *_TM, 30.0),
    Modality("hls", ("BLUE", "GREEN", "RED", "NIR_NARROW", "SWIR_1", "SWIR_2"), _TM[1], 30.0),
    Modality("alos", ("HH", "HV", "HH/HV"), ("HH", "HV", "Ratio_HH_HV"), 30.0),
    Modality("modis", tuple(f"B{i}" for i in range(1, 8)), (0.645, 0.858, 0.469, 0.555, 1.234, 1.64, 1.213), 250.0),
    Modality("aerial", _RGBN, (0.665, 0.56, 0.49, 0.81), 0.2, 10),
    Modality("aerialflair", _RGBN, (0.665, 0.56, 0.49, 0.81), 0.2, 8),
    Modality("spot", _RGBN[:3], (0.665, 0.56, 0.49), 1.0, 10),
    Modality("spotRGBN", _RGBN, (0.665, 0.56, 0.49, 0.83), 1.6, 2),
    # Patches of 40 m are 32 pixels, of which 30 are read.
    Modality("naip", _RGBN, (0.665, 0.56, 0.49, 0.81), 1.25, 10, rest_is_usual=True),
    Modality("rgbn", _RGBN, (0.665, 0.56, 0.49, 0.83), 1.0),
    Modality("planet", _RGBN, (0.665, 0.56, 0.49, 0.83), 4.0),
    Modality("maxar", ("B", "G", "R", "NIR"), (0.48, 0.545, 0.66, 0.833), 0.5),
    Modality("rgbneon", _RGBN[:3], (0.665, 0.56, 0.49), 0.1, 20),
    _spectrometer("neon", NEON_NM, 1.0, 2),
    Modality("ndemneon", ("nDEM",), ("nDEM",), 1.0, 2, standardised=False),
    Modality("dem", ("DSM", "nDEM"), ("DSM", "nDEM"), 0.2, 10, standardised=False),
    Modality("dsm", ("DSM",), ("DSM",), 30.0, standardised=False),
    _spectrometer("EO1", HYPERION_NM, 30.0),
    _spectrometer("enmap", ENMAP_NM, 30.0),
)

MODALITIES: Mapping[str, Modality] = MappingProxyType({modality.name: modality for modality in _ALL})


def described(
    name: str,
    descriptors: object = None,
    pixel_metres: object = None,
    subpatch_pixels: object = None,
) -> Modality:
    """Return the sensor of a name, with what is stated in place of the table's.

    Parameters
    ----------
    name : str
        A name of the table, or any other, which needs descriptors and pixel size.
    descriptors : sequence of float or str, optional
        Wavelength in micrometres or code of each channel.
    pixel_metres : float, optional
        Pixel size.
    subpatch_pixels : int, optional
        Pixels per side of a sub-patch; 1 for a sensor that the table does not know.

    Raises
    ------
    ValueError
        For something unknown or out of range; the message says what is valid.
    """
    known = MODALITIES.get(name)
    if known is None and (descriptors is None or pixel_metres is None):
        msg = (
            f"{name!r} is no sensor of the table, so its wavelengths (micrometres or codes, one a channel) and its "
            f"input_res (metres per pixel) must be stated. The table knows {', '.join(MODALITIES)}."
        )
        raise ValueError(msg)
    values = known.descriptors if descriptors is None and known else check_descriptors(name, descriptors)
    metres = (
        known.pixel_metres if pixel_metres is None and known else check_metres(f"input_res of {name!r}", pixel_metres)
    )
    default = known.subpatch_pixels if known else 1
    pixels = default if subpatch_pixels is None else check_count(f"subpatches of {name!r}", subpatch_pixels)
    if known and values == known.descriptors:
        bands = known.bands
    else:
        bands = tuple(value if isinstance(value, str) else f"{value:g} um" for value in values)
    return Modality(
        name,
        bands,
        values,
        metres,
        pixels,
        standardised=known.standardised if known else True,
        rest_is_usual=known.rest_is_usual if known else False,
    )


def check_descriptors(name: str, given: object) -> tuple[Descriptor, ...]:
    """Check wavelengths and codes.

    Raises
    ------
    ValueError
        For no list, an unknown code, or a wavelength that is in no range of micrometres: nanometres above all.
    """
    if isinstance(given, str) or not isinstance(given, Sequence) or not given:
        msg = f"wavelengths of {name!r} must be a list with one entry a channel, such as [0.49, 'VV'], got {given!r}."
        raise ValueError(msg)
    return tuple(_descriptor(name, value) for value in given)


def _descriptor(name: str, value: object) -> Descriptor:
    if isinstance(value, str):
        if value in CODES:
            return value
        msg = f"{value!r} in the wavelengths of {name!r} is no code. Valid: {', '.join(CODES)}, or micrometres."
        raise ValueError(msg)
    number = _number(value)
    if number is None or not SHORTEST <= number <= LONGEST:
        hint = (
            f" In nanometres? Then it is {number / 1000:g}." if number and SHORTEST <= number / 1000 <= LONGEST else ""
        )
        msg = (
            f"wavelengths of {name!r} must be micrometres from {SHORTEST:g} to {LONGEST:g} or codes "
            f"({', '.join(CODES)}), got {value!r}.{hint}"
        )
        raise ValueError(msg)
    return number


def check_metres(what: str, value: object) -> float:
    """Return a positive length.

    Raises
    ------
    ValueError
        If it is none.
    """
    number = _number(value)
    if number is None or not math.isfinite(number) or number <= 0:
        msg = f"{what} must be a positive number of metres, got {value!r}."
        raise ValueError(msg)
    return number


def check_count(what: str, value: object) -> int:
    """Return a positive whole number.

    Raises
    ------
    ValueError
        If it is none; 2.5 is not rounded.
    """
    number = _number(value)
    if number is None or not math.isfinite(number) or number < 1 or number != int(number):
        msg = f"{what} must be a positive whole number, got {value!r}."
        raise ValueError(msg)
    return int(number)


def _number(value: object) -> float | None:
    if isinstance(value, (bool, str)):
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
