"""Each source of dates gives the acquisition, in the order that is documented, and a missing date is an error."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import rasterio

from eo_data.catalog.date_index import dates_from_index
from eo_data.temporal.calendar_date import day_of_year
from eo_data.temporal.dates import (
    ACQUISITION_TAGS,
    DateWithSource,
    date_from_stac,
    date_from_tags,
    dates_from_time_axis,
    resolve_date,
)
from eo_data.temporal.product_names import date_from_name

LEAP_DAY = date(2020, 2, 29)


@pytest.mark.parametrize("tag", ACQUISITION_TAGS)
def test_every_acquisition_tag_is_read_whatever_its_case(tag: str) -> None:
    for name in (tag, tag.lower()):
        assert date_from_tags({"AREA_OR_POINT": "Area", name: "2020-02-29T10:15:00.5Z"}) == LEAP_DAY


def test_the_time_of_writing_is_no_acquisition_unless_asked() -> None:
    tags = {"TIFFTAG_DATETIME": "2015:07:11 10:00:08"}
    assert date_from_tags(tags) is None
    assert date_from_tags(tags, allow_creation_time=True) == date(2015, 7, 11)
    both = {**tags, "SENSING_TIME": "2020-02-29T10:15:00Z"}
    assert date_from_tags(both, allow_creation_time=True) == LEAP_DAY


def test_an_empty_tag_does_not_hide_the_next() -> None:
    assert date_from_tags({"ACQUISITION_DATE": " ", "datetime": "2020-02-29"}) == LEAP_DAY
    assert date_from_tags({}) is None


def test_two_scenes_of_an_hls_tag_are_one_date_or_an_error() -> None:
    same = {"SENSING_TIME": "2020-02-29T15:28:36.6Z; 2020-02-29T15:29:00.5Z"}
    assert date_from_tags(same) == LEAP_DAY
    for text in ("2020-02-29T23:59:36Z; 2020-03-01T00:00:05Z", ";"):
        with pytest.raises(ValueError, match="tag SENSING_TIME must hold one date"):
            date_from_tags({"SENSING_TIME": text})


def test_a_tag_that_is_no_date_is_refused() -> None:
    with pytest.raises(ValueError, match="tag DATE_ACQUIRED is no date. Expected a calendar date.*'N/A'"):
        date_from_tags({"date_acquired": "N/A"})


def test_names_tags_and_index_of_the_eolearn_series_agree(shared: Path) -> None:
    folder = shared / "data/s2_l1c_timeseries_eolearn"
    files = sorted(folder.glob("S2L1C_*.tif"))
    expected = [date(2015, 7, 11), date(2015, 7, 31), date(2015, 8, 20), date(2015, 8, 30), date(2015, 9, 9)]
    assert [date_from_name(file.name) for file in files] == expected
    assert dates_from_index(folder / "dates.json") == {"dates": expected}
    for file, day in zip(files, expected, strict=True):
        with rasterio.open(file) as dataset:
            assert date_from_tags(dataset.tags()) == day
    # January to June 2015 have 181 days.
    assert [day_of_year(day) for day in expected] == [191, 211, 231, 241, 251]


def test_the_beam_attributes_of_the_olci_file(shared: Path) -> None:
    with h5py.File(shared / "data/s3_olci/O_L2_0001_SNS_2017104102450_v1.0.nc") as file:
        tags = {name: value.decode() for name, value in file.attrs.items() if isinstance(value, bytes)}
    assert tags["start_date"] == "14-APR-2017 10:27:29.454657"
    assert date_from_tags(tags) == date(2017, 4, 14)


@pytest.mark.parametrize(
    ("path", "day", "doy0"),
    [
        ("stac_items/LC08_L2SP_028030_20200114_20200824_02_T1_SR.json", date(2020, 1, 14), 13),
        ("stac_items/LE07_L2SP_044033_20210329_20210424_02_T1_SR.json", date(2021, 3, 29), 87),
        ("stac_items/S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531.json", date(2019, 6, 29), 179),
        ("s3_olci/stac_S3B_OL_2_LFR.json", date(2024, 3, 24), 83),
        ("s3_olci/stac_S3B_SL_2_LST.json", date(2024, 3, 24), 83),
    ],
)
def test_stac_items_and_their_ids_agree(shared: Path, path: str, day: date, doy0: int) -> None:
    item = json.loads((shared / "data" / path).read_text())
    assert date_from_stac(item) == day
    assert date_from_name(item["id"]) == day
    assert day_of_year(day) == doy0


def test_a_null_datetime_means_the_middle_of_start_and_end() -> None:
    month = {"datetime": None, "start_datetime": "2020-02-01T00:00:00Z", "end_datetime": "2020-02-29T23:59:59Z"}
    assert date_from_stac({"properties": month}) == date(2020, 2, 15)
    midnight = {"start_datetime": "2020-02-28T23:59:50Z", "end_datetime": "2020-02-29T00:00:20Z"}
    assert date_from_stac({"properties": midnight}) == LEAP_DAY


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        (None, "item 'x' has no date.*got properties none"),
        ({"datetime": None, "start_datetime": "2020-02-29"}, "has no date.*got properties datetime, start_datetime"),
        ({"start_datetime": "2020-03-01", "end_datetime": "2020-02-29"}, "before it starts"),
        ({"datetime": "soon"}, "Expected a calendar date"),
    ],
)
def test_a_stac_item_without_a_date_is_refused(properties: dict[str, str] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        date_from_stac({"id": "x", "properties": properties})


def test_the_time_axis_of_the_monthly_cube(shared: Path) -> None:
    with h5py.File(shared / "data/worldcereal_s1s2_monthly/worldcereal_preprocessed_inputs.nc") as file:
        values, units = file["t"][()], file["t"].attrs["units"].decode()
    assert units == "days since 1990-01-01"
    expected = [date(2020, 11, 1), date(2020, 12, 1), *(date(2021, month, 1) for month in range(1, 11))]
    assert dates_from_time_axis(values, units) == expected


def test_every_kind_of_time_axis() -> None:
    two = [LEAP_DAY, date(2020, 3, 1)]
    assert dates_from_time_axis(np.array(["2020-02-29T10", "2020-03-01T00"], dtype="datetime64[ns]"), None) == two
    assert dates_from_time_axis(np.array(["2020-02-29", "2020-03-01"]), None) == two
    assert dates_from_time_axis(np.array([b"2020-02-29", b"2020-03-01"]), None) == two
    assert dates_from_time_axis([datetime(2020, 2, 29, 10), date(2020, 3, 1)], None) == two
    assert dates_from_time_axis(pd.to_datetime(["2020-02-29", "2020-03-01"]), None) == two
    assert dates_from_time_axis(np.array([0.99, 1.0]), "days since 2020-02-29 00:00:00") == two
    assert dates_from_time_axis([1582934400, 1583020800], "seconds since 1970-01-01T00:00:00Z") == two


@pytest.mark.parametrize(
    ("values", "units", "message"),
    [
        ([59, 60], None, "needs its units"),
        ([59, 60], "metres", "are not units of time"),
        ([59, 60], "fortnights since 2020-01-01", "cannot be decoded"),
        ([1.0, np.nan], "days since 2020-01-01", "Expected a calendar date.*NaT"),
        ([59, 60], "days since 1900-01-01", "years 1972..2100"),
        ([[59], [60]], "days since 2020-01-01", "shape \\(T,\\)"),
    ],
)
def test_a_time_axis_that_cannot_be_read_is_refused(values: list[float], units: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dates_from_time_axis(values, units)


def test_sources_are_tried_in_order_and_the_source_is_kept() -> None:
    name = "/s2/tile_20200105.tif"
    all_sources = {
        "index": {"tile_20200105": date(2020, 1, 1)},
        "pattern": r"_20200(?P<date>\d{3})",
        "tags": {"datetime": "2020-01-04"},
        "fallback": "2020-01-05",
        "date_format": "%j",
    }
    assert resolve_date(name, **all_sources) == DateWithSource(date(2020, 1, 1), "index")
    all_sources.update(index={"other": date(2020, 1, 1)}, pattern=r"tile_2(?P<date>\d{7})", date_format="0%y0%d2")
    with pytest.raises(ValueError, match="no calendar day"):
        resolve_date(name, **all_sources)
    all_sources.update(pattern=r"tile_(?P<date>\d{8})", date_format="%Y%d%m")
    assert resolve_date(name, **all_sources) == DateWithSource(date(2020, 5, 1), "pattern")
    all_sources.update(pattern=r"chip_(?P<date>\d{8})")
    assert resolve_date(name, **all_sources) == DateWithSource(date(2020, 1, 5), "name")
    assert resolve_date("tile.tif", **all_sources) == DateWithSource(date(2020, 1, 4), "tags")
    assert resolve_date("tile.tif", tags={}, fallback="2020-01-05") == DateWithSource(date(2020, 1, 5), "fallback")
    assert resolve_date("tile.tif", fallback=date(2020, 1, 5)).source == "fallback"


@pytest.mark.parametrize("key", ["/s2/a.tif", "a.tif", "a"])
def test_the_index_is_asked_for_the_name_with_and_without_folder_and_suffix(key: str) -> None:
    assert resolve_date("/s2/a.tif", index={key: [LEAP_DAY]}) == DateWithSource(LEAP_DAY, "index")


def test_the_time_of_writing_must_be_allowed() -> None:
    tags = {"TIFFTAG_DATETIME": "2020:02:29 10:00:00"}
    assert resolve_date("a.tif", tags=tags, allow_creation_time=True) == DateWithSource(LEAP_DAY, "tags")
    with pytest.raises(ValueError, match="no acquisition date in: TIFFTAG_DATETIME"):
        resolve_date("a.tif", tags=tags)


def test_a_missing_date_names_all_that_was_tried_and_the_remedy() -> None:
    with pytest.raises(ValueError, match="'a.tif'.*index \\(not given\\); pattern.*set a fallback_date"):
        resolve_date("a.tif")
    with pytest.raises(ValueError, match="1 entries, none of this name.*'_x_\\(.*does not match.*in: no tags"):
        resolve_date("a.tif", index={"b": LEAP_DAY}, pattern=r"_x_(?P<date>\d{8})", tags={})


def test_an_ambiguous_name_is_not_settled_by_the_fallback() -> None:
    with pytest.raises(ValueError, match="several dates"):
        resolve_date("20200101_20200131.tif", fallback="2020-01-15")


def test_one_file_has_one_date() -> None:
    with pytest.raises(ValueError, match="2 dates for 'a'; one file needs one"):
        resolve_date("a.tif", index={"a": [LEAP_DAY, date(2020, 3, 1)]})


def test_a_fallback_that_is_no_date_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected a calendar date.*182"):
        resolve_date("a.tif", fallback=182)
