"""Names with two dates: the processing date must never pass for the acquisition, nor a chip number for a date."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import h5py
import pytest

from eo_data.temporal.product_names import date_from_name

REAL_NAMES = {
    # The date at the end is that of the processing.
    "S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531": date(2019, 6, 29),
    "S2A_MSIL1C_20160824T100032_N0204_R122_T33TWM_20160825T012345.SAFE": date(2016, 8, 24),
    "S2A_OPER_PRD_MSIL1C_PDMC_20150902T031127_R022_V20150710T100016_20150710T100016.SAFE": date(2015, 7, 10),
    "S2A_OPER_MTD_SAFL1C_PDMC_20150902T031127_R022_V20150710T100016_20150710T100016.xml": date(2015, 7, 10),
    "20151128T002653_20151129T102149_T56MNN": date(2015, 11, 28),
    "T33TWM_20160824T100032_B02.jp2": date(2016, 8, 24),
    "L1C_T32UNC_A023666_20200102T102421": date(2020, 1, 2),
    "SENTINEL2A_20160417-105817-480_L2A_T31TCJ_D_V1-0": date(2016, 4, 17),
    # Start and stop on both sides of midnight.
    "S1A_IW_GRDH_1SDV_20200131T235955_20200201T000020_030639_0382D5_360A.SAFE": date(2020, 1, 31),
    "s1a-iw-grd-vv-20200131t235955-20200201t000020-030639-0382d5-001.tiff": date(2020, 1, 31),
    "S1A__IW___A_20150309T173017_VV_grd_mli_geo_norm_db.tif": date(2015, 3, 9),
    "S1A_IW_GRDH_1SDV_20170613T165043_33UUP_61_39": date(2017, 6, 13),
    "OPERA_L2_RTC-S1_T069-147170-IW1_20230101T015035Z_20230103T120000Z_S1A_30_v1.0": date(2023, 1, 1),
    # Start, stop, processing.
    "S3A_SL_1_RBT____20170313T110343_20170313T110643_20181003T100000_0179_015_208_2340_LR2_R_NT_003.SEN3": date(
        2017, 3, 13
    ),
    "S3A_OL_1_EFR____20170414T102729_20170414T103029_20170415T150000_0179_016_279_1980_LN1_O_NT_002": date(2017, 4, 14),
    "S3B_OL_2_LFR_20240324T174025_20240324T174325_0180_091_112_3060": date(2024, 3, 24),
    # Acquisition, processing.
    "LC08_L1TP_195025_20130707_20170503_01_T1_B10.TIF": date(2013, 7, 7),
    "LC08_L2SP_028030_20200114_20200824_02_T1_SR": date(2020, 1, 14),
    "LE07_L2SP_044033_20210329_20210424_02_T1_SR": date(2021, 3, 29),
    "LC08_CU_003010_20200114_20200824_C02_V01_SR": date(2020, 1, 14),
    "LC08_L2SP_028030_20200114_02_T1": date(2020, 1, 14),
    # Day of year: 188 is 7 July 2013, 123 is 3 May 2023, 2 May 2020 in a leap year.
    "LC81950252013188LGN00": date(2013, 7, 7),
    "HLS.S30.T18TYN.2023123T154911.v2.0.B02.tif": date(2023, 5, 3),
    "subsetted_512x512_HLS.S30.T10SEH.2018190.v1.4_merged.tif": date(2018, 7, 9),
    "MOD13Q1.A2020123.h18v04.061.2020145030521.hdf": date(2020, 5, 2),
    "VNP09GA.A2020123.h18v04.001.2020124093042.h5": date(2020, 5, 2),
    "MOD13Q1.006__250m_16_days_NDVI_doy2020123_aid0001.tif": date(2020, 5, 2),
    "A2020366.L2_LAC_OC.nc": date(2020, 12, 31),
    "O_L2_0001_SNS_2017104102450_v1.0.nc": date(2017, 4, 14),
    # Plain.
    "S2L1C_20150711T100008.tif": date(2015, 7, 11),
    "chip_0017_2020-02-29_s2.tif": date(2020, 2, 29),
    "20200229.tif": date(2020, 2, 29),
    "scene20200229103000.tif": date(2020, 2, 29),
    "20200229_20200229_tile.tif": date(2020, 2, 29),
}


@pytest.mark.parametrize("name", list(REAL_NAMES))
def test_the_acquisition_is_read_from_real_names(name: str) -> None:
    assert date_from_name(name) == REAL_NAMES[name]
    assert date_from_name(f"/data/2001-01-01/{name}") == REAL_NAMES[name]
    assert date_from_name(f"C:\\data\\20010101\\{name}\\") == REAL_NAMES[name]


@pytest.mark.parametrize(
    "name",
    [
        *("282D_485L_3_3.tif", "38D_378R_2_3", "L7_ETMs.tif", "Abies_alba_1_1005_WEFL_NLF.h5", "B02.tif", "", "/"),
        # Chip numbers, also those that look like a year and a day of year or a day that does not exist.
        *("Spain_7370579_S2Hand.tif", "Mekong_2010123", "tile_20201345", "tile_19000101", "tile_123456789012"),
        *("tile_2021366120000", "A2021366", "tile_20200229999999", "tile_2020_02_29"),
        # Its only date is that of the processing.
        "S2A_OPER_MSI_L1C_TL_SGS__20150712T153003_A000263_T33TWM_N01.03",
        # A folder may be named after the day of the download.
        "/data/2020-02-29/B02.tif",
    ],
)
def test_digits_that_are_no_date_give_none(name: str) -> None:
    assert date_from_name(name) is None


@pytest.mark.parametrize("name", ["change_20200101_20200601.tif", "2020-01-01--2020-06-01", "20200101_doy2020002"])
def test_two_dates_without_a_known_family_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="several dates \\(2020-01-01, 2020-0.*Give a `pattern`"):
        date_from_name(name)


def test_two_products_in_one_name_are_refused() -> None:
    both = "S2A_MSIL1C_20160824T100032_N0204_S2A_MSIL1C_20160903T100032_N0204"
    with pytest.raises(ValueError, match="2016-08-24, 2016-09-03"):
        date_from_name(both)


@pytest.mark.parametrize("name", ["S2A_MSIL1C_20161324T100032_N0204", "HLS.S30.T18TYN.2023366T154911.v2.0"])
def test_a_product_with_an_impossible_date_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="impossible date"):
        date_from_name(name)


@pytest.mark.parametrize(
    ("pattern", "date_format", "name"),
    [
        (r"_(?P<date>\d{8})_p", None, "a_20200229_p20201231.tif"),
        (r"(?P<date>\d{4}_\d{2}_\d{2})", None, "tile_2020_02_29.tif"),
        (r"(?P<date>\d{6})\.tif", "%d%m%y", "tile_290220.tif"),
        (r"(?P<date>\d{2}[A-Z]{3}\d{2})", "%y%b%d", "20FEB29100008-M2AS.tif"),
        (r"/(?P<year>\d{4})/(?P<month>\d+)/(?P<day>\d+)/", None, "/s2/2020/2/29/B02.tif"),
        (r"(?P<year>\d{4})_(?P<doy>\d{3})", None, "tile_2020_060.tif"),
    ],
)
def test_a_pattern_reads_any_other_name(pattern: str, date_format: str | None, name: str) -> None:
    assert date_from_name(name, pattern, date_format=date_format) == date(2020, 2, 29)


def test_a_pattern_that_does_not_match_gives_none() -> None:
    assert date_from_name("20200229.tif", r"_(?P<date>\d{8})_") is None
    assert date_from_name("tile.tif", r"tile(?P<date>_\d{8})?") is None


@pytest.mark.parametrize("pattern", [r"(?P<date>\d{8}", "[", r"(?P<date>\d)(?P<date>\d)"])
def test_an_invalid_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="no valid regular expression"):
        date_from_name("20200229", pattern)


@pytest.mark.parametrize("pattern", [r"\d{8}", r"(\d{8})", r"(?P<year>\d{4})", r"(?P<year>\d{4})(?P<month>\d\d)"])
def test_a_pattern_without_the_named_groups_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="needs the named groups"):
        date_from_name("20200229", pattern)


@pytest.mark.parametrize(
    ("pattern", "date_format"),
    [
        (r"(?P<date>\d{8})", None),
        (r"(?P<date>2020)", None),
        (r"(?P<date>\d{8})", "%Q"),
        (r"(?P<date>\d{8})", "%Y%j"),
        (r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)", None),
        (r"20(?P<year>\d\d)(?P<doy>\d\d)", None),
        (r"(?P<year>\d{4})(?P<month>x)?(?P<day>\d\d)", None),
    ],
)
def test_a_pattern_that_finds_no_day_is_refused(pattern: str, date_format: str | None) -> None:
    with pytest.raises(ValueError, match="which is no calendar day"):
        date_from_name("20201345", pattern, date_format=date_format)


def test_a_format_without_its_group_is_refused() -> None:
    with pytest.raises(ValueError, match="date_format '%Y' needs a `pattern`"):
        date_from_name("20200229", date_format="%Y")
    with pytest.raises(ValueError, match="date_format '%Y' needs a group"):
        date_from_name("20200229", r"(?P<year>\d{4})(?P<doy>\d{3})", date_format="%Y")


def test_the_names_of_the_real_data(shared: Path) -> None:
    data = shared / "data"
    landsat = list((data / "landsat/LC08_L1TP_195025_20130707").iterdir())
    assert len(landsat) == 11
    assert {date_from_name(str(path)) for path in landsat} == {date(2013, 7, 7)}
    assert date_from_name(str(landsat[0].parent)) == date(2013, 7, 7)
    radar = next((data / "s1_pyrosar").iterdir())
    assert date_from_name(radar.name) == date(2015, 3, 9)
    olci = {path.name: date_from_name(path.name) for path in (data / "s3_olci").glob("*_*[cf]")}
    assert olci == dict.fromkeys(olci, date(2017, 4, 14))
    assert len(olci) == 2
    for path in (*(data / "terramesh").rglob("*.tif"), *(data / "sen1floods11_v1.1").rglob("*.tif")):
        assert date_from_name(path.name) is None


def test_the_product_names_inside_the_treesatai_sample(shared: Path) -> None:
    with h5py.File(shared / "data/treesatai_anysat/Abies_alba_1_1005_WEFL_NLF.h5") as file:
        names = {key: [name.decode() for name in file[key][()]] for key in file if key.endswith("products")}
    assert {key: len(value) for key, value in names.items()} == {
        "sen-1-asc-products": 60,
        "sen-1-des-products": 86,
        "sen-2-products": 146,
    }
    for key, products in names.items():
        field = 2 if key == "sen-2-products" else 4
        for product in products:
            text = product.split("_")[field]
            expected = date(int(text[:4]), int(text[4:6]), int(text[6:8]))
            assert date_from_name(product) == expected
            assert expected.year == 2020
