"""UniverSat's input: ratio and heights as the weights saw them, squares of whole patches, and never raw numbers."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pytest
from affine import Affine

from eo_data.preprocess.steps import DeclaresSteps
from eo_data.raster.raster import Raster
from eo_data.raster.sample import Image, Sample, SampleError
from eo_data.sensors.units import InputUnit
from universat_ext import UniverSatPreprocess
from universat_ext.preprocess import HeightsOverTile

RADAR = {"means": {"s1": {"VV": -12, "VH": -19, "VV/VH": 0.6}}, "stds": {"s1": {"VV": 4, "VH": 5, "VV/VH": 0.2}}}


def image(
    side: int = 12, frames: int = 0, bands: tuple[str, ...] = ("BLUE", "RED"), pixel_size: float = 10, **more: Any
) -> Image:
    rng = np.random.default_rng(0)
    lead, width = (frames,) if frames else (), more.get("width", side)
    pixels = rng.uniform(0.02, 0.6, (*lead, len(bands), side, width)).astype(np.float32)
    valid = np.ones((*lead, side, width), dtype=bool)
    transform = Affine(pixel_size, 0.0, 500_000.0, 0.0, -pixel_size, 4_000_000.0)
    days = tuple(datetime.date(2020, 1, 1) + datetime.timedelta(days=30 * i) for i in range(frames or 1))
    raster = Raster(pixels, valid, transform, None)
    unit = more.get("unit", InputUnit.REFLECTANCE)
    return Image(raster, bands, unit, pixel_size, days, ("name",) * len(days), np.ones(frames or 1, dtype=bool))


def prepared(preprocess: UniverSatPreprocess, **images: Image) -> dict[str, Image]:
    return dict(preprocess(Sample("here", images)).images)


def test_raw_numbers_do_not_pass_for_want_of_statistics() -> None:
    """H3: none are published, and the encoder gives finite features of anything."""
    with pytest.raises(ValueError, match=r"no published statistics.*eo_data\.statistics.*per_tile_zscore"):
        UniverSatPreprocess()
    UniverSatPreprocess("per_tile_zscore")
    with pytest.raises(ValueError, match="Unknown normalisation 'zscore'"):
        UniverSatPreprocess("zscore")


def test_statistics_of_the_data_set_are_by_band() -> None:
    means, stds = {"s2": {"RED": 0.1, "BLUE": 0.2}}, {"s2": {"RED": 0.5, "BLUE": 0.25}}
    given = image()
    found = prepared(UniverSatPreprocess(means=means, stds=stds), s2=given)["s2"].raster.pixels
    expected = (given.raster.pixels - np.float32([[[0.2]], [[0.1]]])) / np.float32([[[0.25]], [[0.5]]])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("frames", [0, 3])
def test_the_ratio_is_of_the_values_of_the_files_and_limited(frames: int) -> None:
    """H9: without it the third channel is missing; between standardised values it is another number."""
    given = image(frames=frames, bands=("VH", "VV"), unit=InputUnit.DECIBEL)
    vh, vv = given.raster.pixels[..., 0, :, :], given.raster.pixels[..., 1, :, :]
    vh[..., 0, 0] = 0.0
    found = prepared(UniverSatPreprocess(ratio=["s1"], **RADAR), s1=given)["s1"]
    assert found.bands == ("VH", "VV", "VV/VH")
    ratio = np.clip(vv / (vh + np.float32(1e-10)), -1e4, 1e4)
    np.testing.assert_allclose(found.raster.pixels[..., 2, :, :], (ratio - 0.6) / 0.2, rtol=1e-4)
    assert float(found.raster.pixels[..., 2, 0, 0].max()) == pytest.approx((1e4 - 0.6) / 0.2, rel=1e-5)
    with pytest.raises(SampleError, match="The ratio of 's1' needs the bands VV and VH, or HH and HV"):
        prepared(UniverSatPreprocess(ratio=["s1"], **RADAR), s1=image())


def test_heights_are_metres_over_the_tile_and_over_the_terrain() -> None:
    pixels = np.stack([np.linspace(100, 120, 16).reshape(4, 4), np.full((4, 4), 5.0)]).astype(np.float32)
    found = HeightsOverTile()(pixels)
    np.testing.assert_allclose(found[0], (pixels[0] - 110) / 10, atol=1e-5)
    np.testing.assert_allclose(found[1], 0.5)
    with pytest.raises(ValueError, match="heights are two bands, DSM .* and nDEM"):
        HeightsOverTile()(pixels[:1])
    chosen = UniverSatPreprocess({"dem": "heights", "tree": "none"}, patch_size=20)
    both = prepared(
        chosen,
        dem=image(bands=("DSM", "nDEM"), unit=InputUnit.NATIVE),
        tree=image(bands=("nDEM",), unit=InputUnit.NATIVE),
    )
    assert abs(float(both["dem"].raster.pixels[0].mean())) < 1e-6
    assert float(both["tree"].raster.pixels.min()) > 0.01
    with pytest.raises(SampleError, match="normalization has no entry for 's2'"):
        prepared(chosen, s2=image())


def test_missing_pixels_become_the_mean_of_the_band() -> None:
    given = image()
    given.raster.pixels[0, 3, 4] = np.nan
    found = prepared(UniverSatPreprocess("per_tile_zscore"), s2=given)["s2"].raster.pixels
    assert found[0, 3, 4] == 0
    assert np.isfinite(found).all()


def test_what_is_no_square_of_whole_patches_is_refused_unless_cropping_is_asked_for() -> None:
    """H8, H16: dropped in silence."""
    tile = UniverSatPreprocess("per_tile_zscore")
    with pytest.raises(SampleError, match="130 m do not split into patches of 40 m"):
        prepared(tile, s2=image(13))
    with pytest.raises(SampleError, match="needs a square, got 12 x 16 pixels. Set non_square: crop"):
        prepared(tile, s2=image(12, width=16))
    assert prepared(tile, dsm=image(4, pixel_size=30))["dsm"].raster.pixels.shape[-2:] == (4, 4)
    square = UniverSatPreprocess("per_tile_zscore", non_square="crop")
    assert prepared(square, s2=image(12, width=16))["s2"].raster.pixels.shape[-2:] == (12, 12)
    crop = UniverSatPreprocess("per_tile_zscore", indivisible="crop")
    both = prepared(crop, s2=image(13), spot=image(128, pixel_size=1))
    assert [own.raster.pixels.shape[-1] for own in both.values()] == [12, 120]
    with pytest.raises(SampleError, match="less than a patch of 40 m"):
        prepared(crop, s2=image(3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patch_size": 0}, "positive number of metres"),
        ({"patch_size": "40"}, "positive number of metres"),
        ({"non_square": "stretch"}, "non_square"),
        ({"indivisible": "pad"}, "indivisible"),
        ({"normalization": "dataset", "means": {"s2": [0.1]}}, "Give means and stds, or statistics"),
    ],
)
def test_settings_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UniverSatPreprocess(**{"normalization": "per_tile_zscore", **arguments})


def test_it_tells_what_it_would_do_and_its_steps() -> None:
    preprocess = UniverSatPreprocess(ratio=["s1"], **RADAR)
    assert isinstance(preprocess, DeclaresSteps)
    steps = preprocess.pixel_steps("s1", image(bands=("VV", "VH"), unit=InputUnit.DECIBEL))
    assert (steps.ratio, steps.clip) == ((0, 1), (-1e4, 1e4))
    told = UniverSatPreprocess("per_tile_zscore").describe(image())
    assert (told["tokens"], told["final_hw"], told["normalization"]) == ({"patches": 9}, (12, 12), "per_tile_zscore")
