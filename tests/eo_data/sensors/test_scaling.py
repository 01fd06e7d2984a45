"""Scales of products: those of another product, level or band give reflectances and kelvins that look right."""

from __future__ import annotations

import math

import pytest

from eo_data.sensors.scaling import Scaling, assumed_scale, fill_number, product_scaling, scale_advice

LEVEL2 = "LC09_L2SP_193024_20220615_20230411_02_T1"
#: As USGS writes it: level 2 repeats the rescaling of level 1 in a group of its own, under the same keys.
MTL = {
    "LANDSAT_METADATA_FILE": {
        "PRODUCT_CONTENTS": {"LANDSAT_PRODUCT_ID": LEVEL2, "PROCESSING_LEVEL": "L2SP"},
        "IMAGE_ATTRIBUTES": {"SUN_ELEVATION": "30.0"},
        "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS": {
            "REFLECTANCE_MULT_BAND_2": "2.75e-05",
            "REFLECTANCE_ADD_BAND_2": "-0.2",
        },
        "LEVEL2_SURFACE_TEMPERATURE_PARAMETERS": {
            "TEMPERATURE_MULT_BAND_ST_B10": "0.00341802",
            "TEMPERATURE_ADD_BAND_ST_B10": "149.0",
        },
        "LEVEL1_PROCESSING_RECORD": {"LANDSAT_PRODUCT_ID": "LC09_L1TP_193024_20220615_20230411_02_T1"},
        "LEVEL1_RADIOMETRIC_RESCALING": {
            "REFLECTANCE_MULT_BAND_2": "2.0000E-05",
            "REFLECTANCE_ADD_BAND_2": "-0.100000",
        },
    }
}


def pair(sensor: str | None, band: str, name: str, metadata: dict[str, object] | None = None) -> tuple[float, float]:
    found = product_scaling(sensor, band, name, metadata or {})
    assert found is not None
    return found.scale, found.offset


@pytest.mark.parametrize(
    "name",
    [
        f"data/{LEVEL2}/{LEVEL2}_SR_B2.TIF",
        f"{LEVEL2}_stack.tif",
        f"{LEVEL2.lower()}_sr_b2.tif",
        "LC08_CU_003010_20210502_20210520_02_SR_B2.TIF",
        "LANDSAT/LC08/C02/T1_L2/LC08_193024_20220615",
        "a LC09_L1TP_193024_20220615_20230411_02_T1 folder/LC09_L2SP_193024_20220615_20230411_02_T1_SR_B2.TIF",
    ],
)
def test_level_2_of_landsat_has_its_own_scale_and_not_that_of_sentinel_2(name: str) -> None:
    # USGS: digital numbers 7273 and 43636 are reflectances of 0 and 1.
    for sensor in ("landsat8", None):
        scale, offset = pair(sensor, "BLUE", name)
        assert (7273 * scale + offset, 43636 * scale + offset) == pytest.approx((0, 1), abs=2e-5)


def test_temperatures_of_level_2_are_kelvin() -> None:
    # USGS: 65535 is 373.0 K, and a surface of 300 K has the number 44178.
    for metadata in ({}, MTL):
        scale, offset = pair("landsat8", "THERMAL_INFRARED_1", f"{LEVEL2}_ST_B10.TIF", metadata)
        assert 65535 * scale + offset == pytest.approx(373.0, abs=0.01)
        assert 44178 * scale + offset == pytest.approx(300, abs=0.01)
    scale, offset = pair("landsat7", "THERMAL_INFRARED_1", "LE07_L2SP_044033_20210329_20210424_02_T1_ST_B6.TIF")
    assert (scale, offset) == (0.00341802, 149.0)


def test_level_2_is_not_scaled_by_the_factors_of_level_1_that_its_metadata_repeat() -> None:
    for name in (f"{LEVEL2}_SR_B2.TIF", "x.tif"):
        assert pair("landsat8", "BLUE", name, MTL) == (2.75e-5, -0.2)
    flat = {"LEVEL2_SURFACE_REFLECTANCE_PARAMETERS.REFLECTANCE_MULT_BAND_2": 2.75e-5}
    flat |= {"LEVEL2_SURFACE_REFLECTANCE_PARAMETERS.REFLECTANCE_ADD_BAND_2": -0.2}
    assert pair("landsat8", "BLUE", f"{LEVEL2}_SR_B2.TIF", flat) == (2.75e-5, -0.2)


def test_level_1_of_landsat_is_reflectance_under_the_sun_of_that_day() -> None:
    name = "LC09_L1TP_193024_20220615_20230411_02_T1_B2.TIF"
    scale, offset = pair("landsat8", "BLUE", name, MTL)
    # sin(30 degrees) = 0.5: the handbook's (2e-5 * 10000 - 0.1) / 0.5.
    assert 10000 * scale + offset == pytest.approx(0.2)
    night = {"IMAGE_ATTRIBUTES": {"SUN_ELEVATION": -3}, "LEVEL1_RADIOMETRIC_RESCALING": {}}
    night["LEVEL1_RADIOMETRIC_RESCALING"] = {"REFLECTANCE_MULT_BAND_2": 2e-5, "REFLECTANCE_ADD_BAND_2": -0.1}
    with pytest.raises(ValueError, match="SUN_ELEVATION of the MTL file is -3, expected degrees above 0"):
        product_scaling("landsat8", "BLUE", name, night)
    assert product_scaling("landsat8", "BLUE", name, {}) is None
    assert product_scaling("landsat8", "THERMAL_INFRARED_1", name, MTL) is None
    # Collection 1 names its group otherwise; bands have the number of their own satellite.
    old = {"IMAGE_ATTRIBUTES": {"SUN_ELEVATION": 90}}
    old |= {"RADIOMETRIC_RESCALING": {"REFLECTANCE_MULT_BAND_1": 1e-3, "REFLECTANCE_ADD_BAND_1": -0.01}}
    assert pair("landsat8", "BLUE", "LE07_L1TP_195025_20130707_20170503_01_T1_B1.TIF", old) == (1e-3, -0.01)


@pytest.mark.parametrize("rest", ["_sr_band2.tif", "_TOA.tif", "_toa_refl_B2.tif", "_LST.tif"])
def test_what_was_made_from_level_1_is_not_scaled_as_level_1(rest: str) -> None:
    assert product_scaling("landsat8", "BLUE", f"LC09_L1TP_193024_20220615_20230411_02_T1{rest}", MTL) is None


def test_scales_of_name_and_metadata_that_differ_are_refused() -> None:
    other = {"REFLECTANCE_MULT_BAND_2": "1e-4", "REFLECTANCE_ADD_BAND_2": "0"}
    with pytest.raises(ValueError, match="contradictory.*2.75e-05.*scale: 0.0001"):
        product_scaling("landsat8", "BLUE", f"{LEVEL2}_SR_B2.TIF", {"LEVEL2_SURFACE_REFLECTANCE_PARAMETERS": other})
    other["REFLECTANCE_MULT_BAND_2"] = "much"
    with pytest.raises(ValueError, match="must be a number, got 'much'"):
        product_scaling("landsat8", "BLUE", f"{LEVEL2}_SR_B2.TIF", {"LEVEL2_SURFACE_REFLECTANCE_PARAMETERS": other})


def test_properties_of_a_stac_item_tell_the_product_of_a_renamed_file() -> None:
    item = {"landsat:correction": "L2SP", "landsat:collection_number": "02", "platform": "LANDSAT_8"}
    assert pair("landsat8", "BLUE", "chip_7.tif", {"properties": item}) == (2.75e-5, -0.2)
    assert product_scaling("landsat8", "BLUE", "chip_7.tif", item | {"landsat:correction": "L1TP"}) is None
    assert product_scaling("landsat8", "BLUE", "chip_7.tif", {}) is None


def test_hls_is_neither_landsat_nor_sentinel_2() -> None:
    name = "HLS.L30.T33TWN.2022166T100559.v2.0.B04.tif"
    assert pair("landsat8", "RED", name) == (1e-4, 0)
    # 2500 hundredths of a degree Celsius are 298.15 K.
    scale, offset = pair("landsat8", "THERMAL_INFRARED_1", name)
    assert 2500 * scale + offset == pytest.approx(298.15)
    for sensor in ("sentinel2_l2a", None):
        assert pair(sensor, "RED", "HLS_S30_T33TWN_2022166T100559_v2_0.tif") == (1e-4, 0)


def test_nothing_is_known_of_other_products() -> None:
    for sensor, band, name in (
        ("sentinel2_l2a", "BLUE", "S2A_MSIL2A_20230409T002611_N0509_R102_T33TWN_20230409T040056"),
        ("sentinel1", "IW_VV", LEVEL2),
        (None, "BLUE", "x.tif"),
        ("landsat8", "PANCHROMATIC", f"{LEVEL2}_SR_B8.TIF"),
        ("landsat8", "no band", f"{LEVEL2}_SR_B2.TIF"),
        ("landsat8", "BLUE", LEVEL2.replace("_02_", "_01_")),
    ):
        assert product_scaling(sensor, band, name, {}) is None


def test_offsets_are_stated_in_numbers_and_compared_up_to_rounding() -> None:
    landsat = Scaling(2.75e-5, -0.2, "file")
    assert str(landsat) == "scale: 2.75e-05, offset: -7272.73"
    stated = [-7272.7, -7273, -0.2 / 2.75e-5]
    assert all(landsat.same(Scaling(2.75e-5, offset * 2.75e-5, "config")) for offset in stated)
    assert landsat.same(Scaling(2.7499e-5, -0.2, "rounded"))
    assert not landsat.same(Scaling(1e-4, -0.2, ""))
    assert not landsat.same(Scaling(2.75e-5, 0.0, ""))
    assert not Scaling(1e-4, 0.0, "").same(Scaling(1e-4, -0.1, ""))
    assert not Scaling(1.0, 273.15, "").same(Scaling(1.0, 0.0, ""))
    for scale, offset in ((0.0, 0.0), (math.nan, 0.0), (1.0, math.inf)):
        with pytest.raises(ValueError, match="A scale must be a finite number other than 0"):
            Scaling(scale, offset, "tags of x.tif")


def test_only_sentinel_2_has_a_scale_that_is_assumed() -> None:
    assert assumed_scale("sentinel2_l1c", "CIRRUS") == assumed_scale("sentinel2_l2a", "BLUE") == 1e-4
    others = ("landsat8", "landsat7", "sentinel1", "sentinel3_olci", "sentinel3_slstr", "aerial", None)
    assert {assumed_scale(sensor, band) for sensor in others for band in ("BLUE", "IW_VV", "S7_BT_IN")} == {None}


def test_advice_is_what_the_products_guide_says() -> None:
    advice = scale_advice("landsat8", "BLUE")
    for words in ("scale: 2.75e-05, offset: -7272.73", "scale: 0.00341802, offset: 43592.5"):
        assert words in advice
    assert "offset: 43592.5 (kelvin)" in scale_advice("landsat8", "THERMAL_INFRARED_1")
    assert "calibrate" in scale_advice("sentinel1", "IW_VV")
    assert "scale: 0.01" in scale_advice("sentinel1", "IW_VV")
    for sensor, band in (("sentinel2_l2a", "RED"), ("sentinel3_olci", "OA01_REFLECTANCE"), (None, "x")):
        assert "scale" in scale_advice(sensor, band)


def test_0_of_landsat_is_missing_where_numbers_have_an_offset_and_only_there() -> None:
    assert fill_number("landsat8", -7273) == fill_number("landsat7", 43592.5) == 0
    assert fill_number("landsat8", 0) is None  # HLS
    assert fill_number("sentinel2_l2a", -1000) is fill_number(None, -7273) is None
