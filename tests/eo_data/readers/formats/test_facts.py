"""Numbers that mean "missing" are found whatever their type and spelling; what a file says of scale is understood."""

from __future__ import annotations

import numpy as np
import pytest

from eo_data.readers.formats.facts import BandFacts, as_floats, mark_missing, stated_scale

LOWEST = float(np.finfo("float32").min)


@pytest.mark.parametrize(
    ("dtype", "stored", "nodata", "missing"),
    [
        ("uint8", (0, 1, 255), 255, (False, False, True)),
        ("uint8", (0, 1, 255), -9999, (False, False, False)),
        ("uint8", (0, 1, 255), -3.4e38, (False, False, False)),
        ("uint16", (0, 1, 65535), np.nan, (False, False, False)),
        ("uint16", (0, 1, 65535), 0.5, (False, False, False)),
        ("int8", (-128, 0, 127), -128, (True, False, False)),
        ("uint32", (0, 1, 2**32 - 1), 2.0**32 - 1, (False, False, True)),
        ("int64", (70000, 16777217, 16777216), 16777216, (False, False, True)),
        ("bool", (0, 1, 1), 0, (True, False, False)),
        ("float32", (0.1, 0.2, -9999), -9999, (False, False, True)),
        ("float64", (0.1, 0.2, -9999.1), float(np.float32(-9999.1)), (False, False, True)),
        # The lowest of float32 has several spellings: GDAL's, R's, ArcGIS's.
        ("float32", (0, 1, LOWEST), -3.4028234663852886e38, (False, False, True)),
        ("float32", (0, 1, LOWEST), -3.4028230607370965e38, (False, False, True)),
        ("float64", (0, 1, -3.3999999521443642e38), -3.4e38, (False, False, True)),
        ("float32", (0, 1, -3.3e38), -3.4e38, (False, False, False)),
        ("float64", (0, 1, -1.7976931348623157e308), -1.7976931348623157e308, (False, False, True)),
        ("float32", (0, 1, np.inf), np.inf, (False, False, True)),
    ],
)
def test_no_data_is_found_in_every_type(
    dtype: str, stored: tuple[float, ...], nodata: float, missing: tuple[bool, ...]
) -> None:
    numbers = np.array(stored, dtype)
    for by_file in (True, False):
        pixels = as_floats(numbers.copy(), np.float64 if dtype == "int64" else np.float32)
        band = BandFacts(nodata=(nodata if by_file else 7.0,))
        mark_missing(numbers.copy(), pixels, band, None if by_file else nodata)
        assert np.isnan(pixels).tolist() == list(missing)


def test_numbers_outside_the_valid_range_are_missing_unless_the_config_states_no_data() -> None:
    numbers = np.array([-1, 0, 10000, 10001], np.int16)
    pixels = as_floats(numbers)
    mark_missing(numbers, pixels, BandFacts(valid_range=(0, 10000)), None)
    assert np.isnan(pixels).tolist() == [True, False, False, True]
    pixels = as_floats(numbers)
    mark_missing(numbers, pixels, BandFacts(valid_range=(0, 10000)), 0)
    assert np.isnan(pixels).tolist() == [False, True, False, False]


def test_neutral_scales_say_nothing_and_senseless_ones_are_refused() -> None:
    assert stated_scale(1.0, 0.0) == stated_scale(None, None) == stated_scale(1, None) == (None, None)
    assert stated_scale(0.01, None) == (0.01, 0.0)
    assert stated_scale(None, -1000) == (1.0, -1000.0)
    for scale, offset in ((0, 0), (np.nan, 0), (1, np.inf)):
        with pytest.raises(ValueError, match="expected finite numbers and a scale other than 0"):
            stated_scale(scale, offset)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_the_imaginary_part_is_not_dropped(dtype: str) -> None:
    with pytest.raises(ValueError, match=r"complex .*as of single-look complex radar .SLC.. Detect and calibrate"):
        as_floats(np.ones((1, 2, 2), dtype))
