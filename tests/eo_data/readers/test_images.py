"""An image is valid where it was observed, and what cannot be one image is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_files import constant_bands, image_reader, record_of

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import Record
from eo_data.catalog.sources import LabelSource
from eo_data.raster.sample import SampleError
from eo_data.readers.formats.limits import Limits
from eo_data.readers.labels import read_label
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
    with pytest.raises(SampleError, match="'S2' .*a.tif. has no valid pixel: all are no-data, NaN or infinite"):
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


@pytest.mark.parametrize(("dtype", "value"), [("uint16", 65535), ("float64", 1e300), ("float32", np.inf)])
def test_a_band_without_a_single_value_is_reported(
    write_tif: Callable[..., Path], tmp_path: Path, dtype: str, value: float
) -> None:
    """65535 means saturated, and the encoder gets the mean of the band as if it were measured."""
    pixels = constant_bands(1000, 1000, side=16).astype(dtype)
    pixels[1] = value
    path = write_tif(tmp_path / "a.tif", pixels, ("B2", "B3"))
    with pytest.warns(UserWarning, match=r"'S2' .*a.tif.: no value in the whole image: B3"):
        image_reader().read(record_of(path))
    pixels[1, 5, 3] = 1000
    write_tif(path, pixels, ("B2", "B3"))
    image_reader().read(record_of(path))


def test_a_series_that_does_not_fit_into_memory_is_refused_while_it_is_read(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    """Each of its files does."""
    paths = [
        write_tif(tmp_path / f"a_2020010{i}.tif", constant_bands(1000, 2000, side=64), ("B2", "B3")) for i in (1, 2, 3)
    ]
    reader = replace(image_reader(FramePolicy()), limits=Limits(max_bytes=150_000))
    with pytest.raises(SampleError, match=r"a_20200101.tif: reading 3 of 3 frames takes 197 kB of memory"):
        reader.read(record_of(*paths))


@pytest.mark.parametrize(
    "error",
    [KeyError("x"), RuntimeError("codec"), OverflowError("int"), SystemError(), MemoryError(), RecursionError()],
)
def test_whatever_a_reader_raises_is_an_error_of_the_sample(
    write_tif: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Else one broken file ends a run that was told to skip such."""
    path = write_tif(tmp_path / "a.tif", constant_bands(1000, 2000), ("B2", "B3"))

    def broken(*_: object, **__: object) -> None:
        raise error

    for place in ("eo_data.readers.formats.geotiff._Raster.stored", "eo_data.readers.images.convert_frames"):
        monkeypatch.setattr(place, broken)
        with pytest.raises(SampleError, match=r"a.tif cannot be read: ") as found:
            image_reader().read(record_of(path))
        assert str(error) in str(found.value)
        if "geotiff" in place:
            with pytest.raises(SampleError, match=r"The label .*a.tif cannot be read: "):
                read_label(Record("x", {}, label=Href(str(path))), LabelSource(layer=0), "regression", None)
        monkeypatch.undo()
