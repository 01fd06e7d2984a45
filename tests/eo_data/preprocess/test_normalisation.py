"""The encoders get the numbers of the published adapters, and a missing pixel stays missing until it is filled."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eo_data.preprocess.normalisation import (
    Dialect,
    Identity,
    Log1pPercentile,
    PerTileZScore,
    UnitScale,
    ZScore,
    fill_missing,
    normaliser,
)
from eo_data.sensors.units import InputUnit, UnitConversion, to_physical

#: THOR's statistics of B2..B8, B8A, B11, B12 (thor.md, section 3).
MEAN = (0.176620, 0.195923, 0.213948, 0.263378, 0.300818, 0.313144, 0.308133, 0.320993, 0.221550, 0.175772)
STD = (0.264520, 0.252949, 0.259180, 0.272771, 0.248175, 0.235432, 0.226434, 0.223274, 0.171606, 0.156223)


@pytest.fixture(scope="module")
def thor(shared: Path) -> Any:
    with np.load(shared / "golden/thor/adapter.npz") as file:
        return {name: file[name] for name in file.files if name.startswith("norm/")}


def reflectance(numbers: np.ndarray) -> np.ndarray:
    return to_physical(numbers, UnitConversion(InputUnit.DIGITAL_NUMBER), InputUnit.REFLECTANCE)


def close(actual: np.ndarray, golden: np.ndarray) -> None:
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, golden, rtol=1e-6, atol=1e-6)


def test_sentinel2_for_thor_equals_rs_embed(thor: Any) -> None:
    pixels = fill_missing(reflectance(thor["norm/s2_in"]))  # rs-embed fills first
    close(ZScore(MEAN, STD, (0, 1))(pixels), thor["norm/s2_thor_stats"])
    close(normaliser("unit_scale")(pixels), thor["norm/s2_unit_scale"])


def test_sentinel2_for_thor_equals_rs_embed_where_it_is_observed(thor: Any) -> None:
    numbers = thor["norm/s2_in"]
    observed = np.isfinite(numbers)
    assert not observed.all()
    result = ZScore(MEAN, STD, (0, 1))(reflectance(numbers))
    assert np.isnan(result[~observed]).all()
    close(result[observed], thor["norm/s2_thor_stats"][observed])


def test_raw_digital_numbers_equal_rs_embed(thor: Any) -> None:
    numbers = to_physical(
        reflectance(thor["norm/s2_in"]), UnitConversion(InputUnit.REFLECTANCE), InputUnit.DIGITAL_NUMBER
    )
    close(fill_missing(Identity(clip=(0, 10000))(numbers)), thor["norm/s2_none"])


def test_sentinel1_logarithm_equals_rs_embed(thor: Any) -> None:
    power = thor["norm/s1_in"]
    result = normaliser("s1_log_normalize")(power)
    assert np.isnan(result[~np.isfinite(power)]).all()
    close(fill_missing(result), thor["norm/s1_thor_stats"])
    close(fill_missing(normaliser("none")(power)), thor["norm/s1_none"])


@pytest.fixture(scope="module")
def anysat(shared: Path) -> Any:
    folder = shared / "golden/anysat"
    spec = importlib.util.spec_from_file_location("fill_anysat", folder / "fill_anysat.py")
    assert spec is not None
    assert spec.loader is not None
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    rows = {row["key"]: row for row in json.loads((folder / "adapter.json").read_text())["prepared"]}
    with np.load(folder / "adapter.npz") as file:
        return fill, rows, {name: file[name] for name in file.files}


@pytest.mark.parametrize("case", ["chw", "t8", "t10", "small"])
@pytest.mark.parametrize(("name", "unit"), [("per_tile_zscore", 1.0), ("unit_scale", 1e-4), ("raw", 1.0)])
def test_anysat_pixels_equal_rs_embed(anysat: Any, case: str, name: str, unit: float) -> None:
    fill, rows, golden = anysat
    key = f"prep|{case}|seed|{name}"
    # The golden inputs: digital numbers around 2500, deviation 1500, limited to 0..10000.
    draws = fill.make_input("adapter", case, rows[key]["input_shape"]).astype(np.float64)
    numbers = np.clip(draws * 1500 + 2500, 0, 10000).astype(np.float32)
    frames = np.repeat(numbers[None], 8, axis=0) if numbers.ndim == 3 else numbers[:8]
    frames = np.concatenate([frames, np.repeat(frames[-1:], 8 - len(frames), axis=0)])
    if frames.shape[-1] != 24:
        resized = torch.nn.functional.interpolate(
            torch.from_numpy(frames), (24, 24), mode="bilinear", align_corners=False
        )
        frames = resized.numpy()
    result = normaliser(name)(frames * np.float32(unit))
    np.testing.assert_allclose(result.ravel()[:: rows[key]["stride"]], golden[key], rtol=1e-5, atol=3e-6)
    assert result.mean() == pytest.approx(rows[key]["mean"], rel=1e-5, abs=1e-6)


def test_the_tile_z_score_does_not_depend_on_the_unit() -> None:
    numbers = np.random.default_rng(1).uniform(0, 10000, (3, 2, 5, 5)).astype(np.float32)
    np.testing.assert_allclose(PerTileZScore()(numbers), PerTileZScore()(numbers / 10000), atol=2e-6)


def test_a_constant_band_becomes_zero_and_not_rounding_noise() -> None:
    series = np.full((4, 2, 6, 6), 1234.567, np.float32)
    series[:, 1] = np.float32(0.1)
    series[0, 0, 0, 0] = np.nan
    result = PerTileZScore()(series)
    assert np.isnan(result[0, 0, 0, 0])
    assert (np.nan_to_num(result) == 0).all()


def test_the_tile_z_score_is_per_band_over_time_and_leaves_missing_values_out() -> None:
    series = np.array([[[[1.0, np.nan]], [[10.0, 10.0]]], [[[3.0, np.inf]], [[30.0, 30.0]]]], np.float32)
    result = PerTileZScore()(series)
    np.testing.assert_allclose(result[:, 0, 0], [[-1, np.nan], [1, np.nan]])
    np.testing.assert_allclose(result[:, 1, 0], [[-1, -1], [1, 1]])
    assert np.isnan(PerTileZScore()(np.full((1, 2, 2), np.nan))).all()


def test_a_batch_of_tiles_has_no_common_z_score() -> None:
    with pytest.raises(ValueError, match=r"one image .* or one series .*got shape \(2, 3, 2, 4, 4\).*one by one"):
        PerTileZScore()(np.zeros((2, 3, 2, 4, 4)))


@pytest.mark.parametrize(
    "transform",
    [
        ZScore((1, 2), (1, 2)),
        ZScore((1, 2), (1, 2), (0, 1)),
        Log1pPercentile(),
        UnitScale(),
        Identity(),
        PerTileZScore(),
    ],
    ids=lambda transform: type(transform).__name__,
)
def test_missing_stays_missing_and_the_input_is_not_changed(transform: Any) -> None:
    pixels = np.random.default_rng(2).uniform(0, 1, (3, 2, 4, 4)).astype(np.float32)
    pixels[1, 0, 2, 3], pixels[2, 1, 0, 0], pixels[0, 0, 0, 1] = np.nan, np.inf, -np.inf
    before = pixels.copy()
    result = transform(pixels)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(result), ~np.isfinite(before))
    np.testing.assert_array_equal(pixels, before)
    with pytest.raises(ValueError, match=r"shape \(..., C, H, W\), got \(4, 4\)"):
        transform(np.zeros((4, 4)))


def test_a_z_score_by_hand_with_its_smallest_deviation() -> None:
    result = ZScore((10, 1), (2, 0))(np.array([[[14.0]], [[1.000002]]], np.float64))
    np.testing.assert_allclose(result.ravel(), [2, 2], rtol=0.1)


def test_sentinel1_in_decibel_is_not_clipped() -> None:
    transform = normaliser("zscore", mean=[-12.985, -20.6958], std=[5.0062, 5.8688])
    result = transform(np.array([[[-12.985 - 5.0062]], [[-20.6958 + 2 * 5.8688]]]))
    np.testing.assert_allclose(result.ravel(), [-1, 2], rtol=1e-5)


@pytest.mark.parametrize(
    ("mean", "std"), [((1, 2), (1,)), ((), ()), ((1,), (-1,)), ((np.nan,), (1,)), ((1,), (np.inf,))]
)
def test_statistics_that_cannot_be_are_refused(mean: tuple, std: tuple) -> None:
    with pytest.raises(ValueError, match="lists of finite numbers, one per band, and std at least 0"):
        ZScore(mean, std)


def test_ten_statistics_do_not_fit_thirteen_bands() -> None:
    with pytest.raises(ValueError, match="Expected 10 bands.*got an array of shape.*one std per selected band"):
        ZScore(MEAN, STD)(np.zeros((13, 4, 4)))


@pytest.mark.parametrize("clip", [(1, 0), (0, 0), (0,), (0, np.nan)])
def test_a_range_has_a_lower_and_an_upper_end(clip: tuple) -> None:
    with pytest.raises(ValueError, match="clip must be two numbers, the lower first"):
        Identity(clip)
    with pytest.raises(ValueError, match="clip must be two numbers"):
        ZScore((1,), (1,), clip)


def test_the_percentile_is_of_each_image_and_of_all_bands_together() -> None:
    power = np.random.default_rng(3).gamma(2, 0.05, (2, 2, 20, 20)).astype(np.float32)
    power[1] *= 4
    result = Log1pPercentile()(power)
    for frame in range(2):
        logarithm = np.log1p(power[frame].astype(np.float64))
        expected = np.clip(logarithm / np.percentile(logarithm, 99), 0, 1)
        np.testing.assert_allclose(result[frame], expected, rtol=1e-5)


def test_an_image_without_power_is_zero_and_not_divided_by_zero() -> None:
    assert (Log1pPercentile()(np.zeros((2, 3, 3))) == 0).all()


def test_decibel_is_refused_by_the_logarithm_but_noise_is_not() -> None:
    decibel = np.full((2, 4, 4), -12.0)
    with pytest.raises(ValueError, match="100% of the values are negative.*look like dB. Convert them"):
        Log1pPercentile()(decibel)
    noise = np.full((1, 4, 4), 0.1)
    noise[0, :2] = -0.001
    assert (Log1pPercentile()(noise)[0, :2] == 0).all()


@pytest.mark.parametrize("q", [-1, 101, np.nan])
def test_a_percentile_lies_between_0_and_100(q: float) -> None:
    with pytest.raises(ValueError, match=r"q must be a percentile in 0\.\.100"):
        Log1pPercentile(q)


def test_missing_values_are_filled_afterwards_with_the_mean() -> None:
    filled = fill_missing(ZScore((5,), (2,))(np.array([[[np.nan, 7.0]]])))
    np.testing.assert_array_equal(filled, [[[0, 1]]])
    pixels = np.array([np.nan, np.inf, 1])
    np.testing.assert_array_equal(fill_missing(pixels, -1), [-1, -1, 1])
    assert np.isnan(pixels[0])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_missing_values_are_not_filled_with_missing_values(value: float) -> None:
    with pytest.raises(ValueError, match="finite number such as 0.0"):
        fill_missing(np.zeros(3), value)


def test_a_description_carries_statistics_and_provenance_as_plain_values() -> None:
    described = ZScore((1,), (2,), (0, 1), provenance="THOR 1.0").describe()
    assert described == {"name": "zscore", "mean": [1.0], "std": [2.0], "clip": [0.0, 1.0], "provenance": "THOR 1.0"}
    assert json.loads(json.dumps(described)) == described
    assert Log1pPercentile().describe() == {
        "name": "log1p_p99",
        "q": 99.0,
        "provenance": "rs-embed; percentile of each image",
    }
    assert PerTileZScore().describe() == {"name": "per_tile_zscore", "provenance": "the tile itself"}
    assert UnitScale().describe() == {"name": "unit_scale"}
    assert Identity().describe() == {"name": "none", "clip": None}


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("log1p_p99", "log1p", "s1_log_normalize", "LOG_NORMALIZE"), Log1pPercentile),
        (("unit_scale", "unit", "reflectance"), UnitScale),
        (("none", "raw", "off"), Identity),
        (("per_tile_zscore", "tile_zscore"), PerTileZScore),
    ],
)
def test_several_names_mean_one_transform(names: tuple[str, ...], kind: type) -> None:
    assert all(isinstance(normaliser(name), kind) for name in names)


def test_a_name_means_what_its_dialect_says() -> None:
    tiles = Dialect("tiles", {"zscore": PerTileZScore})
    assert normaliser("zscore", mean=[1], std=[2]) == ZScore((1.0,), (2.0,))
    assert normaliser("zscore", tiles) == PerTileZScore()
    with pytest.raises(
        ValueError, match="'zscore' .own. needs the arguments mean and std.*Without statistics: log1p_p99"
    ):
        normaliser("zscore")


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("zscores", {}, "Unknown normalisation 'zscores' .own.. Did you mean 'zscore'. Valid: zscore, log1p_p99"),
        ("thor_stats", {}, "Unknown normalisation 'thor_stats' .own."),
        ("unit_scale", {"mean": [1]}, "'unit_scale' has no argument 'mean'. Valid: none"),
        ("log1p", {"p": 99}, "'log1p' has no argument 'p'. Valid: q"),
    ],
)
def test_what_a_normalisation_does_not_know_is_refused(name: str, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        normaliser(name, **arguments)
