"""Pixels are what they are declared to be, and are converted once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from eo_data.sensors.sentinel2 import sentinel2_offset
from eo_data.sensors.tables import SENTINEL3_OLCI, SENTINEL3_SLSTR, SOLAR_FLUX
from eo_data.sensors.units import PHYSICAL_UNITS, InputUnit, UnitConversion, check_range, to_physical, toa_reflectance

DN, REFLECTANCE, POWER = InputUnit.DIGITAL_NUMBER, InputUnit.REFLECTANCE, InputUnit.LINEAR_POWER
DB, KELVIN, NATIVE = InputUnit.DECIBEL, InputUnit.KELVIN, InputUnit.NATIVE


def image(*values: float, dtype: str = "float32") -> np.ndarray:
    return np.array(values, dtype=dtype).reshape(1, 1, -1)


def test_digital_numbers_become_reflectance_with_and_without_the_offset() -> None:
    old = to_physical(image(0, 1306, 10000, dtype="uint16"), UnitConversion(DN), REFLECTANCE)
    np.testing.assert_allclose(old.ravel(), [0, 0.1306, 1], rtol=1e-6)
    new = to_physical(image(900, 1000, 2306, dtype="uint16"), UnitConversion(DN, offset=-1000), REFLECTANCE)
    np.testing.assert_allclose(new.ravel(), [-0.01, 0, 0.1306], rtol=1e-6)
    assert old.dtype == new.dtype == np.float32


def test_landsat_scales_are_expressed_in_digital_numbers() -> None:
    # USGS collection 2: reflectance = 2.75e-5 DN - 0.2, temperature = 0.00341802 DN + 149.
    surface = UnitConversion(DN, scale=2.75e-5, offset=-0.2 / 2.75e-5)
    np.testing.assert_allclose(
        to_physical(image(7273, 20000), surface, REFLECTANCE).ravel(), [0.0000075, 0.35], atol=1e-7
    )
    thermal = UnitConversion(DN, scale=0.00341802, offset=149 / 0.00341802)
    np.testing.assert_allclose(to_physical(image(44000), thermal, KELVIN).ravel(), [299.39288], rtol=1e-6)


def test_decibel_and_linear_power_by_hand() -> None:
    power = to_physical(image(-20, 0, 3.0102999), UnitConversion(DB), POWER)
    np.testing.assert_allclose(power.ravel(), [0.01, 1, 2], rtol=1e-6)
    decibel = to_physical(image(0.01, 1, 2, 1000), UnitConversion(POWER), DB)
    np.testing.assert_allclose(decibel.ravel(), [-20, 0, 3.0103, 30], rtol=1e-6)


def test_power_that_is_not_positive_is_missing_in_decibel() -> None:
    assert np.isnan(to_physical(image(0, -0.5, np.nan), UnitConversion(POWER), DB)).all()


def test_worldcereal_numbers_by_its_formula() -> None:
    conversion = UnitConversion(DN, formula="worldcereal_s1")
    decibel = to_physical(image(0, 1000, 10000, 65535, dtype="uint16"), conversion, DB).ravel()
    np.testing.assert_allclose(decibel, [np.nan, -23, -3, 20 * np.log10(65535) - 83], rtol=1e-6)
    power = to_physical(image(1000, 10000, dtype="uint16"), conversion, POWER)
    np.testing.assert_allclose(power.ravel(), [10**-2.3, 10**-0.3], rtol=1e-5)
    np.testing.assert_array_equal(to_physical(image(1000), conversion, DN).ravel(), [1000])


def test_scaled_decibel_numbers() -> None:
    assert to_physical(image(-1234, dtype="int16"), UnitConversion(DN, scale=0.01), DB)[0, 0, 0] == pytest.approx(
        -12.34
    )


def test_digital_numbers_as_a_target_are_free_of_the_offset() -> None:
    assert to_physical(image(2306), UnitConversion(DN, offset=-1000), DN).item() == 1306
    assert to_physical(image(0.1306), UnitConversion(REFLECTANCE), DN).item() == pytest.approx(1306)


@pytest.mark.parametrize("unit", list(InputUnit))
def test_nan_stays_infinity_becomes_nan_and_the_input_is_not_changed(unit: InputUnit) -> None:
    pixels = image(np.nan, np.inf, -np.inf, 0.5)
    before = pixels.copy()
    result = to_physical(pixels, UnitConversion(unit), PHYSICAL_UNITS["reflectance"] if unit is DN else unit)
    assert np.isnan(result.ravel()[:3]).all()
    assert np.isfinite(result.ravel()[3])
    np.testing.assert_array_equal(pixels, before)
    assert not np.shares_memory(result, pixels)


def test_a_no_data_value_beyond_float32_is_missing() -> None:
    assert np.isnan(to_physical(image(-1.7976931348623157e308, dtype="float64"), UnitConversion(DB), DB)).all()


def test_anything_is_native_unchanged() -> None:
    for unit in InputUnit:
        assert to_physical(image(137, dtype="uint8"), UnitConversion(unit, offset=5), NATIVE).item() == 137


@pytest.mark.parametrize(
    ("unit", "target"), [(REFLECTANCE, DB), (NATIVE, REFLECTANCE), (DB, REFLECTANCE), (KELVIN, DB), (POWER, KELVIN)]
)
def test_units_that_have_nothing_in_common_are_not_converted(unit: InputUnit, target: InputUnit) -> None:
    with pytest.raises(ValueError, match=f"Values in {unit} cannot be converted to {target}.*Declare the unit"):
        to_physical(image(1), UnitConversion(unit), target)


def test_a_conversion_of_text_is_that_of_the_unit() -> None:
    assert UnitConversion("Decibel").unit is DB  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"unit": "dn"}, "Unknown unit 'dn'. Valid: digital_number, reflectance"),
        ({"unit": None}, "Unknown unit None"),
        ({"unit": DN, "scale": 0}, "scale must be a finite number other than 0"),
        ({"unit": DN, "offset": np.nan}, "offset finite"),
        ({"unit": DN, "formula": "alos"}, "Unknown formula 'alos'. Valid: worldcereal_s1"),
        ({"unit": DB, "formula": "worldcereal_s1"}, "is for the unit digital_number, got decibel. Leave one"),
    ],
)
def test_a_senseless_conversion_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UnitConversion(**arguments)


def scene(low: float, high: float, side: int = 40) -> np.ndarray:
    return np.random.default_rng(0).uniform(low, high, (2, side, side)).astype(np.float32)


@pytest.mark.parametrize(
    ("pixels", "unit", "looks"),
    [
        (scene(0, 4000), REFLECTANCE, "digital_number"),
        (scene(1000, 1200), REFLECTANCE, "digital_number"),
        (scene(0, 100), REFLECTANCE, "digital_number"),
        (scene(-25, -5), REFLECTANCE, "decibel"),
        (scene(0, 1.5), DN, "reflectance"),
        (scene(0.001, 0.4), DN, "reflectance"),
        (scene(0, 0.4), DB, "linear_power"),
        (scene(100, 3000).round(), DB, "digital_number"),
        (scene(-25, -5), POWER, "decibel"),
        (scene(100, 3000).round(), POWER, "digital_number"),
        (scene(-20, 40), KELVIN, "degrees Celsius"),
        (scene(25000, 31000), KELVIN, "digital_number"),
    ],
)
def test_a_unit_that_the_values_contradict_is_refused(pixels: np.ndarray, unit: InputUnit, looks: str) -> None:
    with pytest.raises(ValueError, match=f"x.tif is declared as {unit}, but .* look like .*{looks}.*Declare the unit"):
        check_range(pixels, unit, "x.tif")


@pytest.mark.parametrize(
    ("pixels", "unit"),
    [
        (scene(0.8, 2.5), REFLECTANCE),
        (scene(-0.1, 0.0), REFLECTANCE),
        (scene(0, 12000).round(), DN),
        (scene(0, 3).round(), DN),
        (scene(500, 1200), DN),
        (scene(-45, -10), DB),
        (scene(-20, 30), DB),
        (scene(0, 0.5), POWER),
        (scene(180, 330), KELVIN),
        (scene(0, 255), NATIVE),
        (np.full((1, 4, 4), np.nan, np.float32), REFLECTANCE),
        (np.zeros((1, 4, 4), np.uint16), DN),
        (np.zeros((0, 4, 4), np.uint16), DN),
    ],
)
def test_values_that_suit_their_unit_pass(pixels: np.ndarray, unit: InputUnit) -> None:
    check_range(pixels, unit, "x.tif")


def test_few_bright_or_broken_pixels_do_not_decide() -> None:
    reflectance = scene(0, 0.3)
    reflectance[0, :2, :5] = 6.5535
    reflectance[1, :3, :] = np.nan
    check_range(reflectance, REFLECTANCE, "x.tif")
    decibel = scene(-20, -5)
    decibel[0, 0, :10] = 30
    check_range(decibel, DB, "x.tif")
    power = scene(0, 0.3)
    power[0, :10, :10] *= -1  # noise subtraction
    check_range(power, POWER, "x.tif")


def test_no_data_around_a_scene_does_not_hide_the_unit() -> None:
    numbers = np.zeros((2, 40, 40), np.float32)
    numbers[:, :3, :3] = 2500
    with pytest.raises(ValueError, match="look like digital_number"):
        check_range(numbers, REFLECTANCE, "x.tif")


def test_a_large_image_is_judged_by_a_sample() -> None:
    with pytest.raises(ValueError, match="look like digital_number"):
        check_range(np.full((13, 512, 512), 4000, np.int16), REFLECTANCE, "x.tif")


@pytest.mark.parametrize(
    ("path", "unit", "wrong"),
    [
        ("sen1floods11_v1.1/data/S2L1CHand/Spain_7370579_S2Hand.tif", DN, REFLECTANCE),
        ("sen1floods11_v1.1/data/S1GRDHand/Spain_7370579_S1Hand.tif", DB, POWER),
        ("s1_pyrosar/S1A__IW___A_20150309T173017_VV_grd_mli_geo_norm_db.tif", DB, POWER),
        ("terramesh/S1RTC/38D_378R_2_3.tif", DB, POWER),
        ("terramesh/S2L2A/38D_378R_2_3.tif", DN, REFLECTANCE),
        ("s2_l1c_timeseries_eolearn/S2L1C_20150820T100728.tif", DN, REFLECTANCE),
        ("s3_olci/S3_OLCI_TOA_reflectance_20170414T102729.tif", REFLECTANCE, DN),
        ("landsat/LC08_L1TP_195025_20130707/LC08_L1TP_195025_20130707_20170503_01_T1_B5.TIF", DN, REFLECTANCE),
    ],
)
def test_real_products_pass_as_what_they_are_only(shared: Path, path: str, unit: InputUnit, wrong: InputUnit) -> None:
    with rasterio.open(shared / "data" / path) as file:
        pixels = file.read()
    check_range(pixels, unit, path)
    with pytest.raises(ValueError, match="but its values look like"):
        check_range(pixels, wrong, path)


def test_treesat_radar_is_linear_power(shared: Path) -> None:
    import h5py

    with h5py.File(shared / "data/treesatai_anysat/Abies_alba_1_1005_WEFL_NLF.h5") as file:
        pixels = file["sen-1-asc-data"][()]
    check_range(pixels, POWER, "h5")
    with pytest.raises(ValueError, match="look like linear_power"):
        check_range(pixels, DB, "h5")


@pytest.mark.parametrize(
    ("arguments", "offset"),
    [
        ({"product_name": "S2A_MSIL2A_20220301T102421_N0400_R065_T32UNC_20220301T115419.SAFE"}, -1000),
        ({"product_name": "S2A_MSIL1C_20150711T100008_N0500_R122_T33TWM_20231007T000000"}, -1000),
        ({"product_name": "S2B_MSIL2A_20190629T212529_N0212_R043_T06VVN_20201006T080531.SAFE"}, 0),
        ({"product_name": "S2A_MSIL2A_20211231T102421_N0301_R065_T32UNC_20211231T115419"}, 0),
        ({"product_name": "S2B_OPER_MSI_L2A_TL_ESRI_20201006T080533_A012081_T06VVN_N02.12"}, 0),
        ({"product_name": "S2A_MSIL2A_20220301T102421_N9999_R065_T32UNC_20220301T115419"}, None),
        ({"product_name": "COPERNICUS/S2_SR_HARMONIZED", "metadata": {"PROCESSING_BASELINE": "05.09"}}, 0),
        ({"product_name": "COPERNICUS/S2_SR"}, None),
        ({"product_name": "Spain_7370579_S2Hand.tif"}, None),
        ({"metadata": {"s2:processing_baseline": "04.00"}}, -1000),
        ({"metadata": {"s2:processing_baseline": "05.11", "earthsearch:boa_offset_applied": True}}, 0),
        ({"metadata": {"properties": {"processing:version": "05.11"}}}, -1000),
        ({"metadata": {"BOA_ADD_OFFSET_B2": "-1000", "BOA_ADD_OFFSET_B3": -1000}}, -1000),
        ({"metadata": {"RADIO_ADD_OFFSET": "0"}}, 0),
        ({"metadata": {"AREA_OR_POINT": "Area"}}, None),
        ({"baseline": "N0400"}, -1000),
        ({"baseline": 4.0}, -1000),
        ({"baseline": "03.01"}, 0),
        ({}, None),
    ],
)
def test_the_offset_of_baseline_four_is_known_from_name_or_metadata(arguments: dict, offset: float | None) -> None:
    assert sentinel2_offset(**arguments) == offset


def test_the_offset_of_real_products(shared: Path) -> None:
    item = json.loads(next((shared / "data/stac_items").glob("S2B*.json")).read_text())
    assert sentinel2_offset(metadata=item) == 0
    assert sentinel2_offset(item["properties"]["s2:product_uri"], item["properties"]) == 0


def test_sources_that_contradict_each_other_are_refused() -> None:
    name = "S2B_MSIL2A_20190629T212529_N0212_R043_T06VVN_20201006T080531.SAFE"
    with pytest.raises(ValueError, match="contradictory: -1000 by s2:processing_baseline; 0 by name S2B.*State"):
        sentinel2_offset(name, {"s2:processing_baseline": "05.00"})
    with pytest.raises(ValueError, match="contradictory"):
        sentinel2_offset(metadata={"BOA_ADD_OFFSET_B2": -1000, "BOA_ADD_OFFSET_B3": 0})


@pytest.mark.parametrize("baseline", ["new", "212", ""])
def test_a_baseline_that_is_no_number_is_refused(baseline: str) -> None:
    with pytest.raises(ValueError, match="written like '04.00' or 'N0400', got"):
        sentinel2_offset(baseline=baseline)


def test_an_offset_tag_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="must be a number such as -1000, got 'none'"):
        sentinel2_offset(metadata={"BOA_ADD_OFFSET": "none"})


def test_radiance_becomes_reflectance_by_the_flux_of_its_band() -> None:
    bands = ["OA01_REFLECTANCE", "OA17_REFLECTANCE"]
    flux = [SOLAR_FLUX[band] for band in bands]
    radiance = np.full((2, 1, 2), 50, np.float32)
    radiance[0, 0, 1] = np.nan
    result = toa_reflectance(radiance, flux, np.array([[0.5, 0.8]], np.float32))
    light = np.pi * 50
    expected = [[light / (1500.96 * 0.5), np.nan], [light / (938.91 * 0.5), light / (938.91 * 0.8)]]
    np.testing.assert_allclose(result[:, 0], expected, rtol=1e-6)


def test_each_pixel_may_have_a_flux_of_its_own() -> None:
    radiance, flux = np.full((1, 1, 3), 50.0), np.array([[[1000.0, 2000.0, np.nan]]])
    expected = [np.pi * 50 / 500, np.pi * 50 / 1000, np.nan]
    np.testing.assert_allclose(toa_reflectance(radiance, flux, 0.5).ravel(), expected, rtol=1e-6)


def test_a_low_sun_does_not_blow_reflectance_up() -> None:
    result = toa_reflectance(np.array([[[1.0, 9999.0, -3.0]]]), [1000.0], np.array([[-0.2, 0.001, 1.0]]))
    np.testing.assert_allclose(result.ravel(), [np.pi / 10, 2, 0], rtol=1e-6)


def test_every_reflective_band_has_a_flux() -> None:
    reflective = [band.name for band in (*SENTINEL3_OLCI.bands, *SENTINEL3_SLSTR.bands) if band.unit == "reflectance"]
    assert list(SOLAR_FLUX) == reflective
    assert SOLAR_FLUX["OA21_REFLECTANCE"] == 684.75
    assert SOLAR_FLUX["S1_REFLECTANCE_AN"] == 1798.94


@pytest.mark.parametrize("flux", [[1.0], [1.0, 0.0], [1.0, 2.0, 3.0]])
def test_every_band_needs_its_flux(flux: list[float]) -> None:
    with pytest.raises(ValueError, match="one positive solar flux per band, got shape.*SOLAR_FLUX"):
        toa_reflectance(np.ones((2, 3, 3)), flux, 1.0)
