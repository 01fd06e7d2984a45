"""What a graph does with values is what the preprocessing does with them, missing ones included."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from anysat_ext import AnySatPreprocess
from eo_data.preprocess.steps import Preprocess
from eo_data.raster.sample import Image, Sample
from eo_data.sensors.units import InputUnit, UnitConversion, to_physical
from eo_models.export.values import PreparedValues
from thor_terratorch_ext import ThorPreprocess

S2 = ("BLUE", "GREEN", "RED")
S1 = ("IW_VV", "IW_VH")
STATISTICS: dict[str, Any] = {"means": {"m": [0.2, 0.3, 0.4]}, "stds": {"m": [0.1, 0.0, 0.2]}}
RATIO_STATISTICS: dict[str, Any] = {"means": {"m": [-12, -18, 0.7]}, "stds": {"m": [4, 5, 0.2]}}


def compare(preprocess: Preprocess, image: Image, tolerance: float = 2e-6) -> torch.Tensor:
    """Prepare an image by both ways; return what the graph's way gives."""
    expected = preprocess(Sample("here", {"m": image})).images["m"].raster.pixels
    steps = preprocess.pixel_steps("m", image)  # type: ignore[attr-defined]
    module = PreparedValues(UnitConversion(image.unit), image.unit, steps)
    found = module(torch.from_numpy(np.stack([image.raster.pixels] * 2)))
    assert found.shape == (2, *expected.shape)
    assert found.dtype == torch.float32
    for one in found.numpy():
        np.testing.assert_allclose(one, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())
    return found


@pytest.mark.parametrize("missing", ["mean", "zero"])
@pytest.mark.parametrize("normalization", ["thor_stats", "unit_scale", "none"])
def test_optical_images_of_single_dates(normalization: str, missing: Any, image: Any) -> None:
    found = compare(ThorPreprocess(normalization, missing=missing), image("sentinel2_l2a", S2, 16))
    assert (found[0, 0, 1, 2] == 0) == (missing == "mean" or normalization != "thor_stats")


def test_statistics_of_a_data_set_and_a_band_that_never_varied(image: Any) -> None:
    compare(ThorPreprocess(**STATISTICS), image("sentinel2_l2a", S2, 16))
    compare(AnySatPreprocess("dataset", image_size=None, **STATISTICS), image("sentinel2_l2a", S2, 4, frames=2))


def test_radar_in_decibel_and_by_the_percentile_of_its_power(image: Any) -> None:
    decibel = image("sentinel1", S1, 16)
    compare(ThorPreprocess(), decibel)
    power = to_physical(decibel.raster.pixels, UnitConversion(InputUnit.DECIBEL), InputUnit.LINEAR_POWER)
    linear = replace(decibel, raster=decibel.raster.with_pixels(power), unit=InputUnit.LINEAR_POWER)
    for missing in ("mean", "zero"):
        compare(ThorPreprocess("log1p_p99", missing=missing), linear)  # type: ignore[arg-type]
    dark = replace(linear, raster=linear.raster.with_pixels(np.zeros_like(power)))
    assert not compare(ThorPreprocess("log1p_p99"), dark).any()


@pytest.mark.parametrize("frames", [0, 3])
def test_a_tile_by_its_own_statistics_counts_all_frames_and_what_is_observed(frames: int, image: Any) -> None:
    series = image("sentinel2_l2a", S2, 4, frames=frames)
    series.raster.pixels[..., 1, :, :] = 0.3  # a constant band is 0, not rounding by rounding
    found = compare(AnySatPreprocess(image_size=None), series, tolerance=1e-5)
    assert not found[:, ..., 1, :, :].any()
    assert found[:, ..., 0, :, :].std() > 0.5


def test_the_ratio_of_both_polarisations_is_a_band_more(image: Any) -> None:
    series = image("sentinel1", S1, 4, frames=2)
    for preprocess in (
        AnySatPreprocess("none", image_size=None, ratio=["m"]),
        AnySatPreprocess("dataset", image_size=None, ratio=["m"], **RATIO_STATISTICS),
    ):
        assert compare(preprocess, series).shape == (2, 2, 3, 4, 4)


def test_a_band_without_any_value_is_nothing_and_no_nan(image: Any) -> None:
    series = image("sentinel2_l2a", S2, 4, frames=2)
    series.raster.pixels[:, 2] = np.nan
    found = compare(AnySatPreprocess(image_size=None), series, tolerance=1e-5)
    assert not found[:, :, 2].any()


@pytest.mark.parametrize(
    ("stored", "unit"),
    [
        (UnitConversion(InputUnit.DIGITAL_NUMBER, 1e-4, -1000), InputUnit.REFLECTANCE),
        (UnitConversion(InputUnit.LINEAR_POWER), InputUnit.DECIBEL),
        (UnitConversion(InputUnit.DECIBEL), InputUnit.LINEAR_POWER),
    ],
)
def test_units_are_converted_as_files_are_read(stored: UnitConversion, unit: InputUnit, image: Any) -> None:
    numbers = np.linspace(-5, 4000, 32).reshape(1, 2, 4, 4).astype(np.float32)
    if stored.unit is not InputUnit.DIGITAL_NUMBER:
        numbers /= 100
    numbers[0, 0, 0, 1] = np.nan
    steps = ThorPreprocess("none").pixel_steps("m", image("sentinel2_l2a", S2[:2], 4))
    found = PreparedValues(stored, unit, steps)(torch.from_numpy(numbers)).numpy()
    expected = np.nan_to_num(to_physical(numbers, stored, unit))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert found[0, 0, 0, 1] == 0


def test_a_formula_that_no_graph_has_is_refused(image: Any) -> None:
    steps = ThorPreprocess().pixel_steps("m", image("sentinel1", S1, 4))
    stored = UnitConversion(InputUnit.DIGITAL_NUMBER, formula="worldcereal_s1")
    with pytest.raises(ValueError, match="formula worldcereal_s1 is not a part of deployed files"):
        PreparedValues(stored, InputUnit.DECIBEL, steps)
