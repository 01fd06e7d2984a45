"""A file of dates gives every name its own date, or says which entry is wrong."""

from __future__ import annotations

import json
import unicodedata
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from eo_data.catalog import sources
from eo_data.catalog.date_index import dates_from_index, dates_of_samples
from eo_data.catalog.hrefs import Href
from eo_data.catalog.known.tables import KNOWN_DATES
from eo_data.catalog.records import Record
from eo_data.catalog.sources import ImageSource
from eo_data.readers.formats.file_raster import FileRaster
from eo_data.readers.frame_dates import FrameDates
from eo_data.sensors.tables import SENSORS, Band, Sensor

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


# GeoJSON and known data sets

RADAR = Sensor("Some radar", (Band("HH", 10, "dB"), Band("HV", 10, "dB")))


def _features(*features: dict[str, object]) -> str:
    return json.dumps({"type": "FeatureCollection", "features": list(features)})


@pytest.mark.parametrize("name", ["dates.geojson", "dates.json"])
def test_a_geojson_dates_its_features_by_name(tmp_path: Path, name: str) -> None:
    """Once, any geojson was taken for the events of Sen1Floods11."""
    path = tmp_path / name
    path.write_text(
        _features(
            {"type": "Feature", "id": "0", "properties": {"chip": "a", "date": "2020-02-29"}},
            {"type": "Feature", "id": "1", "properties": {"chip": "b", "date": ["2020-03-01", "2020-02-29"]}},
        )
    )
    found = dates_of_samples(ImageSource("x.tif", ["B2"], date_index=name), tmp_path, ["a", "b"])
    assert found == {"a": LEAP_DAY, "b": [date(2020, 3, 1), LEAP_DAY]}
    path.write_text(_features({"type": "Feature", "id": "a", "properties": {"datetime": "2020-02-29T10:00:00Z"}}))
    assert dates_from_index(path) == {"a": LEAP_DAY}
    path.write_text(_features({"type": "Feature", "properties": {"place": "a", "date": "2020-02-29"}}))
    with pytest.raises(ValueError, match="needs a column for the name.*got place, date"):
        dates_from_index(path)
    path.write_text(_features({"id": "a", "properties": {"date": "2020-02-29"}}, {"properties": None}))
    with pytest.raises(ValueError, match="no usable date for 'None'"):
        dates_from_index(path)
    path.write_text(_features())
    with pytest.raises(ValueError, match="holds no dates"):
        dates_from_index(path)


@pytest.mark.parametrize("name", ["events.geojson", "events.json"])
@pytest.mark.parametrize(("sensor", "day"), [("radar", 17), ("sentinel1", 17), ("sentinel2_l1c", 18), (None, 18)])
def test_events_are_known_by_their_columns_and_a_radar_by_its_bands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, sensor: str | None, day: int
) -> None:
    monkeypatch.setattr(sources, "SENSORS", SENSORS | {"radar": RADAR})
    event = {"location": "Spain", "s1_date": "2019/09/17", "s2_date": "2019/09/18"}
    (tmp_path / name).write_text(_features({"type": "Feature", "properties": event}))
    source = ImageSource("x.tif", ["HH"], sensor=sensor, date_index=name)
    assert dates_of_samples(source, tmp_path, ["Spain_1"], known_forms=KNOWN_DATES) == {"Spain_1": date(2019, 9, day)}
    with pytest.raises(ValueError, match="The chip 'Peru_1' belongs to no known event"):
        dates_of_samples(source, tmp_path, ["Peru_1"], known_forms=KNOWN_DATES)
    assert dates_of_samples(source, tmp_path, ["Peru_1"], known_forms=KNOWN_DATES, skip_unknown=True) == {}


def test_without_a_date_index_there_are_no_dates_and_a_missing_one_is_named(tmp_path: Path) -> None:
    assert dates_of_samples(ImageSource("x.tif", ["B2"]), tmp_path, ["a"]) == {}
    with pytest.raises(ValueError, match="none.geojson' does not exist or is no file.*set date_index: null and"):
        dates_of_samples(ImageSource("x.tif", ["B2"], date_index="none.geojson"), tmp_path, ["a"])


def test_names_are_compared_in_one_spelling_and_two_spellings_are_no_series(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Köln") for form in ("NFC", "NFD"))
    path = tmp_path / "dates.csv"
    path.write_text(f"id,date\n{decomposed},2020-02-29\n", encoding="utf-8")
    assert dates_from_index(path) == {composed: LEAP_DAY}
    path.write_text(f"id,date\n{decomposed},2020-02-29\n{composed},2020-03-01\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"in two spellings of Unicode .*'Ko\\u0308ln', 'K\\xf6ln'"):
        dates_from_index(path)


def test_a_file_of_macos_finds_its_date(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Köln") for form in ("NFC", "NFD"))
    (tmp_path / "dates.json").write_text(json.dumps({f"{composed}.tif": "2020-02-29"}))
    source = ImageSource("{id}/*.tif", ["B2"], sensor="sentinel2_l2a", dated=True, date_index="dates.json")
    index = dates_of_samples(source, tmp_path, ["x"])
    record = Record("x", {"S2": (Href(f"{tmp_path}/x/{decomposed}.tif"),)})
    reading = FileRaster(np.zeros((1, 2, 2), np.float32), None, None)
    (found,) = FrameDates("S2", source, index, tmp_path).find(record, [reading], 1)
    assert found.date == LEAP_DAY
