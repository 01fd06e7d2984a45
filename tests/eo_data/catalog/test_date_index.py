"""A file of dates gives every name its own date, or says which entry is wrong."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from eo_data.catalog.date_index import dates_from_index

LEAP_DAY = date(2020, 2, 29)


def test_index_as_json(tmp_path: Path) -> None:
    path = tmp_path / "dates.json"
    path.write_text('{"a": "2020-02-29", "b": ["2020-02-29", "20200301T101500"], "c": ["2020-02-29"]}')
    series = [LEAP_DAY, date(2020, 3, 1)]
    assert dates_from_index(path) == {"a": LEAP_DAY, "b": series, "c": [LEAP_DAY]}
    path.write_text('["2020-02-29", "2020-03-01"]')
    assert dates_from_index(path) == {"dates": series}
    path.write_text('[{"id": "a", "datetime": "2020-02-29"}, {"id": "b", "datetime": "2020-03-01"}]')
    assert dates_from_index(path) == {"a": LEAP_DAY, "b": date(2020, 3, 1)}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_index_as_csv_keeps_all_dates_of_a_name(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "dates.csv"
    rows = [("Filename", "label", "Date"), ("b", "1", "2020-03-01"), ("a", "0", "20200229"), ("b", "1", "2020-02-29")]
    path.write_text("\ufeff" + "\r\n".join(separator.join(row) for row in rows))
    assert dates_from_index(str(path)) == {"a": LEAP_DAY, "b": [date(2020, 3, 1), LEAP_DAY]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.json", '{"a": 60}', "no usable date for 'a'.*day of year"),
        ("d.json", '{"a": ["2020-02-29", null]}', "no usable date for 'a'"),
        ("d.json", '{"a": "2020', "cannot be read"),
        ("d.json", "{}", "holds no dates"),
        ("d.json", "[]", "holds no dates"),
        ("d.json", '"2020-02-29"', "holds no dates"),
        ("d.json", '[{"chip_number": 1, "date": "2020-02-29"}]', "needs a column for the name.*got chip_number, date"),
        ("d.csv", "id,day\na,2020-02-29\n", "one for the date.*got id, day"),
        ("d.csv", "id,date\na,\n", "no usable date for 'a'"),
        ("d.csv", "id,date\na\n", "no usable date for 'a'"),
        ("d.csv", "id,date\n", "holds no dates"),
        ("d.csv", "", "holds no dates"),
        ("d.csv", b"id,date\n\xff,2020-02-29\n", "cannot be read.*UTF-8"),
    ],
)
def test_a_broken_index_is_refused(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        dates_from_index(path)


def test_a_missing_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist or is no file"):
        dates_from_index(tmp_path / "none.csv")
