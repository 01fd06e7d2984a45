"""Image and label take the same steps, missing pixels become the mean of a band, and faults name the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rasters import plain_raster

from eo_data.preprocess.normalisation import ZScore
from eo_data.preprocess.steps import filled, label_with_geometry, normalised, resized, with_geometry
from eo_data.raster.plan import Crop, GeometryPlan, Pad, Resize
from eo_data.raster.raster import Raster
from eo_data.raster.sample import IGNORED, Image, SampleError
from eo_data.sensors.units import InputUnit


def image(pixels: np.ndarray, **more: Any) -> Image:
    bands = tuple("AB"[: pixels.shape[-3]])
    return Image(plain_raster(pixels), bands, InputUnit.REFLECTANCE, 10.0, **more)


def plan(resize: tuple[int, int] | None = None) -> GeometryPlan:
    """Cut the first row off, and add one column on the right."""
    steps = (Crop(1, 0, 3, 4), Pad(0, 0, 0, 1))
    return GeometryPlan((4, 4), steps, resize, "test", resize or (3, 5), 5, 1, None, None, ())


def test_a_missing_pixel_becomes_the_mean_of_its_band() -> None:
    pixels = np.array([[[0.1, np.nan]], [[0.5, 0.9]]])
    given = image(pixels)
    done = normalised(given, ZScore([0.1, 0.5], [0.2, 0.4]))
    np.testing.assert_allclose(done.raster.pixels, [[[0, np.nan]], [[0, 1]]], atol=1e-6)
    np.testing.assert_allclose(filled(done).raster.pixels, [[[0, 0]], [[0, 1]]], atol=1e-6)
    assert np.isnan(given.raster.pixels[0, 0, 1]), "the sample itself is untouched"


def test_a_fault_names_the_file_or_else_the_bands() -> None:
    one = ZScore([0], [1])
    with pytest.raises(SampleError, match="chips/a.tif: Expected 1 bands"):
        normalised(image(np.zeros((2, 1, 1)), paths=(Path("chips/a.tif"),)), one)
    with pytest.raises(SampleError, match="image of A, B: Expected 1 bands"):
        normalised(image(np.zeros((2, 1, 1))), one)


def test_image_and_label_lose_and_gain_the_same_pixels() -> None:
    numbers = np.arange(16).reshape(1, 4, 4)
    moved = with_geometry(image(numbers), plan()).raster
    label = label_with_geometry(plain_raster(numbers), plan())
    assert isinstance(label, Raster)
    np.testing.assert_array_equal(moved.pixels[0, :, :4], label.pixels[0, :, :4])
    np.testing.assert_array_equal(label.pixels[0], np.pad(numbers[0, 1:], ((0, 0), (0, 1)), constant_values=-1))
    assert set(label.pixels[0, :, 4]) == {IGNORED}
    assert np.isnan(moved.pixels[0, :, 4]).all()


def test_classes_are_not_interpolated_and_the_pixel_size_follows() -> None:
    numbers = np.array([[0, 0, 7, 7]] * 4)[None]
    label = label_with_geometry(plain_raster(numbers), plan((6, 10)))
    assert isinstance(label, Raster)
    assert label.pixels.shape == (1, 6, 10)
    assert set(np.unique(label.pixels)) == {-1, 0, 7}
    done = resized(with_geometry(image(numbers), plan((6, 10))), plan((6, 10)))
    assert done.raster.pixels.shape == (1, 6, 10)
    assert done.pixel_size == 5.0, "half as large: twice as many rows over the same ground"
    given = image(numbers)
    assert resized(given, plan()) is given


@pytest.mark.parametrize("label", [3, 2.5, None])
def test_a_label_of_the_whole_sample_stays(label: Any) -> None:
    assert label_with_geometry(label, replace(plan(), resize=(6, 10))) == label


def test_classes_of_a_label_are_not_interpolated_before_normalisation_either() -> None:
    """Between class 0 and 4 lay a border of classes 1 to 3 that the label does not have."""
    classes = np.zeros((1, 4, 4))
    classes[:, :, 2:] = 4
    steps = GeometryPlan((4, 4), (Resize(6, 6),), None, "test", (6, 6), 6, 1, None, None, ())
    label = label_with_geometry(plain_raster(classes), steps)
    assert isinstance(label, Raster)
    assert label.pixels[0, 0].tolist() == [0, 0, 0, 4, 4, 4]


@pytest.mark.parametrize("step", ["before", "after"])
def test_a_quality_layer_among_the_bands_keeps_its_classes(step: str) -> None:
    pixels = np.zeros((2, 4, 4))
    pixels[:, :, 2:] = 8
    given = replace(image(pixels), bands=("B02", "SCL"))
    if step == "before":
        moved = with_geometry(given, GeometryPlan((4, 4), (Resize(6, 6),), None, "t", (6, 6), 6, 1, None, None, ()))
    else:
        moved = resized(given, GeometryPlan((4, 4), (), (6, 6), "t", (6, 6), 6, 1, None, None, ()))
    assert set(np.unique(moved.raster.pixels[1])) == {0, 8}
    assert len(np.unique(moved.raster.pixels[0])) > 2
