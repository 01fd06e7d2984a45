"""Attributes of arrays in NetCDF, Zarr and HDF5 that say what their numbers mean.

Sources: CF conventions 1.11, 2.5.1 (missing data, valid range) and 8.1 (packed data); the NetCDF users' guide, appendix
A (``_Unsigned``; a valid range of fractions is that of the unpacked values); the attribute ``nodata`` of odc-geo and
odc-stac; the lists per band of rioxarray (``nodatavals``, ``scales``, ``offsets``, ``units``).
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from eo_data.readers.formats.facts import BandFacts, refuse_complex, stated_scale

#: Attributes whose values mean "missing".
_NODATA = (
    *("_FillValue", "missing_value", "nodata", "nodatavals", "_nodata", "NoData", "no_data", "nodata_value"),
    *("fill_value", "FillValue"),
)
#: Attributes that may have one entry per band, and what each entry is.
_PER_BAND = {
    "nodatavals": "nodatavals",
    "nodata": "nodata",
    "scale_factor": "scale_factor",
    "add_offset": "add_offset",
    "scales": "scale_factor",
    "offsets": "add_offset",
    "units": "units",
}
#: What stands between the numbers of a text, and the letter of a type behind one (``-9999s``).
_BETWEEN = re.compile(r"[\s,;()\[\]]+")
_TYPED = re.compile(r"(?<=[0-9.])(?:u?[bsBSlLfFdD]|u)$")


def facts_along_axis(
    variable: str,
    names: Sequence[str | None],
    dtype: np.dtype,
    attributes: Mapping[str, Any],
    *,
    unsigned: bool = False,
) -> tuple[BandFacts, ...]:
    """Return what the attributes of an array say of the bands along its axis.

    Parameters
    ----------
    variable : str
        Name of the array, for messages.
    names : sequence of (str or None)
        Of the bands.
    dtype, attributes, unsigned
        As in `band_facts`. An attribute may list one value per band.

    Raises
    ------
    ValueError
        As `band_facts`.
    """
    count = len(names)
    listed = {key: attributes[key] for key in _PER_BAND if _length(attributes.get(key)) == count and count > 1}
    common = {key: value for key, value in attributes.items() if key not in listed}
    if not listed:
        facts = band_facts(variable, dtype, common, unsigned=unsigned)
        return tuple(replace(facts, name=name) for name in names)
    return tuple(
        replace(
            band_facts(
                f"{variable}, band {i + 1}",
                dtype,
                common | {_PER_BAND[key]: values[i] for key, values in listed.items()},
                unsigned=unsigned,
            ),
            name=name,
        )
        for i, name in enumerate(names)
    )


def _length(value: object) -> int:
    return len(value) if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim) else 0


def band_facts(
    name: str | None, dtype: np.dtype, attributes: Mapping[str, Any], *, unsigned: bool = False
) -> BandFacts:
    """Return what the attributes of an array say of its numbers.

    Parameters
    ----------
    name : str or None
        Name of the band.
    dtype : numpy.dtype
        Of the stored numbers.
    attributes : mapping
        Not decoded: no-data, valid range, scale and offset are those of the stored numbers.
    unsigned : bool
        Whether the numbers were read as unsigned because an attribute says so (``_Unsigned``); no-data and valid range
        are then written as signed ones.

    Raises
    ------
    ValueError
        If an attribute is no number, or the numbers are complex.
    """
    refuse_complex(dtype)
    own, shown = dtype if unsigned else None, name or "the array"
    try:
        scale, offset = stated_scale(*(_only(attributes.get(key)) for key in ("scale_factor", "add_offset")))
    except (TypeError, ValueError) as error:
        msg = f"the attributes of {shown!r} cannot be read as numbers: {error}"
        raise ValueError(msg) from error
    nodata = [_as_stored(value, own) for key in _NODATA for value in _readable(shown, key, attributes)]
    valid_range = _valid_range(shown, attributes, own)
    if valid_range is not None and (scale is not None or offset is not None) and dtype.kind in "iu":
        valid_range = _packed_range(valid_range, attributes, dtype, 1.0 if scale is None else scale, offset or 0.0)
    unit = _plain(attributes.get("units"))
    return BandFacts(
        name,
        str(dtype),
        None if unit in (None, "", "1", 1) else str(unit),
        scale,
        offset,
        tuple(dict.fromkeys(nodata)),
        valid_range,
    )


def _plain(value: object) -> object:
    return value.decode() if isinstance(value, bytes) else value


def _numbers(value: object) -> Iterator[float]:
    """All numbers of an attribute: one, an array, or text that spells them.

    Raises
    ------
    ValueError
        For another text.
    """
    for item in np.atleast_1d(np.asarray(value, dtype=object)).ravel():
        plain = _plain(item)
        if isinstance(plain, str):
            words = [word for word in _BETWEEN.split(plain) if word and word.lower() not in ("none", "null")]
            yield from (float(_TYPED.sub("", word)) for word in words)
        elif plain is not None:
            yield float(plain)  # type: ignore[arg-type]


def _only(value: object) -> float | None:
    """Return the number of an attribute that has one, or several times the same."""
    numbers = list(dict.fromkeys(_numbers(value)))
    if len(numbers) > 1:
        msg = f"expected one number, or one for each band, got {numbers}."
        raise ValueError(msg)
    return numbers[0] if numbers else None


def _readable(name: str, key: str, attributes: Mapping[str, Any]) -> list[float]:
    """Numbers of an attribute that says which pixels are missing; a text that spells none says nothing."""
    try:
        return list(_numbers(attributes.get(key)))
    except (TypeError, ValueError):
        warnings.warn(
            f"The attribute {key} of {name!r} is {attributes[key]!r}, which is no number: by it, no pixel is missing. "
            "State nodata in the config if one is.",
            stacklevel=2,
        )
        return []


def _as_stored(value: float, unsigned: np.dtype | None) -> float:
    """Return -1 of unsigned bytes as 255: NetCDF 3 writes unsigned numbers as signed ones."""
    if unsigned is not None and -(2 ** (8 * unsigned.itemsize - 1)) <= value < 0:
        return value + 2 ** (8 * unsigned.itemsize)
    return value


def _valid_range(name: str, attributes: Mapping[str, Any], unsigned: np.dtype | None) -> tuple[float, float] | None:
    both, lows, highs = (_readable(name, key, attributes) for key in ("valid_range", "valid_min", "valid_max"))
    if len(both) not in (0, 2):
        msg = f"the attribute valid_range of {name!r} must have two numbers, got {both}."
        raise ValueError(msg)
    low, high = both or (lows[0] if lows else -np.inf, highs[0] if highs else np.inf)
    if math.isinf(low) and math.isinf(high):
        return None
    return _as_stored(low, unsigned), _as_stored(high, unsigned)


def _packed_range(
    valid: tuple[float, float], attributes: Mapping[str, Any], dtype: np.dtype, scale: float, offset: float
) -> tuple[float, float]:
    """Return a range of unpacked values as one of stored numbers.

    A range of fractions is one of values, unless it cannot be: what it comes to is beyond the type, and it would be
    whole numbers of the type itself.
    """
    stated = [attributes[key] for key in ("valid_range", "valid_min", "valid_max") if attributes.get(key) is not None]
    if not any(_is_fraction(value) for value in stated):
        return valid
    low, high = sorted((value - offset) / scale for value in valid)
    limits = np.iinfo(dtype)
    finite = [value for value in valid if math.isfinite(value)]
    whole = all(value.is_integer() and limits.min <= value <= limits.max for value in finite)
    beyond = any(math.isfinite(value) and not limits.min - 1 <= value <= limits.max + 1 for value in (low, high))
    if whole and beyond:
        return valid
    margin = 0.01  # of one number: the rounding of the division
    return low - margin, high + margin


def _is_fraction(value: object) -> bool:
    """Whether numbers are written as fractions (``1.0``)."""
    kind = np.asarray(value).dtype.kind
    return kind == "f" or (kind not in "iu" and "." in str(_plain(value)))
