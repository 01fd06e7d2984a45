"""The turn that the cache takes for a seed is the turn that images and labels get."""

from __future__ import annotations

from typing import Any

import albumentations as albu
import numpy as np
import pytest
import torch
from albumentations.pytorch import ToTensorV2

from eo_data.preprocess.augmentation import Augmentation
from eo_data.raster.raster import Raster
from eo_data.raster.sample import Image, Sample
from eo_data.sensors.units import InputUnit
from eo_finetune.cache.variants import TURNS, orientation_of, variants_of, with_even_chances

#: What the eight flips and rotations of a square do to its corners, in the order of rows, made by numpy.
EIGHT = {
    tuple(int(v) for v in np.rot90(np.arange(4).reshape(2, 2)[:, ::flip], k).ravel()): (k, flip)
    for k in range(4)
    for flip in (1, -1)
}
STEPS: dict[str, tuple[list[Any], int]] = {
    "D4": ([albu.D4()], 8),
    "half of D4": ([albu.D4(p=0.5)], 8),
    "SquareSymmetry": ([albu.SquareSymmetry()], 8),
    "HorizontalFlip": ([albu.HorizontalFlip()], 2),
    "always flipped": ([albu.VerticalFlip(p=1)], 1),
    "Transpose": ([albu.Transpose()], 2),
    "RandomRotate90": ([albu.RandomRotate90()], 4),
    "NoOp": ([albu.NoOp()], 1),
    "both flips": ([albu.HorizontalFlip(), albu.VerticalFlip(), ToTensorV2()], 4),
    "rare": ([albu.HorizontalFlip(p=0.02), albu.VerticalFlip(p=0.02), albu.RandomRotate90(p=0.02)], 8),
    "nothing": ([], 1),
    "tensors": ([ToTensorV2()], 1),
}


def sample(side: int = 6) -> Sample:
    """Two bands and a label, every pixel with a number of its own."""
    numbers = np.arange(3 * side * side, dtype=np.float32).reshape(3, side, side)
    whole = np.ones((side, side), dtype=bool)
    image = Image(Raster(numbers[:2], whole, None, None), ("A", "B"), InputUnit.REFLECTANCE, 10.0)
    return Sample("x", {"S": image}, Raster(numbers[2:], whole, None, None))


def turned(pixels: np.ndarray, turn: tuple[int, ...]) -> np.ndarray:
    k, flip = EIGHT[turn]
    return np.rot90(pixels[..., ::flip], k, axes=(-2, -1))


@pytest.mark.parametrize("name", STEPS)
def test_image_and_label_are_turned_as_the_corners_say(name: str) -> None:
    steps, _ = STEPS[name]
    plain, augmentation = sample(), Augmentation(steps)
    for seed in range(40):
        moved = augmentation(plain, seed)
        turn = orientation_of(augmentation, seed)
        for before, after in ((plain.images["S"].raster, moved.images["S"].raster), (plain.label, moved.label)):
            assert isinstance(before, Raster)
            assert isinstance(after, Raster)
            np.testing.assert_array_equal(after.pixels, turned(before.pixels, turn), err_msg=str(seed))


@pytest.mark.parametrize("name", STEPS)
def test_every_turn_is_found_and_made_by_its_seed(name: str) -> None:
    steps, count = STEPS[name]
    augmentation, plain = Augmentation(steps), sample()
    variants = variants_of(augmentation)
    assert len(variants) == count
    assert variants.keys() <= EIGHT.keys()
    assert {orientation_of(augmentation, seed) for seed in range(300)} <= variants.keys()
    for turn, seed in variants.items():
        made = with_even_chances(augmentation)(plain, seed).images["S"].raster.pixels
        np.testing.assert_array_equal(made, turned(plain.images["S"].raster.pixels, turn))


def test_nothing_random_without_transforms() -> None:
    assert variants_of(None) == {(0, 1, 2, 3): None}


def test_numbers_are_drawn_exactly_where_the_transforms_draw_them() -> None:
    """Otherwise, dropout after a validation would differ between cached and uncached training."""
    for steps in ([], [ToTensorV2()], [albu.D4()], [albu.VerticalFlip(p=1)]):
        augmentation, after = Augmentation(steps), []
        for draw in (lambda a=augmentation: a(sample()), lambda a=augmentation: orientation_of(a, None)):
            torch.manual_seed(5)
            draw()
            after.append(int(torch.randint(1_000_000, (1,))))
        assert after[0] == after[1]


def test_evenly_leaves_the_transforms_of_the_run_alone() -> None:
    step = albu.HorizontalFlip(p=0.02)
    assert with_even_chances(Augmentation([step])).transforms[0].p == 0.5
    assert step.p == 0.02


@pytest.mark.parametrize(
    "step", [albu.RandomCrop(4, 4), albu.Rotate(), albu.RandomBrightnessContrast(), albu.OneOf([albu.D4()])]
)
def test_other_transforms_are_refused_by_name(step: Any) -> None:
    with pytest.raises(ValueError, match=f"the transforms have {type(step).__name__}, which makes ever new images"):
        variants_of(Augmentation([albu.D4(), step]))
    assert type(step).__name__ not in TURNS
