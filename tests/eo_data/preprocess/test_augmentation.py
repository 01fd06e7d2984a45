"""Image, frames, validity and label of a sample move alike, whatever a transform does."""

from __future__ import annotations

from dataclasses import replace

import albumentations
import numpy as np
import pytest
import torch
from affine import Affine
from albumentations.pytorch import ToTensorV2

from eo_data.preprocess.augmentation import Augmentation
from eo_data.raster.raster import Raster
from eo_data.raster.sample import Image, Sample, SampleError
from eo_data.sensors.units import InputUnit

MARK = -17.25  # dB: a transform that limits values to 0..1 would show


def _image(frames: int | None = None, bands: int = 3, side: int = 32, at: tuple[int, int] = (3, 5)) -> Image:
    """Make an image with a mark in every plane at one place, and a hole beside it."""
    lead = () if frames is None else (frames,)
    pixels = np.zeros((*lead, bands, side, side), dtype=np.float32)
    pixels[..., at[0], at[1]] = MARK
    pixels[..., at[0] + 1, at[1]] = np.nan
    valid = np.ones((*lead, side, side), dtype=bool)
    valid[..., at[0] + 1, at[1]] = False
    raster = Raster(pixels, valid, Affine(10, 0, 5e5, 0, -10, 5e6), "crs")
    return Image(
        raster, tuple(f"b{i}" for i in range(bands)), InputUnit.DECIBEL, 10, observed=np.ones(frames or 1, bool)
    )


def _sample(*images: Image) -> Sample:
    side = images[0].raster.height
    label = np.zeros((1, side, side), dtype=np.float32)
    label[0, 3, 5], label[0, 4, 5] = 2, -1
    raster = Raster(label, np.ones((side, side), dtype=bool), None, None)
    return Sample("x", {f"m{i}": image for i, image in enumerate(images)}, raster)


def _places(planes: np.ndarray) -> list[list[int]]:
    return [np.argwhere(plane)[0].tolist() for plane in planes.reshape(-1, *planes.shape[-2:]) if plane.any()]


@pytest.mark.parametrize(
    "transform",
    [
        albumentations.D4(p=1),
        albumentations.HorizontalFlip(p=1),
        albumentations.Transpose(p=1),
        albumentations.RandomRotate90(p=1),
        albumentations.RandomCrop(24, 24, p=1),
        albumentations.CenterCrop(30, 30, p=1),
    ],
    ids=lambda transform: type(transform).__name__,
)
def test_everything_moves_alike(transform: object) -> None:
    torch.manual_seed(0)
    # More planes than OpenCV takes at once, so that they are transformed in parts.
    sample = _sample(_image(), _image(frames=30, bands=5), _image(bands=1))
    moved = 0
    for _ in range(8):
        result = Augmentation([transform])(sample)
        assert isinstance(result.label, Raster)
        marked = _places(result.label.pixels[0] == 2)
        planes = [place for image in result.images.values() for place in _places(image.raster.pixels == MARK)]
        holes = [place for image in result.images.values() for place in _places(np.isnan(image.raster.pixels))]
        invalid = [place for image in result.images.values() for place in _places(~image.raster.valid)]
        assert planes == marked * (3 + 150 + 1 if marked else 0)
        gone = _places(result.label.pixels[0] == -1)
        assert holes == gone * (3 + 150 + 1 if gone else 0)
        assert invalid == gone * (1 + 30 + 1 if gone else 0)
        moved += marked != [[3, 5]]
        for name, image in result.images.items():
            before = sample.images[name].raster.pixels
            assert image.raster.pixels.shape[:-2] == before.shape[:-2]
            assert image.raster.pixels.dtype == np.float32
            assert (image.raster.transform, image.raster.crs) == (None, None)
    assert moved
    # The sample itself is untouched.
    assert sample.images["m0"].raster.pixels[0, 3, 5] == MARK
    assert sample.images["m0"].raster.transform is not None


@pytest.mark.parametrize(
    "transform",
    [
        albumentations.Affine(translate_px=(6, 6), p=1),
        albumentations.Rotate((45, 45), p=1),
        albumentations.PadIfNeeded(48, 48),
    ],
    ids=lambda transform: type(transform).__name__,
)
def test_a_border_that_a_transform_makes_up_is_missing_and_has_no_label(transform: object) -> None:
    image = _image()
    ones = Raster(np.ones_like(image.raster.pixels), np.ones((32, 32), dtype=bool), None, None)
    sample = Sample(
        "x", {"a": Image(ones, image.bands, image.unit, 10)}, Raster(ones.pixels[:1], ones.valid, None, None)
    )
    result = Augmentation([transform])(sample)
    assert isinstance(result.label, Raster)
    raster = result.images["a"].raster
    assert 0 < (~raster.valid).sum() < raster.valid.size
    np.testing.assert_array_equal(np.isnan(raster.pixels), np.broadcast_to(~raster.valid, raster.pixels.shape))
    assert set(np.unique(result.label.pixels[0][~raster.valid])) == {-1}
    assert set(np.unique(result.label.pixels[0][raster.valid])) == {1}


def test_resizing_interpolates_values_but_not_classes() -> None:
    result = Augmentation([albumentations.Resize(48, 48)])(_sample(_image()))
    assert isinstance(result.label, Raster)
    assert result.images["m0"].raster.pixels.shape == (3, 48, 48)
    assert set(np.unique(result.label.pixels)) <= {-1, 0, 2}


def test_scalar_labels_stay() -> None:
    sample = Sample("x", {"a": _image()}, 4)
    assert Augmentation([albumentations.D4(p=1)])(sample).label == 4


def test_the_tensor_step_of_terratorch_s_configs_is_left_out() -> None:
    sample = _sample(_image())
    assert Augmentation([ToTensorV2()])(sample) is sample
    result = Augmentation([albumentations.HorizontalFlip(p=1), ToTensorV2()])(sample)
    assert isinstance(result.images["m0"].raster.pixels, np.ndarray)


def test_random_choices_follow_torch_s_seed() -> None:
    augment = Augmentation([albumentations.D4(p=1)])

    def run() -> list[list[list[int]]]:
        torch.manual_seed(5)
        return [_places(augment(_sample(_image())).images["m0"].raster.pixels == MARK) for _ in range(12)]

    first = run()
    assert first == run()
    assert len({str(places) for places in first}) > 3


def test_images_of_different_sizes_are_refused() -> None:
    with pytest.raises(
        SampleError, match=r"x: the modalities have different sizes \[\(16, 16\), \(32, 32\)\]; transforms"
    ):
        Augmentation([albumentations.D4(p=1)])(_sample(_image(), _image(side=16)))


def test_a_crop_larger_than_the_image_is_refused() -> None:
    with pytest.raises(SampleError, match=r"x: the transforms refuse \(32, 32\) pixels: "):
        Augmentation([albumentations.RandomCrop(64, 64)])(_sample(_image()))


def test_steps_choose_independently_of_one_another() -> None:
    """Albumentations starts every step with the same seed: two flips would happen together, or not at all."""
    flips = Augmentation([albumentations.HorizontalFlip(), albumentations.VerticalFlip()])
    marks = [str(_places(flips(_sample(_image()), seed).images["m0"].raster.pixels[:1] == MARK)) for seed in range(100)]
    assert len(set(marks)) == 4
    assert min(marks.count(mark) for mark in marks) > 10


def test_classes_of_a_quality_layer_among_the_bands_are_not_interpolated() -> None:
    """Between a cloud (9) and vegetation (4), a turn by 30 degrees made classes 5 to 8, of which some are clear."""
    given = _image(frames=2, bands=2)
    bands = given.raster.pixels
    bands[:] = 4
    bands[..., 10:20, 10:20] = 9
    named = replace(given, bands=("b0", "SCL"))
    result = Augmentation([albumentations.Rotate((30, 30), p=1)])(_sample(_image(bands=1), named)).images["m1"]
    plain, classes = np.moveaxis(result.raster.pixels, 1, 0)
    assert set(np.unique(classes[np.isfinite(classes)])) == {4, 9}
    assert len(np.unique(plain[np.isfinite(plain)])) > 2
    assert np.array_equal(np.isfinite(plain), np.isfinite(classes))
    share = (classes == 9).sum() / (2 * 100)
    assert 0.8 < share < 1.2
