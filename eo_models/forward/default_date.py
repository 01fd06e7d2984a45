"""The day that samples without dates get."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from eo_core.arguments import as_int, from_text


def days_of(default_date: object) -> object:
    """Turn the dates of an argument ``default_date`` into days of the year, 1 January = 0.

    Parameters
    ----------
    default_date : int, str, date, mapping, or None
        Day of the year 0..365, a date ``YYYY-MM-DD``, or one of these by modality.

    Returns
    -------
    int, dict of str to int, or None

    Raises
    ------
    ValueError
        For anything else.
    """
    given = from_text(default_date)
    if isinstance(given, Mapping):
        return {str(name): days_of(value) for name, value in given.items()}
    if isinstance(given, str):
        try:
            given = datetime.date.fromisoformat(given)
        except ValueError as error:
            msg = f"default_date must be a day of the year 0..365 or a date YYYY-MM-DD, got {default_date!r}."
            raise ValueError(msg) from error
    if isinstance(given, datetime.date):
        # 31 December is day 364 in leap years too, as in the project's calendar.
        return min(given.timetuple().tm_yday - 1, 364)
    if given is None:
        return None
    day = as_int("default_date", given)
    if not 0 <= day <= 365:
        msg = f"default_date must be a day of the year 0..365 (1 January = 0) or a date YYYY-MM-DD, got {given!r}."
        raise ValueError(msg)
    return day
