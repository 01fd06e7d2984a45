"""Pixels, mask and transform change together; missing pixels neither spread nor get invented."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from affine import Affine

from eo_data.raster.raster import Raster

UTM = "EPSG:32630"


def raster(pixels: np.ndarray, transform: Affine | None = None) -> Raster:
    pixels = pixels.astype(np.float32)
    valid = np.isfinite(pixels).all(axis=-3)
    return Raster(pixels, valid, transform, UTM if transform else None)


def ramp(height: int, width: int, *, frames: int = 0) -> np.ndarray:
    values = np.arange(height * width, dtype=np.float32).reshape(1, height, width)
    return np.stack([values + 1000 * t for t in range(frames)]) if frames else values


def torch_bilinear(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    stack = torch.from_numpy(pixels.reshape(-1, 1, *pixels.shape[-2:]))
    result = torch.nn.functional.interpolate(stack, size=(height, width), mode="bilinear", align_corners=False)
    return result.numpy().reshape(*pixels.shape[:-2], height, width)


class TestShapes:
    def test_a_series_has_one_mask_per_frame(self) -> None:
        series = raster(ramp(3, 4, frames=2))
        assert (series.height, series.width) == (3, 4)
        with pytest.raises(ValueError, match=r"valid must be bool of shape \(2, 3, 4\)"):
            Raster(series.pixels, series.valid[0], None, None)

    @pytest.mark.parametrize("shape", [(4, 4), (1, 2, 3, 4, 4), (1, 0, 4), (0, 4, 4)])
    def test_other_shapes_are_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match="pixels must be .* without a zero"):
            Raster(np.zeros(shape, np.float32), np.zeros(shape[-2:], bool), None, None)

    def test_other_dtypes_are_refused(self) -> None:
        with pytest.raises(ValueError, match="pixels must be float32, got uint16"):
            Raster(np.zeros((1, 2, 2), np.uint16), np.ones((2, 2), bool), None, None)
        with pytest.raises(ValueError, match="valid must be bool.*got uint8"):
            Raster(np.zeros((1, 2, 2), np.float32), np.ones((2, 2), np.uint8), None, None)

    def test_other_pixels_must_be_on_the_same_grid(self) -> None:
        image = raster(ramp(3, 4), Affine(10, 0, 5, 0, -10, 7))
        other = image.with_pixels(np.zeros((6, 3, 4), np.float32))
        assert other.pixels.shape[0] == 6
        assert (other.transform, other.crs) == (image.transform, image.crs)
        with pytest.raises(ValueError, match="valid must be"):
            image.with_pixels(np.zeros((1, 4, 3), np.float32))


class TestGeoreference:
    def test_bounds_and_pixel_size_of_a_north_up_raster(self) -> None:
        image = raster(ramp(3, 4), Affine(10, 0, 500_000, 0, -20, 4_200_000))
        assert image.bounds == (500_000, 4_199_940, 500_040, 4_200_000)
        assert image.pixel_size == (10, 20)

    def test_bounds_of_a_rotated_raster_hold_all_corners(self) -> None:
        # 90 degrees: columns run north, rows run east.
        image = raster(ramp(3, 4), Affine(0, 10, 100, 10, 0, 200))
        assert image.bounds == (100, 200, 130, 240)
        assert image.pixel_size == (10, 10)
        diagonal = raster(ramp(1, 1), Affine(3, 4, 0, 4, -3, 0))
        assert diagonal.bounds == (0, -3, 7, 4)
        assert diagonal.pixel_size == (5, 5)

    def test_bounds_keep_the_precision_of_degrees(self) -> None:
        step = 8.983152841195215e-05
        image = raster(ramp(512, 512), Affine(step, 0, -7.617, 0, -step, 38.871))
        assert image.bounds[2] == pytest.approx(-7.617 + 512 * step, abs=1e-12)

    def test_without_a_transform_there_are_no_bounds(self) -> None:
        image = raster(ramp(2, 2))
        with pytest.raises(ValueError, match="no affine transform, so it has no bounds"):
            _ = image.bounds
        with pytest.raises(ValueError, match="no affine transform, so it has no pixel_size"):
            _ = image.pixel_size
        assert image.crop(0, 0, 1, 1).pad(1, 1, 1, 1).resize(2, 2).transform is None


class TestCropAndPad:
    def test_crop_moves_the_origin(self) -> None:
        image = raster(ramp(5, 6, frames=2), Affine(10, 0, 100, 0, -10, 200)).crop(1, 2, 3, 4)
        assert image.pixels[:, 0, 0, 0].tolist() == [8, 1008]
        assert image.pixels.shape == (2, 1, 3, 4)
        assert image.valid.shape == (2, 3, 4)
        assert image.transform == Affine(10, 0, 120, 0, -10, 190)

    def test_crop_of_a_sheared_raster_moves_along_its_axes(self) -> None:
        image = raster(ramp(5, 6), Affine(3, 4, 0, 4, -3, 0)).crop(1, 2, 2, 2)
        assert image.transform == Affine(3, 4, 10, 4, -3, 5)

    @pytest.mark.parametrize("window", [(-1, 0, 2, 2), (0, -1, 2, 2), (4, 0, 2, 2), (0, 5, 2, 2), (0, 0, 0, 2)])
    def test_windows_beyond_the_edge_are_refused(self, window: tuple[int, int, int, int]) -> None:
        with pytest.raises(ValueError, match="not inside the raster of 5 x 6"):
            raster(ramp(5, 6)).crop(*window)

    def test_a_constant_border_is_missing(self) -> None:
        image = raster(ramp(2, 3), Affine(10, 0, 100, 0, -10, 200)).pad(1, 2, 0, 1)
        assert image.pixels.shape == (1, 3, 6)
        assert image.transform == Affine(10, 0, 80, 0, -10, 210)
        assert np.isnan(image.pixels[0][~image.valid]).all()
        assert image.pixels[0][image.valid].tolist() == [0, 1, 2, 3, 4, 5]
        assert (raster(ramp(2, 3)).pad(1, 0, 0, 0, value=-7).pixels[0, 0] == -7).all()

    def test_reflected_and_repeated_borders_show_pixels_but_are_not_valid(self) -> None:
        image = raster(ramp(1, 3))
        assert image.pad(0, 2, 0, 1, mode="reflect").pixels.tolist() == [[[2, 1, 0, 1, 2, 1]]]
        repeated = image.pad(1, 2, 0, 0, mode="edge")
        assert repeated.pixels.tolist() == [[[0, 0, 0, 1, 2]] * 2]
        assert repeated.valid.tolist() == [[False] * 5, [False, False, True, True, True]]

    def test_what_cannot_be_padded_is_refused(self) -> None:
        image = raster(ramp(2, 3))
        with pytest.raises(ValueError, match="Borders must be >= 0 pixels"):
            image.pad(0, -1, 0, 0)
        with pytest.raises(ValueError, match="narrower than the raster of 2 x 3 .* Use mode 'edge'"):
            image.pad(2, 0, 0, 0, mode="reflect")
        with pytest.raises(ValueError, match="mode must be one of constant, reflect, edge, got 'wrap'"):
            image.pad(1, 1, 1, 1, mode="wrap")


class TestResize:
    @pytest.mark.parametrize("shape", [(3, 17, 23), (2, 4, 24, 24), (1, 1, 9)])
    @pytest.mark.parametrize("target", [(24, 24), (5, 40), (1, 1), (12, 3)])
    def test_without_missing_pixels_it_is_torchs_bilinear(
        self, shape: tuple[int, ...], target: tuple[int, int]
    ) -> None:
        pixels = np.random.default_rng(1).normal(2000, 900, shape).astype(np.float32)
        image = raster(pixels).resize(*target)
        np.testing.assert_allclose(image.pixels, torch_bilinear(pixels, *target), rtol=1e-6, atol=0)
        assert image.valid.all()

    def test_downscaling_takes_two_by_two_pixels_and_no_antialias(self) -> None:
        # Factor 4: the new centre lies between pixels 1 and 2; pixels 0 and 3 have no weight.
        image = raster(np.array([[[9.0, 1.0, 3.0, 9.0]]])).resize(1, 1)
        assert image.pixels.item() == 2

    def test_the_transform_covers_the_same_ground(self) -> None:
        image = raster(ramp(300, 200), Affine(10, 0, 100, 0, -10, 200)).resize(100, 400)
        assert image.transform == Affine(5, 0, 100, 0, -30, 200)
        assert image.bounds == (100, -2800, 2100, 200)

    def test_a_missing_pixel_does_not_spread(self) -> None:
        pixels = np.full((2, 8, 8), 5.0)
        pixels[0, 3, 3] = np.nan
        image = raster(pixels).resize(16, 16)
        # Twice as many pixels: weights 9/16, 3/16, 3/16, 1/16. Missing where more than half of the weight is lost.
        expected = np.zeros((16, 16), bool)
        expected[6:8, 6:8] = True
        np.testing.assert_array_equal(np.isnan(image.pixels[0]), expected)
        np.testing.assert_array_equal(~image.valid, expected)
        np.testing.assert_allclose(image.pixels[0][~expected], 5, rtol=1e-6)
        np.testing.assert_array_equal(image.pixels[1], 5)

    def test_weights_are_scaled_up_and_exactly_half_is_enough(self) -> None:
        image = raster(np.array([[[np.nan, 4.0]]])).resize(1, 1)
        assert image.pixels.item() == 4
        assert image.valid.item()
        three = raster(np.array([[[np.nan, np.nan], [4.0, np.inf]]])).resize(1, 1)
        assert math.isnan(three.pixels.item())
        assert not three.valid.item()

    def test_filled_values_take_part_but_stay_invalid(self) -> None:
        pixels = np.zeros((1, 4, 4), np.float32)
        pixels[:, :, 2:] = 8
        valid = np.zeros((4, 4), bool)
        valid[:, 2:] = True
        image = Raster(pixels, valid, None, None).resize(8, 8)
        np.testing.assert_array_equal(image.pixels, torch_bilinear(pixels, 8, 8))
        assert image.valid.tolist() == [[False] * 4 + [True] * 4] * 8

    def test_nearest_takes_the_pixel_under_the_new_centre(self) -> None:
        image = raster(np.array([[[0.0, np.nan, 2.0, 3.0, 4.0, 5.0]]])).resize(1, 2, "nearest")
        assert image.pixels.tolist() == [[[pytest.approx(np.nan, nan_ok=True), 4]]]
        assert image.valid.tolist() == [[False, True]]

    def test_read_only_and_cropped_pixels_can_be_resized(self) -> None:
        pixels = ramp(6, 6)
        pixels.flags.writeable = False
        image = raster(pixels).crop(1, 1, 4, 4)
        image.pixels.flags.writeable = False
        expected = torch_bilinear(np.array(pixels[:, 1:5, 1:5]), 2, 2)
        np.testing.assert_array_equal(image.resize(2, 2).pixels, expected)

    def test_impossible_sizes_and_resamplings_are_refused(self) -> None:
        with pytest.raises(ValueError, match="at least 1 x 1 pixels, got 0 x 2"):
            raster(ramp(2, 2)).resize(0, 2)
        with pytest.raises(ValueError, match="resampling must be one of bilinear, nearest, got 'cubic'"):
            raster(ramp(2, 2)).resize(2, 2, "cubic")
