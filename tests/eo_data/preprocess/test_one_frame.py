"""A series of one frame becomes the image of an encoder of single dates; several are never mixed up silently."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from small_scenes import S2_BANDS, numbers, write_scene

from eo_core.fingerprint import plain_values
from eo_data.catalog.sources import ImageSource
from eo_data.dataset.chip_splits import SeriesSplits
from eo_data.preprocess import OneFrame
from eo_data.preprocess.one_frame import single
from eo_data.raster.raster import Raster
from eo_data.raster.sample import Image, Sample, SampleError
from eo_data.sensors.units import InputUnit
from eo_data.temporal.frame_policy import FramePolicy


@dataclass(frozen=True)
class Untouched:
    """A preprocessing that keeps a sample as it is."""

    def __call__(self, sample: Sample) -> Sample:
        return sample

    def describe(self, image: Image) -> dict[str, object]:
        return {"frames": image.is_series}


def series(frames: int) -> Image:
    pixels = np.arange(frames * 2 * 4 * 4, dtype=np.float32).reshape(frames, 2, 4, 4)
    valid = np.ones((frames, 4, 4), dtype=bool)
    valid[:, 0, 0] = False
    days = tuple(date(2022, 6, 1 + i) for i in range(frames))
    return Image(Raster(pixels, valid, None, None), ("VV", "VH"), InputUnit.DECIBEL, 10.0, days, ("name",) * frames)


def test_the_only_frame_is_the_image_with_its_mask_and_date() -> None:
    sample = OneFrame(Untouched())(Sample("a", {"S1": series(1), "DEM": single("x", series(1))}))
    image = sample.images["S1"]
    assert image.raster.pixels.shape == (2, 4, 4)
    assert not image.raster.valid[0, 0]
    assert image.raster.valid.sum() == 15
    assert image.dates == (date(2022, 6, 1),)


def test_several_frames_are_refused() -> None:
    with pytest.raises(SampleError, match="'S1' has 2 frames, and one is expected"):
        OneFrame(Untouched())(Sample("a", {"S1": series(2)}))


def test_another_preprocessing_inside_is_another_fingerprint() -> None:
    assert plain_values(OneFrame(Untouched()))["preprocess"]["class"].endswith("Untouched")


def test_a_composite_of_dated_files_reaches_an_encoder_of_single_images(tmp_path: Path) -> None:
    days = ("20220601", "20220611", "20220621")
    for i, day in enumerate(days):
        write_scene(tmp_path / f"scene_{day}.tif", numbers(seed=i))
    policy = FramePolicy(mode="composites", frames=1, start="2022-06-01", end="2022-07-01")
    source = ImageSource("scene_*.tif", S2_BANDS, "sentinel2_l2a", unit="digital_number")
    module = SeriesSplits(
        policy, root=str(tmp_path), modalities={"S2": source}, preprocess=OneFrame(Untouched()), dates_as="none"
    )
    image = module.dataset("predict")[0]["image"]
    expected = np.median([numbers(seed=i) for i in range(3)], axis=0) * 1e-4
    np.testing.assert_allclose(image.numpy(), expected, atol=1e-6)
