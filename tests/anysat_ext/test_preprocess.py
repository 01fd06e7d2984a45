"""AnySat's input: golden vectors of the adapter, tiles of sensors with different pixels, and nothing that is silent."""

from __future__ import annotations

import datetime
import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine

from anysat_ext import AnySatPreprocess
from eo_data.raster.raster import Raster
from eo_data.raster.sample import Image, Sample, SampleError
from eo_data.sensors.units import InputUnit

S2 = ("BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3", "NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2")


def image(
    side: int = 24, frames: int = 0, bands: tuple[str, ...] = S2, pixel_size: float = 10, width: int | None = None
) -> Image:
    rng = np.random.default_rng(0)
    lead = (frames,) if frames else ()
    pixels = rng.uniform(0.02, 0.6, (*lead, len(bands), side, width or side)).astype(np.float32)
    valid = np.ones((*lead, side, width or side), dtype=bool)
    transform = Affine(pixel_size, 0.0, 500_000.0, 0.0, -pixel_size, 4_000_000.0)
    days = tuple(datetime.date(2020, 1, 1) + datetime.timedelta(days=30 * i) for i in range(frames or 1))
    raster = Raster(pixels, valid, transform, None)
    unit = InputUnit.REFLECTANCE
    return Image(raster, bands, unit, pixel_size, days, ("name",) * len(days), np.ones(frames or 1, dtype=bool))


def prepared(preprocess: AnySatPreprocess, **images: Image) -> dict[str, Image]:
    return dict(preprocess(Sample("here", images)).images)


def golden_cases(shared: Path) -> list[dict[str, Any]]:
    return json.loads((shared / "golden" / "anysat" / "adapter.json").read_text())["prepared"]


def golden_input(golden: Any, case: dict[str, Any]) -> np.ndarray:
    """The input of a case, by the formula of its numbers (missing values of t3 included)."""
    draws = golden.fill.make_input("adapter", case["input"], case["input_shape"]).astype(np.float64)
    pixels = np.clip(2500 + 1500 * draws, 0, 10000)
    if case["input"] == "t3":
        pixels[0, 0, 0, 0] = np.nan
        pixels[1, 2, 3, 4] = -np.inf
        pixels[2, :, 5, 5] = np.inf
    return pixels.astype(np.float32)


def test_arrays_are_prepared_as_the_page_and_the_adapter_say(shared: Path, golden: Any) -> None:
    arrays = golden.read_arrays("adapter.npz")
    compared = set()
    for case in golden_cases(shared):
        square = "stretch" if case["key"].endswith("stretch") else "pad_reflect"
        own = AnySatPreprocess(case["norm"], non_square=square, frames=8, start="2022-01-01", end="2023-01-01")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the long rectangle
            pixels, days = own.prepare_array(golden_input(golden, case), keep_frames="|own|" in case["key"])
        scale = 1.0 if case["norm"] != "raw" else 1e4
        assert [1, *pixels.shape] == case["shape"], case["key"]
        actual = pixels.flatten()[:: case["stride"]]
        np.testing.assert_allclose(
            actual / scale, arrays[case["key"]].flatten() / scale, rtol=1e-5, atol=5e-6, err_msg=case["key"]
        )
        assert days.tolist() == case.get("doy0", days.tolist()), case["key"]
        compared.add(case["input"])
    assert compared >= {"chw", "t3", "t8", "rect"}


def test_a_rectangle_is_stretched_as_the_page_says_or_refused() -> None:
    rng = np.random.default_rng(1)
    pixels = rng.uniform(0, 10000, (10, 30, 20)).astype(np.float32)
    with pytest.raises(ValueError, match="needs a square, got 30 x 20"):
        AnySatPreprocess().prepare_array(pixels)
    stretched, _ = AnySatPreprocess("raw", non_square="stretch", frames=1).prepare_array(pixels)
    torch = pytest.importorskip("torch")
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(pixels)[None], size=(24, 24), mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(stretched[0], expected[0].numpy(), rtol=1e-6)


def test_every_tile_is_scaled_by_itself_over_its_frames() -> None:
    series = image(frames=4)
    found = prepared(AnySatPreprocess(), s2=series)["s2"].raster.pixels
    values = series.raster.pixels[:, 2].astype(np.float64)
    np.testing.assert_allclose(found[:, 2], (values - values.mean()) / values.std(), atol=1e-5)


def test_missing_frames_do_not_move_the_scale_and_stay_marked() -> None:
    series = image(frames=4)
    series.raster.pixels[1] = np.nan
    series.raster.valid[1] = False
    found = prepared(AnySatPreprocess(), s2=series)["s2"]
    seen = np.delete(series.raster.pixels[:, 0].astype(np.float64), 1, axis=0)
    np.testing.assert_allclose(found.raster.pixels[0, 0], (seen[0] - seen.mean()) / seen.std(), atol=1e-5)
    assert (found.raster.pixels[1] == 0).all()
    assert not found.raster.valid[1].any()
    assert found.dates == series.dates


def test_pixels_are_kept_when_asked_and_resampling_warns() -> None:
    big = image(side=48)
    with pytest.warns(UserWarning, match=r"resamples 48 x 48 px to 24 px, which AnySat takes for 240 m"):
        squeezed = prepared(AnySatPreprocess(), s2=big)["s2"]
    assert squeezed.raster.pixels.shape == (10, 24, 24)
    assert squeezed.raster.transform is not None
    assert squeezed.raster.transform.a == 20
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept = prepared(AnySatPreprocess(image_size=None), s2=big)["s2"]
    assert kept.raster.pixels.shape == (10, 48, 48)


def test_sides_that_patches_do_not_divide_are_refused_or_cropped_around_the_centre() -> None:
    given = image(side=25)
    with pytest.raises(SampleError, match=r"25 pixels does not split into patches of 4 pixels"):
        prepared(AnySatPreprocess(patch_size=40, image_size=None), s2=given)
    found = prepared(AnySatPreprocess("none", patch_size=40, image_size=None, indivisible="crop"), s2=given)["s2"]
    np.testing.assert_array_equal(found.raster.pixels, given.raster.pixels[:, :24, :24])
    rectangle = image(side=24, width=26)
    with pytest.raises(SampleError, match="24 x 26"):
        prepared(AnySatPreprocess(image_size=None), s2=rectangle)


def test_a_finer_aerial_image_is_cropped_to_the_ground_of_the_series() -> None:
    series = replace(image(side=6, frames=2), raster=image(side=6, frames=2).raster)
    aerial = image(side=304, bands=("R", "G", "B", "NIR"), pixel_size=0.2)
    own = AnySatPreprocess("none", image_size=None, indivisible="crop")
    found = prepared(own, aerial=aerial, s2=series)
    np.testing.assert_array_equal(found["aerial"].raster.pixels, aerial.raster.pixels[:, 2:302, 2:302])
    assert found["s2"].raster.pixels.shape == (2, 10, 6, 6)
    with pytest.raises(SampleError, match="304"):
        prepared(AnySatPreprocess(image_size=None), aerial=aerial, s2=series)


def test_images_of_other_places_are_refused() -> None:
    here, there = image(), image()
    moved = replace(there, raster=replace(there.raster, transform=Affine(10.0, 0, 501_000.0, 0, -10.0, 4_000_000.0)))
    with pytest.raises(SampleError, match="must show the same ground"):
        prepared(AnySatPreprocess(), s2=here, other=moved)


def test_sensors_of_30_m_keep_their_pixels() -> None:
    landsat = image(side=8, bands=("B1", "B2", "B3", "B4", "B5", "B7"), pixel_size=30)
    own = AnySatPreprocess("per_tile_zscore", patch_size=120, image_size=None)
    assert prepared(own, l7=landsat)["l7"].raster.pixels.shape == (6, 8, 8)
    with pytest.raises(SampleError, match=r"image_size resamples sensors of 10 m, but these pixels have 30 m"):
        prepared(AnySatPreprocess(), l7=landsat)
    with pytest.raises(SampleError, match=r"do not split into patches of 100 m"):
        prepared(AnySatPreprocess(patch_size=100, image_size=None), l7=landsat)


def test_the_ratio_is_of_the_values_of_the_files() -> None:
    radar = replace(image(bands=("VH", "VV"), frames=3), unit=InputUnit.NATIVE)
    own = AnySatPreprocess("none", ratio=["s1"])
    found = prepared(own, s1=radar)["s1"]
    assert found.bands == ("VH", "VV", "VV/VH")
    expected = radar.raster.pixels[:, 1] / (radar.raster.pixels[:, 0] + np.float32(1e-10))
    np.testing.assert_allclose(found.raster.pixels[:, 2], expected, rtol=1e-6)
    with pytest.raises(SampleError, match="needs the bands VV and VH"):
        prepared(AnySatPreprocess(ratio=["s2"]), s2=image())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"normalization": "percentile"}, "percentile"),
        ({"normalization": "dataset"}, "Give means and stds, or statistics"),
        ({"patch_size": 15}, "multiple of 10 metres, got 15"),
        ({"patch_size": 0}, "multiple of 10 metres, got 0"),
        ({"non_square": "squash"}, "non_square must be one of"),
        ({"indivisible": "pad"}, "indivisible must be one of"),
        ({"frames": 0}, "frames must be at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AnySatPreprocess(**arguments)


def test_arrays_of_other_shapes_are_refused() -> None:
    for shape in ((9, 24, 24), (8, 9, 24, 24), (24, 24)):
        with pytest.raises(ValueError, match="Expected 10 bands"):
            AnySatPreprocess().prepare_array(np.zeros(shape, np.float32))


def test_describe_tells_geometry_and_patches() -> None:
    record = AnySatPreprocess(image_size=None, patch_size=40, indivisible="crop").describe(image(side=26))
    assert record["final_hw"] == (24, 24)
    assert record["tokens"] == {"patches": 36, "sub-patches": 576}
