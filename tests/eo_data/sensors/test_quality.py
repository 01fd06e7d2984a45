"""A quality layer that is read with the wrong table calls clouds clear."""

from __future__ import annotations

import numpy as np
import pytest

from eo_data.sensors.quality import clear_mask


def test_the_clear_classes_of_the_scene_classification() -> None:
    layer = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert np.flatnonzero(clear_mask(layer, "scl")).tolist() == [4, 5, 6, 7, 11]
    assert np.flatnonzero(clear_mask(layer, "scl", clear_classes=(4, 5))).tolist() == [4, 5]


def test_the_bits_of_qa_pixel() -> None:
    # Values from the pixel value interpretation of the Landsat 8-9 Collection 2 guide.
    clear = [21824, 21952, 30048, 22080]  # land, water, snow, cloud of medium confidence only: the flag is not set
    hidden = [1, 21826, 22280, 23888, 54596, 55052]  # fill, dilated cloud, cloud, shadow, cirrus, cloud and cirrus
    layer = np.array([[*clear, *hidden]], dtype=np.uint16)
    assert clear_mask(layer, "qa_pixel")[0].tolist() == [True] * 4 + [False] * 6
    for bit in range(5):
        assert not clear_mask(np.array([[21824 | 1 << bit]]), "qa_pixel").any()


def test_padding_of_qa_pixel_is_not_clear() -> None:
    assert not clear_mask(np.zeros((2, 2), dtype=np.uint16), "qa_pixel").any()


def test_a_plain_mask_is_nonzero_where_cloudy() -> None:
    layer = np.array([[[0, 1], [255, 0]]], dtype=np.uint8)
    assert clear_mask(layer, "mask").tolist() == [[[True, False], [False, True]]]
    assert clear_mask(layer.astype(np.bool_), "mask").tolist() == [[[True, False], [False, True]]]


@pytest.mark.parametrize("kind", ["scl", "qa_pixel", "mask"])
def test_what_is_missing_is_not_clear(kind: str) -> None:
    seen = {"scl": 4, "qa_pixel": 21824, "mask": 0}[kind]
    layer = np.array([[seen, np.nan]], dtype=np.float32)
    result = clear_mask(layer, kind)
    assert result.dtype == np.bool_
    assert result.tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("layer", "kind", "message"),
    [
        (np.array([[4, 12]]), "scl", "whole numbers 0..11, got values from 4 to 12"),
        (np.array([[4, -1]]), "scl", "got values from -1 to 4"),
        (np.array([[4.0, 6.5]]), "scl", "nearest neighbour"),
        (np.array([[21824, 70000]]), "qa_pixel", "whole numbers 0..65535"),
        (np.zeros((1, 1, 2, 2)), "scl", "Expected a quality layer"),
        (np.zeros((2, 2)), "fmask", "kind must be one of scl, qa_pixel, mask"),
    ],
)
def test_another_layer_is_refused(layer: np.ndarray, kind: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        clear_mask(layer, kind)


def test_a_class_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="clear_classes among 0..11, got \\(4, 12\\)"):
        clear_mask(np.zeros((2, 2)), "scl", clear_classes=(4, 12))
