"""The calendar date: the one type that dates have inside the layer, and the day of year that the encoders get."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, timedelta

import numpy as np

#: Landsat 1, the first civil imager, was launched in 1972. What lies outside these years is a misread number.
FIRST_YEAR = 1972
LAST_YEAR = 2100

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_YEAR_FIRST = re.compile(r"(\d{4})([-/:]?)(\d{2})\2(\d{2})(?:[T ](.+))?")
_MONTH_NAME = re.compile(r"(\d{2})-([A-Z]{3})-(\d{4})(?: (.+))?", re.IGNORECASE)


def day_of_year(day: date) -> int:
    """Return the day of year as the encoders count it.

    Parameters
    ----------
    day : datetime.date
        Calendar date.

    Returns
    -------
    int
        0..364; 1 January is 0, and 31 December is 364 in a leap year too (which shares it with 30 December).
    """
    return min(day.timetuple().tm_yday - 1, 364)


def parse_date(value: object) -> date:
    """Return a calendar date, in UTC.

    Parameters
    ----------
    value : str, datetime.date, datetime.datetime, numpy.datetime64 or pandas.Timestamp
        Text has the year first (``2020-06-01``, ``20200601``, ``2020/06/01``, TIFF's ``2020:06:01``) or the month by
        name (``01-JUN-2020``), and may go on with a time, a fraction and an offset (``T23:30:00.5+02:00``). With an
        offset the date is the one in UTC; without one the time counts as UTC.

    Raises
    ------
    ValueError
        For numbers (a day of year, or seconds of an unknown epoch), NaT, a year or month without a day, dates that do
        not exist, and years outside 1972..2100.
    """
    return parse_instant(value).date()


def parse_instant(value: object) -> datetime:
    """Return what `parse_date` accepts as a time in UTC without a time zone; midnight where it has no time.

    Raises
    ------
    ValueError
        As `parse_date`.
    """
    plain = value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if isinstance(plain, np.datetime64) and np.datetime_data(plain)[0] not in ("Y", "M", "W", "generic"):
        plain = plain.astype("datetime64[us]").item()
    elif isinstance(plain, str):
        plain = _from_text(plain.strip())
    if isinstance(plain, date) and not isinstance(plain, datetime):
        plain = datetime(plain.year, plain.month, plain.day)
    # NaT of pandas is a datetime whose year is NaN.
    if not isinstance(plain, datetime) or math.isnan(plain.year):
        number = isinstance(value, int | float | np.number)
        why = " A number may be a day of year or seconds of some epoch; in YAML, quote '20200601'." if number else ""
        msg = (
            f"Expected a calendar date such as '2020-06-01', '20200601' or '2020-06-01T10:15:00Z', "
            f"got {value!r} ({type(value).__name__}).{why}"
        )
        raise ValueError(msg)
    if not FIRST_YEAR <= plain.year <= LAST_YEAR:
        msg = f"Expected a date of the years {FIRST_YEAR}..{LAST_YEAR}, got {value!r}. Is it a placeholder or misread?"
        raise ValueError(msg)
    return plain.astimezone(UTC).replace(tzinfo=None) if plain.tzinfo else plain


def date_text(value: str | date) -> str:
    """Return a date of a config as text: as it stands, or ISO where YAML made a date of it because it has no quotes.

    Raises
    ------
    ValueError
        As `parse_date`.
    """
    day = parse_date(value)
    return value if isinstance(value, str) else day.isoformat()


def _from_text(text: str) -> datetime | None:
    """Return the time that a text spells, or ``None``."""
    iso = None
    if match := _YEAR_FIRST.fullmatch(text):
        year, _, month, day, clock = match.groups()
        iso = f"{year}-{month}-{day}"
    elif (match := _MONTH_NAME.fullmatch(text)) and match[2].upper() in _MONTHS:
        day, name, year, clock = match.groups()
        iso = f"{year}-{_MONTHS.index(name.upper()) + 1:02d}-{day}"
    if iso is None:
        return None
    try:
        return datetime.fromisoformat(f"{iso}T{clock}" if clock else iso)
    except ValueError:
        return None


def calendar_date(year: int, month: int, day: int) -> date | None:
    """Return the date, or ``None`` if there is no such day in the years 1972..2100."""
    if not FIRST_YEAR <= year <= LAST_YEAR:
        return None
    try:
        return date(year, month, day)
    except ValueError:
        return None


def ordinal_date(year: int, day: int) -> date | None:
    """Return the date of a day of year that counts from 1 (as in HLS and MODIS names), or ``None``."""
    first = calendar_date(year, 1, 1)
    found = first + timedelta(days=day - 1) if first else None
    return found if found and found.year == year else None
