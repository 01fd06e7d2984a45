"""Numbers for no data that no file declares, and low values that are measurements."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from eo_data.sensors.plausible import refuse_impossible, zero_decibels
from eo_data.sensors.units import InputUnit

BANDS = ("BLUE", "RED")


def plane(value: float, count: int = 3, *, around: float = 0.2) -> np.ndarray:
    """Two bands of 32 x 32 pixels that differ, of which the second has a value ``count`` times."""
    pixels = around + np.linspace(0, 0.1, 2 * 32 * 32, dtype=np.float32).reshape(2, 32, 32)
    pixels[1].ravel()[:count] = value
    return pixels


@pytest.mark.parametrize(
    ("unit", "around", "value", "shown"),
    [
        ("reflectance", 0.2, -9999, "-9999"),
        ("reflectance", 0.2, -3.4028235e38, "-3.4028235e+38"),
        ("reflectance", 0.2, 1e20, "1.0e+20"),
        ("reflectance", 0.2, 65535, "65535"),
        ("reflectance", 0.2, 6.5535, "6.5535"),
        ("decibel", -12.0, -9999, "-9999"),
        ("decibel", -12.0, -32768, "-32768"),
        ("linear_power", 0.1, -9999, "-9999"),
        ("kelvin", 290.0, 0, "0"),
        ("kelvin", 290.0, 173.16, "173.16"),
    ],
)
def test_a_few_pixels_without_data_do_not_pass_as_values(unit: str, around: float, value: float, shown: str) -> None:
    with pytest.raises(ValueError, match=r"x.tif: band RED has 3 of 1024 values \(0.29 %\)") as error:
        refuse_impossible(plane(value, around=around), InputUnit(unit), BANDS, "S2: x.tif")
    assert f"nodata: {shown}" in str(error.value)
    # What the message says to write is read back by YAML as that number.
    assert np.float32(yaml.safe_load(f"nodata: {shown}")["nodata"]) == np.float32(value)


def test_the_message_names_the_number_as_it_is_stored() -> None:
    stored = plane(-9999, around=2000)
    with pytest.raises(ValueError, match="The most frequent one is -9999 as stored .3 times.*State nodata: -9999"):
        refuse_impossible(stored * np.float32(1e-4), InputUnit.REFLECTANCE, BANDS, "S2", stored)


def test_what_repeats_is_said_to_be_no_data_and_what_does_not_is_another_unit() -> None:
    with pytest.raises(ValueError, match="likely a number for missing pixels.*state nodata: -7"):
        refuse_impossible(plane(-7), InputUnit.REFLECTANCE, BANDS, "S2")
    scattered = np.linspace(300, 5000, 1024, dtype=np.float32).reshape(1, 32, 32)
    with pytest.raises(ValueError, match="1024 of 1024 values .*Check unit, scale and offset"):
        refuse_impossible(scattered, InputUnit.REFLECTANCE, ["RED"], "S2")


def test_a_border_of_minus_99_decibels_is_not_backscatter() -> None:
    with pytest.raises(ValueError, match="State nodata: -99 "):
        refuse_impossible(plane(-99, 64, around=-12), InputUnit.DECIBEL, ("VV", "VH"), "S1")
    with pytest.raises(ValueError, match="likely a number for missing pixels.*nodata: -100"):
        refuse_impossible(plane(-100, 64, around=-12), InputUnit.DECIBEL, ("VV", "VH"), "S1")


@pytest.mark.parametrize(
    ("unit", "around", "value"),
    [
        ("reflectance", 0.0, -0.2),  # the lowest of Landsat Collection 2
        ("reflectance", 0.2, 2.8),  # glint
        ("reflectance", 0.2, 3.2767),  # the highest number of int16
        ("decibel", -12.0, 38.0),  # a ship
        ("linear_power", 0.1, -0.01),  # noise subtracted
        ("linear_power", 0.1, 6000.0),
        ("kelvin", 290.0, 162.0),  # the coldest cloud
        ("kelvin", 290.0, 450.0),  # a fire
        ("reflectance", 0.2, np.nan),
        ("native", 0.2, -9999),
        ("digital_number", 0.2, -9999),
    ],
)
def test_rare_values_that_can_be_measured_are_not_refused(unit: str, around: float, value: float) -> None:
    refuse_impossible(plane(value, around=around), InputUnit(unit), BANDS, "x")
    refuse_impossible(plane(value, around=around)[None], InputUnit(unit), BANDS, "x")


@pytest.mark.parametrize("value", [np.finfo("float32").min, 9.969209968386869e36, 1e20])
def test_fill_values_are_no_measurements_in_any_unit(value: float) -> None:
    """An elevation model whose no-data tag was lost has a mean of minus infinity."""
    with pytest.raises(ValueError, match="values .* that are no measurement, .* a usual number for no data"):
        refuse_impossible(plane(value, around=200), InputUnit.NATIVE, BANDS, "x")


def test_faint_backscatter_after_the_subtraction_of_noise_is_not_refused() -> None:
    pixels = plane(-12, around=-20)
    pixels[1, 0] = -60 - np.geomspace(0.01, 60, 32)
    refuse_impossible(pixels, InputUnit.DECIBEL, ("VV", "VH"), "S1")


def test_a_band_without_any_value_is_not_judged(recwarn: pytest.WarningsRecorder) -> None:
    for unit in InputUnit:
        refuse_impossible(np.full((2, 2, 8, 8), np.nan, np.float32), unit, BANDS, "x")
    assert not recwarn.list


def test_the_frame_of_a_series_does_not_hide_the_band() -> None:
    series = np.stack([plane(0.2), plane(-9999)])
    with pytest.raises(ValueError, match="band RED has 3 of 1024"):
        refuse_impossible(series, InputUnit.REFLECTANCE, BANDS, "S2", series)


def test_exactly_zero_decibels_in_all_bands_is_no_measurement() -> None:
    pixels = np.full((3, 2, 4, 4), -12.5, np.float32)
    pixels[1, :, 0] = 0
    pixels[2, 0, 1] = 0  # one band only
    pixels[2, :, 2] = 1e-7  # as good as 0, but measured
    expected = np.zeros((3, 4, 4), dtype=bool)
    expected[1, 0] = True
    np.testing.assert_array_equal(zero_decibels(pixels), expected)
    np.testing.assert_array_equal(zero_decibels(pixels[1]), expected[1])
