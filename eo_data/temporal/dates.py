"""Where acquisition dates come from: names, metadata tags, an index file, STAC items, the time axis of a cube.

A missing date is an error, unless a fallback was named; where a date comes from stays with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from eo_data.temporal.calendar_date import parse_date, parse_instant
from eo_data.temporal.product_names import date_from_name

#: Metadata entries that hold the acquisition, best first: Landsat MTL, HLS, GDAL's Sentinel-2 driver, STAC, CF, BEAM.
ACQUISITION_TAGS = (
    "ACQUISITION_DATE",
    "DATE_ACQUIRED",
    "SENSING_TIME",
    "SENSING_DATE",
    "DATATAKE_1_DATATAKE_SENSING_START",
    "ACQUISITIONDATETIME",
    "PRODUCT_START_TIME",
    "DATETIME",
    "START_DATETIME",
    "TIME_COVERAGE_START",
    "START_DATE",
)
#: Mostly the time at which the file was written.
CREATION_TAGS = ("TIFFTAG_DATETIME",)


def date_from_tags(tags: Mapping[str, str], *, allow_creation_time: bool = False) -> date | None:
    """Return the acquisition date from the metadata of a file.

    Parameters
    ----------
    tags : mapping of str to str
        For instance ``dataset.tags()`` of rasterio. Case of the names is ignored. The first entry of
        ``ACQUISITION_TAGS`` that is there and not empty counts.
    allow_creation_time : bool
        Also read ``TIFFTAG_DATETIME``, last. It is mostly the time at which the file was written.

    Returns
    -------
    datetime.date or None
        ``None`` if no such entry is there.

    Raises
    ------
    ValueError
        If the entry is no date, or lists several (HLS does for two scenes) that differ.
    """
    given = {key.upper(): text for key, text in tags.items()}
    for tag in ACQUISITION_TAGS + (CREATION_TAGS if allow_creation_time else ()):
        text = given.get(tag, "").strip()
        if not text:
            continue
        try:
            days = {parse_date(part) for part in text.split(";") if part.strip()}
        except ValueError as error:
            msg = f"The tag {tag} is no date. {error}"
            raise ValueError(msg) from error
        if len(days) == 1:
            return days.pop()
        msg = f"The tag {tag} must hold one date, got {text!r}. Give the date in an index file."
        raise ValueError(msg)
    return None


def date_from_stac(item: Mapping[str, object]) -> date:
    """Return the acquisition date of a STAC item.

    Parameters
    ----------
    item : mapping
        The item as read from JSON. ``properties.datetime`` counts; where it is null, the middle of ``start_datetime``
        and ``end_datetime``.

    Raises
    ------
    ValueError
        If neither is there, or one is no date.
    """
    properties = item.get("properties")
    given = properties if isinstance(properties, Mapping) else {}
    if given.get("datetime") is not None:
        return parse_date(given["datetime"])
    start, end = given.get("start_datetime"), given.get("end_datetime")
    if start is None or end is None:
        msg = (
            f"The STAC item {item.get('id')!r} has no date: expected properties.datetime, or start_datetime and "
            f"end_datetime, got properties {', '.join(map(str, given)) or 'none'}."
        )
        raise ValueError(msg)
    first, last = parse_instant(start), parse_instant(end)
    if last < first:
        msg = f"The STAC item {item.get('id')!r} ends ({end}) before it starts ({start})."
        raise ValueError(msg)
    return (first + (last - first) / 2).date()


def dates_from_time_axis(values: Iterable[object], units: str | None = None, calendar: str = "standard") -> list[date]:
    """Return the dates of the time axis of a NetCDF or Zarr cube.

    Parameters
    ----------
    values : array-like, (T,)
        ``datetime64``, texts, ``datetime`` objects, or numbers with CF ``units``.
    units : str, optional
        For numbers: ``days since 1990-01-01`` and the like.
    calendar : str
        CF calendar of the numbers.

    Raises
    ------
    ValueError
        For numbers without units, units that are not of time, or a missing time.
    """
    axis = np.asarray(values)
    if axis.ndim != 1:
        msg = f"Expected a time axis of shape (T,), got {axis.shape}."
        raise ValueError(msg)
    if axis.dtype.kind in "iuf":
        axis = _decoded(axis, units, calendar)
    return [parse_date(time.decode() if isinstance(time, bytes) else time) for time in axis]


def _decoded(numbers: np.ndarray, units: str | None, calendar: str) -> np.ndarray:
    import xarray as xr  # noqa: PLC0415  (takes a second, and only cubes with undecoded times need it)

    remedy = "Expected CF units such as 'days since 1990-01-01'"
    if units is None:
        msg = f"A time axis of numbers needs its units. {remedy}, got none for {numbers[:3].tolist()}..."
        raise ValueError(msg)
    raw = xr.Dataset({"time_axis": ("n", numbers, {"units": units, "calendar": calendar})})
    try:
        decoded = np.asarray(xr.decode_cf(raw)["time_axis"].values)
    except (ValueError, ImportError) as error:
        msg = f"The time axis cannot be decoded with units {units!r}, calendar {calendar!r}: {error} {remedy}."
        raise ValueError(msg) from error
    if decoded.dtype.kind != "M":
        msg = f"{units!r} (calendar {calendar!r}) are not units of time. {remedy}."
        raise ValueError(msg)
    return decoded


@dataclass(frozen=True)
class DateWithSource:
    """A date and where it comes from.

    Parameters
    ----------
    date : datetime.date
        The acquisition date.
    source : str
        ``index``, ``pattern``, ``name``, ``tags`` or ``fallback``.
    """

    date: date
    source: str


def resolve_date(
    name: str,
    *,
    tags: Mapping[str, str] | None = None,
    index: Mapping[str, date | list[date]] | None = None,
    pattern: str | None = None,
    fallback: object = None,
    date_format: str | None = None,
    allow_creation_time: bool = False,
) -> DateWithSource:
    """Return the acquisition date of one file from the first source that has it.

    Parameters
    ----------
    name : str
        Name or path of the file or product.
    tags, index, pattern, date_format, allow_creation_time
        As in `date_from_tags`, `dates_from_index` and `date_from_name`. They are tried in the order index, pattern,
        name, tags, fallback. The index is asked for the name as given, without folders, and without suffix.
    fallback : date or str, optional
        What to take where nothing else is found.

    Raises
    ------
    ValueError
        If no source has a date, or a source is contradictory.
    """
    found = _from_index(name, index)
    if found is not None:
        return DateWithSource(found, "index")
    found = date_from_name(name, pattern, date_format=date_format) if pattern is not None else None
    if found is not None:
        return DateWithSource(found, "pattern")
    found = date_from_name(name)
    if found is not None:
        return DateWithSource(found, "name")
    found = date_from_tags(tags, allow_creation_time=allow_creation_time) if tags is not None else None
    if found is not None:
        return DateWithSource(found, "tags")
    if fallback is not None:
        return DateWithSource(parse_date(fallback), "fallback")
    msg = (
        f"No acquisition date for {name!r}. Tried: "
        f"index ({'not given' if index is None else f'{len(index)} entries, none of this name'}); "
        f"pattern ({'not given' if pattern is None else f'{pattern!r} does not match'}); name (no date in it); "
        f"tags ({'not given' if tags is None else f'no acquisition date in: {_some(tags)}'}); fallback (not given). "
        "Name the date in an index file (date_index), give a pattern for the file names (date_pattern), or set a "
        "fallback_date."
    )
    raise ValueError(msg)


def _some(keys: Iterable[str]) -> str:
    return ", ".join(list(keys)[:8]) or "no tags"


def _from_index(name: str, index: Mapping[str, date | list[date]] | None) -> date | None:
    path = Path(name)
    for key in dict.fromkeys((name, path.name, path.stem)):
        entry = (index or {}).get(key)
        if entry is None:
            continue
        days = entry if isinstance(entry, list) else [entry]
        if len(days) == 1:
            return days[0]
        msg = (
            f"The date index has {len(days)} dates for {key!r}; one file needs one. Give an entry per file, or read it "
            "as a series."
        )
        raise ValueError(msg)
    return None
