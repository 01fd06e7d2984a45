"""An image is valid where it was observed, and what cannot be one image is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_files import constant_bands, image_reader, record_of

from eo_data.raster.sample import SampleError
from eo_data.temporal.frame_policy import FramePolicy

# Missing values


def test_nan_in_one_band_poisons_nothing_else(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    pixels = constant_bands(0.1, 0.2, dtype="float32")
    pixels[0, 0, 0] = np.nan
    pixels[1, 0, 1] = np.inf
    pixels[:, 0, 2] = -np.inf
    image = image_reader(unit="reflectance").read(record_of(write_tif(tmp_path / "a.tif", pixels, ("B2", "B3"))))
    assert np.argwhere(np.isnan(image.raster.pixels)).tolist() == [[0, 0, 0], [0, 0, 2], [1, 0, 1], [1, 0, 2]]
    assert np.argwhere(~image.raster.valid).tolist() == [[0, 2]]
    assert image.raster.pixels[1, 0, 0] == np.float32(0.2)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0])
def test_an_image_of_no_data_is_refused(write_tif: Callable[..., Path], tmp_path: Path, value: float) -> None:
    path = write_tif(tmp_path / "a.tif", constant_bands(value, value, dtype="float32"), ("B2", "B3"), nodata=0)
    with pytest.raises(SampleError, match="'S2' .*a.tif. has no valid pixel: all are no-data or NaN"):
        image_reader(unit="reflectance").read(record_of(path))


def test_an_acquisition_of_no_data_is_not_observed(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    empty = write_tif(tmp_path / "20210101.tif", constant_bands(0, 0), ("B2", "B3"), nodata=0)
    full = write_tif(tmp_path / "20210102.tif", constant_bands(5, 6), ("B2", "B3"), nodata=0)
    image = image_reader(FramePolicy()).read(record_of(empty, full))
    assert image.observed.tolist() == [False, True]
    assert image.raster.valid.any(axis=(1, 2)).tolist() == [False, True]


# Series


def test_several_files_for_one_chip_are_refused(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    paths = [write_tif(tmp_path / f"S2_2021010{i}.tif", constant_bands(1, 2), ("B2", "B3")) for i in (1, 2)]
    with pytest.raises(
        SampleError, match="x: 'S2' has 2 frames .S2_20210101.tif, S2_20210102.tif.. Read series with T"
    ):
        image_reader().read(record_of(*paths))


def test_faults_of_the_frames_name_the_modality(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    paths = [write_tif(tmp_path / f"S2_2021010{i}.tif", constant_bands(1, 2), ("B2", "B3")) for i in (1, 2)]
    with pytest.raises(SampleError, match="'S2' .*S2_20210101.tif.: Got 2 acquisitions for 1 frames"):
        image_reader(FramePolicy(frames=1)).read(record_of(*paths))
