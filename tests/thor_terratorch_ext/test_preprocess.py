"""THOR's input is what THOR was trained on: units, statistics, geometry and masks, by golden vectors and by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine

from eo_data.raster.raster import Raster
from eo_data.raster.sample import Image, Sample, SampleError
from eo_data.sensors.units import InputUnit
from thor_terratorch_ext import ThorPreprocess
from thor_terratorch_ext.statistics import statistics_for

S2 = ("BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3", "NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2")
S1 = ("VV", "VH")
UTM = Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 4_000_000.0)


def image(
    height: int = 64, width: int = 64, bands: tuple[str, ...] = S2, unit: InputUnit = InputUnit.REFLECTANCE
) -> Image:
    rng = np.random.default_rng(0)
    pixels = rng.uniform(0.02, 0.6, (len(bands), height, width)).astype(np.float32)
    if unit is InputUnit.DECIBEL:
        pixels = 10 * np.log10(pixels).astype(np.float32)
    return Image(Raster(pixels, np.ones((height, width), dtype=bool), UTM, None), bands, unit, 10.0)


def sample(*images: Image, label: Any = None) -> Sample:
    return Sample("here", {f"image{i}": one for i, one in enumerate(images)}, label)


def only(result: Sample) -> Image:
    (found,) = result.images.values()
    return found


@pytest.fixture(scope="module")
def golden(shared: Path) -> dict[str, np.ndarray]:
    with np.load(shared / "golden" / "thor" / "adapter.npz") as archive:
        return {key: archive[key] for key in archive.files if key.startswith("norm/")}


@pytest.mark.parametrize(
    ("name", "bands", "normalization"),
    [("s2_thor_stats", S2, "thor_stats"), ("s2_unit_scale", S2, "unit_scale"), ("s1_none", S1, "none")],
)
def test_values_are_those_of_the_published_adapter(
    name: str, bands: tuple[str, ...], normalization: str, golden: Any
) -> None:
    given, expected = golden[f"norm/{name[:2]}_in"], golden[f"norm/{name}"]
    # The vectors are of the normalisation alone: repeat the edge until the image is a square that nothing crops.
    square = np.pad(given, ((0, 0), (0, 12 - given.shape[1]), (0, 12 - given.shape[2])), mode="edge")
    actual, _ = ThorPreprocess(normalization, patch_size=1, missing="zero").prepare_array(square, bands)
    np.testing.assert_allclose(actual[:, : expected.shape[1], : expected.shape[2]], expected, rtol=1e-5, atol=1e-6)


def test_the_adapters_rule_for_linear_power_takes_one_percentile_for_both_polarisations() -> None:
    power = np.random.default_rng(3).uniform(0, 0.4, (2, 16, 16)).astype(np.float32)
    actual, _ = ThorPreprocess("log1p_p99").prepare_array(power, S1)
    logarithm = np.log1p(power.astype(np.float64))
    np.testing.assert_allclose(actual, np.clip(logarithm / np.percentile(logarithm, 99), 0, 1), rtol=1e-6)


def test_geometry_is_that_of_all_golden_rows_that_thor_can_take(shared: Path) -> None:
    rows = json.loads((shared / "golden" / "thor" / "adapter_prep.json").read_text())
    compared = 0
    for row in rows:
        about = row.get("out", {}).get("meta")
        if about is None or about["estimated_patch_tokens"] is None or row["band_gsds"] != [10, 20]:
            continue
        if row["scale_m"] != 10 or max(row["h"], row["w"]) > 400:
            continue
        preprocess = ThorPreprocess(
            patch_size=row["patch_size"],
            image_size=row["image_size"],
            resize_mode=row["resize_mode"],
            shape_adjust=row["shape_adjust"],
            shape_tol_px=row["shape_tol_px"],
            max_native_side=row["max_native_side"],
            max_native_tokens=row["max_native_tokens"],
            input_prep=row["input_prep_mode"] or "resize",
            non_square="stretch",
        )
        plan = preprocess.plan(sample(image(row["h"], row["w"])))
        actual = {key: list(value) if isinstance(value, tuple) else value for key, value in plan.describe().items()}
        assert actual == about, row
        compared += 1
    assert compared > 80


def test_each_band_gets_its_own_statistics_in_any_order() -> None:
    order = S2[::-1]
    given = image(bands=order)
    result = only(ThorPreprocess()(sample(given)))
    for i, (band, entry) in enumerate(zip(order, statistics_for(order), strict=True)):
        expected = (given.raster.pixels[i].astype(np.float64) - entry.mean) / entry.std
        np.testing.assert_allclose(result.raster.pixels[i], expected, rtol=1e-4, atol=1e-5, err_msg=band)


def test_sentinel_1_in_db_takes_thors_own_statistics_and_sees_no_clip() -> None:
    given = image(bands=("VH", "VV"), unit=InputUnit.DECIBEL)
    result = only(ThorPreprocess()(sample(given)))
    expected = (given.raster.pixels[0] + 20.6958) / 5.8688
    np.testing.assert_allclose(result.raster.pixels[0], expected, rtol=1e-5)


def test_reflectance_of_clouds_is_limited_to_one() -> None:
    given = image()
    given.raster.pixels[0, 3, 4] = 1.7
    result = only(ThorPreprocess()(sample(given)))
    assert result.raster.pixels[0, 3, 4] == pytest.approx((1 - 0.176620) / 0.264520, rel=1e-5)


def test_missing_pixels_become_the_mean_and_stay_marked() -> None:
    given = image()
    given.raster.pixels[:, 5, 6] = np.nan
    given.raster.valid[5, 6] = False
    result = only(ThorPreprocess()(sample(given)))
    assert (result.raster.pixels[:, 5, 6] == 0).all()
    assert not result.raster.valid[5, 6]
    assert result.raster.valid.sum() == 64 * 64 - 1
    as_adapter = only(ThorPreprocess(missing="zero")(sample(given)))
    assert as_adapter.raster.pixels[0, 5, 6] == pytest.approx(-0.176620 / 0.264520, rel=1e-5)


def test_image_label_mask_and_transform_are_cropped_alike() -> None:
    given = image(67, 70)
    row, column = 30, 41
    given.raster.pixels[:, row, column] = 0.9
    classes = np.zeros((1, 67, 70), np.float32)
    classes[0, row, column] = 1
    label = Raster(classes, np.ones((67, 70), dtype=bool), UTM, None)
    result = ThorPreprocess()(sample(given, label=label))
    found = only(result).raster
    assert found.pixels.shape == (10, 64, 64)
    assert isinstance(result.label, Raster)
    ((y, x),) = np.argwhere(result.label.pixels[0] == 1)
    assert np.unravel_index(found.pixels[0].argmax(), (64, 64)) == (y, x)
    assert found.transform is not None
    assert (found.transform.c + 10 * x, found.transform.f - 10 * y) == (UTM.c + 10 * column, UTM.f - 10 * row)


def test_labels_of_a_padded_border_do_not_count() -> None:
    label = Raster(np.ones((1, 62, 62), np.float32), np.ones((62, 62), dtype=bool), UTM, None)
    result = ThorPreprocess()(sample(image(62, 62), label=label))
    assert isinstance(result.label, Raster)
    assert result.label.pixels.shape == (1, 64, 64)
    assert (result.label.pixels[0, 0] == -1).all()
    assert (result.label.pixels[0, 1:63, 1:63] == 1).all()
    assert not only(result).raster.valid[0].any()


def test_a_chip_that_is_squeezed_warns_with_the_true_ground_cover() -> None:
    with pytest.warns(UserWarning, match=r"512 x 512 px \(5120 x 5120 m\) to 288 px and takes them for 2880 m"):
        result = only(ThorPreprocess()(sample(image(512, 512))))
    assert result.raster.pixels.shape == (10, 288, 288)
    assert result.raster.transform is not None
    assert result.raster.transform.a == pytest.approx(10 * 512 / 288)


def placed(height: int, width: int) -> tuple[Image, Raster]:
    """An image without missing pixels, and a label whose class is 1 in its lower right pixel."""
    classes = np.zeros((1, height, width), np.float32)
    classes[0, -1, -1] = 1
    return image(height, width), Raster(classes, np.ones((height, width), dtype=bool), UTM, None)


@pytest.mark.parametrize(("size", "side"), [((112, 80), 112), ((80, 112), 112), ((110, 75), 112), ((40, 201), 208)])
def test_a_rectangle_keeps_its_shape_and_its_pixels(size: tuple[int, int], side: int) -> None:
    """112 x 80 px became 288 x 288 of 3.89 x 2.78 m, without a word where the longer side had the right size."""
    given, label = placed(*size)
    result = ThorPreprocess()(sample(given, label=label))
    found, labelled = only(result).raster, result.label
    assert found.pixels.shape == (10, side, side)
    assert found.transform is not None
    assert (found.transform.a, found.transform.e) == (10, -10)
    left, top = (found.transform.c - UTM.c) / 10, (found.transform.f - UTM.f) / -10
    row, column = round(-top), round(-left)
    assert found.valid.sum() == size[0] * size[1]
    assert found.valid[row : row + size[0], column : column + size[1]].all()
    entry = statistics_for(S2)[0]
    expected = (given.raster.pixels[0].astype(np.float64) - entry.mean) / entry.std
    part = found.pixels[0, row : row + size[0], column : column + size[1]]
    np.testing.assert_allclose(part, expected, rtol=1e-4, atol=1e-5)
    # The border repeats the edge; reflectance 0 would be the darkest water.
    across, edge = ((row + 5, column - 1), (5, 0)) if column > row else ((row - 1, column + 5), (0, 5))
    assert found.pixels[0][across] == pytest.approx(expected[edge], rel=1e-4)
    assert isinstance(labelled, Raster)
    assert np.argwhere(labelled.pixels[0] == 1).tolist() == [[row + size[0] - 1, column + size[1] - 1]]
    assert (labelled.pixels[0] == -1).sum() == side * side - size[0] * size[1]


def test_the_published_stretch_has_a_name_and_warns_also_where_one_side_fits() -> None:
    """288 x 200 px were stretched to 288 x 288 without a warning."""
    with pytest.warns(UserWarning, match=r"288 x 200 px \(2880 x 2000 m\).*shape_tol_px \(8\). Set non_square: pad"):
        result = only(ThorPreprocess(non_square="stretch")(sample(image(288, 200))))
    assert result.raster.transform is not None
    assert result.raster.transform.a == pytest.approx(10 * 200 / 288)
    with pytest.warns(UserWarning, match="100 x 60 px"):
        array, plan = ThorPreprocess(image_size=64).prepare_array(np.ones((10, 100, 60), np.float32), S2)
    assert array.shape == (10, 64, 64)
    assert plan.reason == "rectangular_above_tolerance"


@pytest.mark.parametrize(
    ("settings", "size", "advice"),
    [
        ({}, (512, 512), r"Raise max_native_side \(384\) to 512 and max_native_tokens \(3000\) to 5120 to keep"),
        ({}, (512, 400), r"512 x 400 px \(5120 x 4000 m\).*Raise max_native_side \(384\) to 512"),
        ({"max_native_side": 512}, (512, 512), r"\(native_token_limit\). Raise max_native_tokens \(3000\) to 5120 to"),
        ({"max_native_tokens": 20000}, (400, 396), r"Raise max_native_side \(384\) to 400 to keep"),
        ({"max_native_tokens": 10}, (64, 64), r"Raise max_native_tokens \(10\) to 80 to keep"),
        ({"resize_mode": "fixed"}, (64, 64), "Set resize_mode: native_snap"),
        ({"input_prep": "tile"}, (64, 64), r"tiles the side of image_size \(288\)"),
    ],
)
def test_the_advice_of_the_warning_is_the_limit_that_was_hit(
    settings: dict[str, Any], size: tuple[int, int], advice: str
) -> None:
    with pytest.warns(UserWarning, match=advice):
        result = only(ThorPreprocess(**settings)(sample(image(*size))))
    transform = result.raster.transform
    assert transform is not None
    assert transform.a == pytest.approx(-transform.e)


def test_what_the_advice_says_keeps_the_pixels() -> None:
    result = only(ThorPreprocess(max_native_side=512, max_native_tokens=5120)(sample(image(512, 400))))
    assert result.raster.pixels.shape == (10, 512, 512)
    record = ThorPreprocess(max_native_side=512, max_native_tokens=5120).describe(image(512, 400))
    assert (record["raw_input_hw"], record["raw_aspect_diff_px"]) == ((512, 400), 112)
    assert record["shape_adjust_applied"] == "pad_to_square"
    assert record["resampled"] is False


def test_both_sensors_share_one_plan_and_keep_their_statistics() -> None:
    optical, radar = image(70, 70), image(70, 70, S1, InputUnit.DECIBEL)
    result = ThorPreprocess()(sample(optical, radar))
    shapes = [one.raster.pixels.shape for one in result.images.values()]
    assert shapes == [(10, 64, 64), (2, 64, 64)]  # of 20 m bands too: 16 px, not 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"normalization": "percentile"}, "percentile"),
        ({"patch_size": 0}, "patch_size must be a whole number >= 1"),
        ({"resize_mode": "stretch"}, "resize_mode must be one of native_snap, fixed"),
        ({"non_square": "crop"}, "non_square must be one of pad, stretch"),
        ({"missing": "median"}, "missing must be one of mean, zero"),
        ({"means": {"S2": [0.1]}}, "Give means and stds"),
        ({"shape_tol_px": -1}, "shape_tol_px"),
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ThorPreprocess(**arguments)


def test_samples_that_do_not_suit_thor_are_refused_with_the_remedy() -> None:
    preprocess = ThorPreprocess()
    linear = replace(image(bands=S1), unit=InputUnit.LINEAR_POWER)
    with pytest.raises(SampleError, match=r"is for decibel, but its values are linear_power. Set target_unit: decibel"):
        preprocess(sample(linear))
    with pytest.raises(SampleError, match="is for reflectance, but its values are digital_number"):
        preprocess(sample(replace(image(), unit=InputUnit.DIGITAL_NUMBER)))
    with pytest.raises(SampleError, match="is for linear_power"):
        ThorPreprocess("log1p_p99")(sample(image(bands=S1, unit=InputUnit.DECIBEL)))
    with pytest.raises(SampleError, match="Bring them to one grid"):
        preprocess(sample(image(64, 64), image(32, 32, S1, InputUnit.DECIBEL)))
    with pytest.raises(SampleError, match="several sensors"):
        preprocess(sample(replace(image(bands=S1), bands=("VV", "BLUE"))))
    with pytest.raises(ValueError, match="not trained on band 'CIRRUS'"):
        preprocess(sample(image(bands=("CIRRUS",))))
    series = image()
    stack = Raster(series.raster.pixels[None], series.raster.valid[None], UTM, None)
    with pytest.raises(SampleError, match="THOR reads single dates"):
        preprocess(sample(replace(series, raster=stack)))


def test_statistics_of_a_data_set_come_by_band_name() -> None:
    means = {"image0": {band: 0.01 * i for i, band in enumerate(S2)}}
    stds = {"image0": {band: 1.0 + i for i, band in enumerate(S2)}}
    given = image(bands=S2[::-1])
    result = only(ThorPreprocess(means=means, stds=stds)(sample(given)))
    np.testing.assert_allclose(result.raster.pixels[0], (given.raster.pixels[0] - 0.09) / 10, rtol=1e-5)
    del means["image0"]["RED"]
    with pytest.raises(SampleError, match=r"means has no value for the bands \['RED'\]"):
        ThorPreprocess(means=means, stds=stds)(sample(given))


def test_describe_tells_tokens_without_weights() -> None:
    record = ThorPreprocess().describe(image(280, 280))
    assert record["final_hw"] == (272, 272)
    assert record["tokens"] == {"10 m": 34**2, "20 m": 17**2}
    assert record["resampled"] is False
