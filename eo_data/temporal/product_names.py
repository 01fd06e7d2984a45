"""Acquisition dates in product and file names.

Many names carry two dates, of the acquisition and of the processing. Known product families say which is which; a name
of no known family must hold one date only.

Sources: naming conventions of ESA (Sentinel SAFE; Sentinel-2 compact and before 2016-12), USGS (Landsat Collection and
older scene ids), NASA (HLS, MODIS and VIIRS with year and day of year; OPERA) and the image ids of Google Earth Engine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime

from eo_data.temporal.calendar_date import FIRST_YEAR, LAST_YEAR, calendar_date, ordinal_date

_DAY = r"(?P<date>\d{8})"
_ORDINAL = r"(?P<year>\d{4})(?P<doy>\d{3})"
_CLOCK = r"(?:[01]\d|2[0-3])[0-5]\d[0-6]\d"
_START = r"(?<![A-Z0-9])"

#: Families whose names may hold several dates. The group is the (start of the) acquisition.
_FAMILIES: tuple[re.Pattern[str], ...] = tuple(
    re.compile(_START + pattern, re.IGNORECASE)
    for pattern in (
        # S2A_MSIL1C_<sensing>_N0213_R108_T32UNC_<processing>
        rf"S2[A-D]_MSIL\d[A-Z]_{_DAY}T\d{{6}}",
        # S2A_OPER_PRD_MSIL1C_PDMC_<processing>_R022_V<sensing start>_<sensing stop>, and its metadata: MTD_SAFL1C
        rf"S2[A-D]_\w{{4}}_(?:PRD_MSI|MTD_SAF)L\d[A-Z]_\w+?_V{_DAY}T\d{{6}}",
        # Earth Engine, Sentinel-2: <sensing>_<processing or granule time>_T32UNC
        rf"{_DAY}T\d{{6}}_\d{{8}}T\d{{6}}_T\d{{2}}[A-Z]{{3}}",
        # S1A_IW_GRDH_1SDV_<start>_<stop>_..., and with '-' for the measurement files inside
        rf"S1[A-D][_-][A-Z0-9]{{2}}[_-][A-Z0-9_-]*?{_DAY}T\d{{6}}[_-]\d{{8}}T\d{{6}}",
        # S3A_OL_1_EFR____<start>_<stop>_<processing>_...
        rf"S3[A-D]_[A-Z]{{2}}_\d_[A-Z0-9_]*?{_DAY}T\d{{6}}_\d{{8}}T\d{{6}}",
        # LC08_L1TP_<path row>_<acquisition>_<processing>_01_T1; the ARD tiles have a region in place of the level
        rf"L[CEMOT]\d{{2}}_[A-Z0-9]{{2,4}}_\d{{6}}_{_DAY}",
        # LC81950252013188LGN00: path, row, year, day of year
        rf"L[CEMOT]\d{{7}}{_ORDINAL}[A-Z]{{3}}\d{{2}}",
        # HLS.S30.T18TYN.<year and day of year>T154911.v2.0
        rf"HLS[._][SL]30[._]T\d{{2}}[A-Z]{{3}}[._]{_ORDINAL}",
        # MOD13Q1.A<year and day of year>.h18v04.061.<processing>
        rf"(?:M[COY]D|VNP|VJ\d)\w*\.A{_ORDINAL}\.",
        # OPERA_L2_RTC-S1_<burst>_<acquisition>Z_<processing>Z
        rf"OPERA_L\d_[A-Z0-9-]+_[A-Z0-9-]+_{_DAY}T\d{{6}}Z",
    )
)

#: A Sentinel-2 granule of before 2016-12: its only date is that of the processing.
_UNDATED = re.compile(_START + r"S2[A-D]_\w{4}_MSI_L\d[A-Z]_[A-Z]{2}_\w{4}_\d{8}T\d{6}_A\d{6}", re.IGNORECASE)

#: What counts as a date in any other name. Seven bare digits do not: they are as likely a chip number.
_PLAIN: tuple[re.Pattern[str], ...] = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?<!\d){_DAY}(?:{_CLOCK})?(?!\d)",
        r"(?<!\d)(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})(?!\d)",
        rf"(?<!\d){_ORDINAL}{_CLOCK}(?!\d)",
        rf"{_START}A{_ORDINAL}(?!\d)",
        rf"{_START}DOY{_ORDINAL}(?!\d)",
    )
)

_USER_DATE = re.compile(r"(\d{4})[-/_.]?(\d{2})[-/_.]?(\d{2})(?:[T ].*)?")
_USER_GROUPS = "(?P<date>...), or (?P<year>...)(?P<month>...)(?P<day>...), or (?P<year>...)(?P<doy>...)"


def date_from_name(name: str, pattern: str | None = None, *, date_format: str | None = None) -> date | None:
    r"""Return the acquisition date in a product or file name.

    Parameters
    ----------
    name : str
        Name or path. Without ``pattern`` only the last part of a path is read: a folder may be named after the day of
        the download.
    pattern : str, optional
        Regular expression, searched in the whole of ``name``, with a group ``date``, or ``year``, ``month`` and
        ``day``, or ``year`` and ``doy`` (counted from 1). Example: ``r"_(?P<year>\d{4})_(?P<doy>\d{3})_"``.
    date_format : str, optional
        ``strptime`` format of the group ``date``. By default year, month, day, with or without a separator.

    Returns
    -------
    datetime.date or None
        ``None`` if the name holds no date or the pattern does not match. Of a product with a start and a stop it is
        the start.

    Raises
    ------
    ValueError
        If the name holds several dates and is of no known family, if a known product or the pattern gives an impossible
        date, or if the pattern is not valid.
    """
    if pattern is not None:
        return _by_pattern(name, pattern, date_format)
    if date_format is not None:
        msg = f"date_format {date_format!r} needs a `pattern` with a group (?P<date>...)."
        raise ValueError(msg)
    last = re.split(r"[\\/]", name.rstrip("\\/"))[-1]
    if _UNDATED.search(last):
        return None
    of_family = [match for family in _FAMILIES for match in family.finditer(last)]
    found = {_of_product(match, last) for match in of_family}
    if not found:
        plain = (_from_groups(match.groupdict()) for regex in _PLAIN for match in regex.finditer(last))
        found = {day for day in plain if day is not None}
    if len(found) > 1:
        msg = (
            f"The name {last!r} holds several dates ({', '.join(day.isoformat() for day in sorted(found))}) and is of "
            f"no product family that says which is the acquisition. Give a `pattern` with {_USER_GROUPS}, or an index "
            "file."
        )
        raise ValueError(msg)
    return next(iter(found), None)


def _of_product(match: re.Match[str], name: str) -> date:
    day = _from_groups(match.groupdict())
    if day is None:
        msg = (
            f"The product name {name!r} holds an impossible date in {match.group()!r}: expected a calendar day of the "
            f"years {FIRST_YEAR}..{LAST_YEAR}. Correct the name, or give the date in an index file."
        )
        raise ValueError(msg)
    return day


def _by_pattern(name: str, pattern: str, date_format: str | None) -> date | None:
    match = _compiled(pattern, date_format).search(name)
    groups = match.groupdict() if match else {}
    if match is None or all(text is None for text in groups.values()):
        return None
    day = _from_groups(groups, date_format)
    if day is None:
        given = ", ".join(f"{key}={text!r}" for key, text in groups.items())
        how = f" in the format {date_format!r}" if date_format else ""
        msg = (
            f"The pattern {pattern!r} finds {given} in {name!r}, which is no calendar day of the years "
            f"{FIRST_YEAR}..{LAST_YEAR}{how}. Correct the pattern or its date_format."
        )
        raise ValueError(msg)
    return day


def _compiled(pattern: str, date_format: str | None) -> re.Pattern[str]:
    try:
        regex = re.compile(pattern)
    except re.error as error:
        msg = f"The date pattern {pattern!r} is no valid regular expression: {error}."
        raise ValueError(msg) from error
    groups = set(regex.groupindex)
    if "date" not in groups and not {"year", "doy"} <= groups and not {"year", "month", "day"} <= groups:
        msg = f"The date pattern {pattern!r} needs the named groups {_USER_GROUPS}; it has {sorted(groups) or 'none'}."
        raise ValueError(msg)
    if date_format is not None and "date" not in groups:
        msg = f"date_format {date_format!r} needs a group (?P<date>...) in the pattern, got {pattern!r}."
        raise ValueError(msg)
    return regex


def _from_groups(groups: Mapping[str, str | None], date_format: str | None = None) -> date | None:
    """Return the date that named groups spell, or ``None`` if they spell none."""
    text = groups.get("date")
    if text is not None and date_format is not None:
        try:
            day = datetime.strptime(text, date_format).date()
        except ValueError:
            return None
        return calendar_date(day.year, day.month, day.day)
    if text is not None:
        parts = _USER_DATE.fullmatch(text)
        return calendar_date(*map(int, parts.groups())) if parts else None
    numbers = {key: int(value) for key, value in groups.items() if value is not None and value.isdecimal()}
    if {"year", "month", "day"} <= numbers.keys():
        return calendar_date(numbers["year"], numbers["month"], numbers["day"])
    if {"year", "doy"} <= numbers.keys():
        return ordinal_date(numbers["year"], numbers["doy"])
    return None
