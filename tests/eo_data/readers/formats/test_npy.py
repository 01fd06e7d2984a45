"""Arrays name nothing: bands come from the config, and what is no array of numbers is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_files import hrefs, read

from eo_data.catalog.records import Record, TileWindow
from eo_data.catalog.sources import ImageSource, LabelSource
from eo_data.raster.raster import Raster
from eo_data.raster.sample import SampleError
from eo_data.readers.labels import read_label

FILE_BANDS = ["B8", "B2", "-"]


def _source(*bands: str, **options: Any) -> ImageSource:
    settings = {"sensor": "sentinel2_l2a", "file_bands": FILE_BANDS, "unit": "digital_number"} | options
    return ImageSource(bands=bands or ("BLUE", "NIR_BROAD"), **settings)


def _series(path: Path) -> Path:
    """Two frames of three bands: the value is 100 * frame + 10 * band + row."""
    frame, band, row = np.ogrid[:2, :3, :4]
    np.save(path, np.broadcast_to((100 * frame + 10 * band + row)[..., None], (2, 3, 4, 5)).astype(np.int16))
    return path


def test_bands_of_a_series_come_by_the_names_of_the_config(tmp_path: Path) -> None:
    reading = read(_series(tmp_path / "a.npy"), _source())
    assert reading.pixels.shape == (2, 2, 4, 5)
    assert reading.pixels.dtype == np.float32
    assert reading.pixels[:, :, 3, 0].tolist() == [[13, 3], [113, 103]]
    assert (reading.transform, reading.crs, reading.frame_dates) == (None, None, ())


def test_an_image_without_time_axis(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([8, 2, 0], dtype=np.float64)[:, None, None] * np.ones((3, 2, 2)))
    assert read(tmp_path / "a.npy", _source()).pixels[:, 0, 0].tolist() == [2, 8]


def test_no_data_becomes_nan_and_the_file_stays_as_it_is(tmp_path: Path) -> None:
    path = _series(tmp_path / "a.npy")
    before = path.read_bytes()
    pixels = read(path, _source(nodata=12)).pixels
    assert np.argwhere(np.isnan(pixels)).tolist() == [[0, 0, 2, column] for column in range(5)]
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("dtype", "nodata", "stored", "missing"),
    [
        ("uint16", 65535, [65535, 65534], [True, False]),
        ("int32", 16777217, [16777217, 16777216], [True, False]),  # one number in float32
        ("float64", -3.4e38, [-3.3999999521443642e38, -3.3e38], [True, False]),  # no-data in float32 precision
        ("uint8", 0.5, [0, 1], [False, False]),
    ],
)
def test_no_data_is_compared_as_it_is_stored(
    tmp_path: Path, dtype: str, nodata: float, stored: list[float], missing: list[bool]
) -> None:
    np.save(tmp_path / "a.npy", np.broadcast_to(np.array(stored, dtype=dtype), (3, 1, 2)))
    assert np.isnan(read(tmp_path / "a.npy", _source("B2", nodata=nodata)).pixels[0, 0]).tolist() == missing


def test_a_window_is_cut(tmp_path: Path) -> None:
    window = TileWindow(2, 0, 4, (0, 0, 4, 4), (4, 5))
    assert read(_series(tmp_path / "a.npy"), _source(), window).pixels[0, 1, :, 0].tolist() == [2, 3]


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (np.zeros((2, 2)), {}, r"a.npy: the array has shape \(2, 2\); expected \(T, C, H, W\)"),
        (np.zeros((4, 2, 2)), {}, "has 4 bands, but the config declares 3"),
        (np.zeros((3, 2, 2)), {"file_bands": None}, "band order of .*a.npy .* is unknown.*file_bands"),
        (np.zeros((3, 0, 2)), {}, "holds no pixels"),
        (np.zeros((3, 2, 2), dtype=complex), {}, "its pixels are complex"),
        (np.array([{"a": 1}] * 3, dtype=object), {}, "no array of numbers can be read: .*Python objects"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, array: np.ndarray, options: dict[str, object], message: str) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(SampleError, match=message):
        read(tmp_path / "a.npy", _source(**options))


@pytest.mark.parametrize("keep", [0, 5, 200])
def test_truncated_arrays_are_refused(tmp_path: Path, keep: int) -> None:
    path = _series(tmp_path / "a.npy")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SampleError, match="a.npy: no array of numbers can be read"):
        read(path, _source())


def test_several_arrays_in_one_file_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.zeros(3))
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(SampleError, match="it holds NpzFile, expected an array of numbers"):
        read(tmp_path / "a.npy", _source())


# Labels


def _label(path: Path, **options: Any) -> Raster:
    source = LabelSource(**({"classes": 20, "ignore": [19]} | options))
    found = read_label(Record("x", {}, label=hrefs(path)[0]), source, "segmentation", None)
    assert isinstance(found, Raster)
    return found


def test_the_stated_layer_of_an_array_is_the_label(tmp_path: Path) -> None:
    """PASTIS: the other layers hold parcel numbers, which may look like classes."""
    layers = np.stack([np.array([[1, 19], [0, 3]]), np.full((2, 2), 7), np.full((2, 2), 8)]).astype(np.uint8)
    np.save(tmp_path / "a.npy", layers)
    label = _label(tmp_path / "a.npy", layer=0)
    assert label.pixels[0].tolist() == [[1, -1], [0, 3]]
    assert label.valid.tolist() == [[True, False], [True, True]]
    assert label.transform is None
    np.save(tmp_path / "b.npy", layers[0])
    assert _label(tmp_path / "b.npy").pixels[0].tolist() == [[1, -1], [0, 3]]


def test_nan_in_an_array_of_labels_is_no_label(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[1, np.nan]]))
    assert _label(tmp_path / "a.npy").pixels[0].tolist() == [[1, -1]]


def test_the_stated_band_of_a_raster_is_the_label(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", np.stack([np.full((2, 2), value, dtype=np.uint8) for value in (4, 5)]))
    assert _label(path, layer=1).pixels[0].tolist() == [[5, 5], [5, 5]]


@pytest.mark.parametrize(
    ("shape", "layer", "message"),
    [
        ((3, 2, 2), None, r"a.npy cannot be used: it has 3 layers, expected one. Set layer \(0..2\)"),
        ((3, 2, 2), 3, "it has 3 layers; layer 3 of the label source is not among 0..2"),
        ((1, 1, 2, 2), None, r"the array has shape \(1, 1, 2, 2\); expected \(H, W\)"),
    ],
)
def test_other_arrays_are_no_labels(tmp_path: Path, shape: tuple[int, ...], layer: int | None, message: str) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape, dtype=np.uint8))
    with pytest.raises(SampleError, match=message):
        _label(tmp_path / "a.npy", layer=layer)


def test_a_missing_label_and_a_negative_layer_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SampleError, match="The label .*a.npy cannot be read"):
        _label(tmp_path / "a.npy")
    with pytest.raises(ValueError, match="layer counts the layers of a label file from 0, got -1"):
        LabelSource(layer=-1)
