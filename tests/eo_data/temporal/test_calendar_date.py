"""A date that is a day off, or a number that is taken for a date, changes every embedding without an error."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from eo_data.temporal.calendar_date import calendar_date, day_of_year, ordinal_date, parse_date


@pytest.mark.parametrize(("year", "length"), [(2020, 366), (2021, 365)])
def test_every_day_of_a_leap_and_a_common_year(year: int, length: int) -> None:
    lengths = [31, 29 if length == 366 else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    expected = 0
    for month, days in enumerate(lengths, start=1):
        for day in range(1, days + 1):
            assert day_of_year(date(year, month, day)) == min(expected, 364)
            expected += 1
    assert expected == length


def test_31_december_of_a_leap_year_is_364_not_365() -> None:
    assert [day_of_year(date(2020, 12, day)) for day in (29, 30, 31)] == [363, 364, 364]
    assert day_of_year(date(2020, 2, 29)) == 59
    assert day_of_year(date(2021, 3, 1)) == 59


@pytest.mark.parametrize(
    "value",
    [
        *("2020-02-29", "20200229", "2020/02/29", "2020:02:29 10:00:08", " 2020-02-29 ", "29-FEB-2020"),
        *("2020-02-29T10:15:00Z", "2020-02-29T10:15:00.123456789Z", "2020-02-29 10:15:00.5", "20200229T101500"),
        *("2020-02-29T10:15:00+02:00", "29-Feb-2020 11:03:43.370178"),
        *(date(2020, 2, 29), datetime(2020, 2, 29, 23, 59), datetime(2020, 2, 29, tzinfo=UTC)),
        *(np.datetime64("2020-02-29"), np.datetime64("2020-02-29T23:59:59.999999999"), np.str_("2020-02-29")),
        *(np.array("2020-02-29T12", dtype="datetime64[ns]"), pd.Timestamp("2020-02-29 12:00", tz="UTC")),
    ],
)
def test_every_spelling_is_the_same_calendar_date(value: object) -> None:
    found = parse_date(value)
    assert found == date(2020, 2, 29)
    assert type(found) is date


def test_a_time_with_an_offset_is_dated_in_utc() -> None:
    assert parse_date("2020-01-01T00:30:00+02:00") == date(2019, 12, 31)
    assert parse_date("2019-12-31T23:30:00-01:00") == date(2020, 1, 1)
    assert parse_date(datetime(2020, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))) == date(2019, 12, 31)
    assert parse_date(pd.Timestamp("2020-01-01 00:30", tz="Europe/Berlin")) == date(2019, 12, 31)


@pytest.mark.parametrize("value", [182, 0, 20200601, 182.0, np.int64(182), np.float32(3), True])
def test_a_number_is_never_a_date(value: object) -> None:
    with pytest.raises(ValueError, match="Expected a calendar date.*day of year"):
        parse_date(value)


@pytest.mark.parametrize(
    "value",
    [
        *("182", "", "2020", "2020-06", "2020-123", "2020-W10-1", "01/06/2020", "06-01-2020", "2020-06-1"),
        *("00000000", "0000-00-00", "2021-02-29", "20201301", "2020-0601", "2020-06-01T25:00:00", "2020-06-01Tx"),
        *("31-FEB-2020", "01-XYZ-2020", "NaT", None, pd.NaT, np.datetime64("NaT"), np.datetime64("NaT", "ns")),
        *(np.datetime64("2020"), np.datetime64("2020-06"), np.timedelta64(5, "D"), [date(2020, 1, 1)]),
    ],
)
def test_what_is_no_single_day_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="Expected a calendar date such as '2020-06-01'"):
        parse_date(value)


@pytest.mark.parametrize("value", ["1970-01-01", "0001-01-01", "2101-01-01", date(1900, 1, 1), np.datetime64(0, "s")])
def test_a_placeholder_year_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="years 1972..2100"):
        parse_date(value)


def test_the_first_and_the_last_year_are_in() -> None:
    assert parse_date("1972-01-01") == date(1972, 1, 1)
    assert parse_date("2100-12-31") == date(2100, 12, 31)


def test_day_of_year_of_file_names_counts_from_one() -> None:
    assert ordinal_date(2023, 123) == date(2023, 5, 3)
    assert ordinal_date(2020, 366) == date(2020, 12, 31)
    assert ordinal_date(2021, 366) is None
    assert ordinal_date(2021, 0) is None
    assert ordinal_date(1900, 1) is None
    assert calendar_date(2021, 2, 29) is None
    assert calendar_date(1900, 1, 1) is None
