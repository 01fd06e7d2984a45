"""Quantised embeddings come back within the stated error, and no-data stays no-data."""

from __future__ import annotations

import numpy as np
import pytest

from eo_embed.writers.quantise import DTYPES, Encoding


def _values(rng: np.random.Generator) -> np.ndarray:
    values = (rng.standard_normal((5, 7, 6)) * np.array([1e-3, 1, 30, 1000, 0])[:, None, None]).astype(np.float32)
    values[:, 2, 3] = np.nan
    return values


def _unit(rng: np.random.Generator) -> np.ndarray:
    values = rng.standard_normal((64, 7, 6)).astype(np.float32)
    values[:, 0, 0] = 0
    values[3, 0, 0] = -1
    values /= np.linalg.norm(values, axis=0)
    values[:, 2, 3] = np.nan
    return values


def test_float32_is_exact() -> None:
    values = _values(np.random.default_rng(0))
    array, scale, nodata = Encoding("float32").encode(values)
    assert scale is None
    assert np.isnan(nodata)
    np.testing.assert_array_equal(Encoding("float32").decode(array), values)


def test_float16_is_within_half_a_unit_in_the_last_place() -> None:
    values = _values(np.random.default_rng(1))
    encoding = Encoding("float16")
    array, scale, nodata = encoding.encode(values)
    assert (array.dtype, scale, np.isnan(nodata)) == (np.float16, None, True)
    np.testing.assert_allclose(encoding.decode(array), values, rtol=2.0**-11, atol=2.0**-25)


def test_int8_has_one_scale_for_each_band_so_that_small_bands_do_not_vanish() -> None:
    values = _values(np.random.default_rng(2))
    encoding = Encoding("int8")
    array, scale, nodata = encoding.encode(values)
    assert array.dtype == np.int8
    assert nodata == -128
    assert scale is not None
    np.testing.assert_allclose(scale[:4], np.nanmax(np.abs(values[:4]), axis=(1, 2)) / 127)
    assert scale[4] == 1, "a band of zeros has no largest value"
    decoded = encoding.decode(array, scale)
    np.testing.assert_array_equal(np.isnan(decoded), np.isnan(values))
    error = np.nanmax(np.abs(decoded - values), axis=(1, 2))
    assert np.all(error <= scale / 2 * (1 + 1e-5))
    assert np.nanmin(array[:, ~np.isnan(values[0])]) >= -127


def test_int8_of_a_pooled_vector_has_a_scale_for_each_number() -> None:
    values = np.array([0.5, -2, np.nan], np.float32)
    array, scale, _ = Encoding("int8").encode(values)
    assert array.tolist() == [127, -127, -128]
    np.testing.assert_allclose(Encoding("int8").decode(array, scale), values)


def test_all_no_data_stays_no_data() -> None:
    values = np.full((3, 2, 2), np.nan, np.float32)
    for dtype in DTYPES:
        encoding = Encoding(dtype)
        array, scale, _ = encoding.encode(values)
        assert np.isnan(encoding.decode(array, scale)).all(), dtype


def test_alphaearth_de_quantises_as_its_data_set_says() -> None:
    """127 -> (127 / 127.5) ** 2, -64 -> -(64 / 127.5) ** 2, -128 -> no-data."""
    decoded = Encoding("int8_alphaearth").decode(np.array([127, -64, 0, -128], np.int8))
    np.testing.assert_allclose(decoded, [0.992172, -0.251965, 0, np.nan], atol=1e-6)


def test_alphaearth_is_within_its_bound() -> None:
    values = _unit(np.random.default_rng(3))
    encoding = Encoding("int8_alphaearth")
    array, scale, nodata = encoding.encode(values)
    assert (array.dtype, scale, nodata) == (np.int8, None, -128)
    decoded = encoding.decode(array)
    np.testing.assert_array_equal(np.isnan(decoded), np.isnan(values))
    bound = (np.sqrt(np.abs(values)) + 0.002) / 127.5
    known = ~np.isnan(values)
    assert np.all(np.abs(decoded - values)[known] <= bound[known])
    assert decoded[3, 0, 0] == pytest.approx(-((127 / 127.5) ** 2))


@pytest.mark.parametrize("factor", [2.0, 0.5, 0.0])
def test_alphaearth_refuses_vectors_of_other_lengths(factor: float) -> None:
    with pytest.raises(ValueError, match="length 1, got lengths from.*l2_normalise: true"):
        Encoding("int8_alphaearth").encode(_unit(np.random.default_rng(4)) * np.float32(factor))


def test_infinite_values_are_not_made_127() -> None:
    values = np.array([1, np.inf], np.float32)
    for dtype in DTYPES:
        with pytest.raises(ValueError, match="Expected finite embeddings"):
            Encoding(dtype).encode(values)


def test_float16_does_not_overflow_to_infinity() -> None:
    with pytest.raises(ValueError, match="values up to 65504, got 70000. Use dtype float32"):
        Encoding("float16").encode(np.array([1, 70000], np.float32))


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(ValueError, match="dtype must be one of float32, float16, int8, int8_alphaearth, got 'uint8'"):
        Encoding("uint8")


def test_decoding_needs_what_was_stored() -> None:
    with pytest.raises(ValueError, match="int8 is stored as int8, got float32"):
        Encoding("int8").decode(np.zeros(2, np.float32), np.ones(2))
    with pytest.raises(ValueError, match="one scale for each of 2 bands, got none"):
        Encoding("int8").decode(np.zeros(2, np.int8))
    with pytest.raises(ValueError, match="one scale for each of 2 bands, got shape"):
        Encoding("int8").decode(np.zeros(2, np.int8), np.ones(1))
