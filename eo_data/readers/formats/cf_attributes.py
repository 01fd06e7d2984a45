"""Attributes of arrays in NetCDF, Zarr and HDF5 that say what their numbers mean.

Sources: CF conventions 1.11, 2.5.1 (missing data, valid range) and 8.1 (packed data); the attribute ``nodata`` of
odc-geo and odc-stac.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from eo_data.readers.formats.facts import BandFacts, refuse_complex, stated_scale

#: Attributes whose values mean "missing".
_NODATA = ("_FillValue", "missing_value", "nodata", "nodatavals", "_nodata", "NoData", "no_data")


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
    own = dtype if unsigned else None
    try:
        scale, offset = stated_scale(*(_first(attributes.get(key)) for key in ("scale_factor", "add_offset")))
        numbers = (_as_stored(value, own) for key in _NODATA for value in _numbers(attributes.get(key)))
        nodata = tuple(dict.fromkeys(numbers))
        valid_range = _valid_range(attributes, own)
    except (TypeError, ValueError) as error:
        msg = f"the attributes of {name or 'the array'!r} cannot be read as numbers: {error}"
        raise ValueError(msg) from error
    unit = attributes.get("units")
    return BandFacts(
        name,
        str(dtype),
        None if unit in (None, "", "1", 1) else str(unit),
        scale,
        offset,
        nodata,
        valid_range,
    )


def _numbers(value: object) -> Iterator[float]:
    """All numbers of an attribute: one, an array, or text that spells one."""
    if value is None or (isinstance(value, str) and value.strip().lower() in ("", "none", "null")):
        return
    for item in np.atleast_1d(np.asarray(value, dtype=object)).ravel():
        if item is not None:
            yield float(item)


def _first(value: object) -> float | None:
    return next(_numbers(value), None)


def _as_stored(value: float, unsigned: np.dtype | None) -> float:
    """Return -1 of unsigned bytes as 255: NetCDF 3 writes unsigned numbers as signed ones."""
    dtype = unsigned
    if dtype is not None and -(2 ** (8 * dtype.itemsize - 1)) <= value < 0:
        return value + 2 ** (8 * dtype.itemsize)
    return value


def _valid_range(attributes: Mapping[str, Any], dtype: np.dtype | None) -> tuple[float, float] | None:
    both = list(_numbers(attributes.get("valid_range")))
    low = both[0] if len(both) == 2 else _first(attributes.get("valid_min"))
    high = both[1] if len(both) == 2 else _first(attributes.get("valid_max"))
    if low is None and high is None:
        return None
    if len(both) not in (0, 2):
        msg = f"valid_range must have two numbers, got {both}."
        raise ValueError(msg)
    return (
        -np.inf if low is None else _as_stored(low, dtype),
        np.inf if high is None else _as_stored(high, dtype),
    )
