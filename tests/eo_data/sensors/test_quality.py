"""A quality layer that is read with the wrong table calls clouds clear."""

from __future__ import annotations

import numpy as np
import pytest

from eo_data.sensors.quality import clear_mask, missing_numbers


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


def test_aerosol_snow_and_water_of_fmask_are_no_clouds() -> None:
    """Sums of the bits that the HLS 2.0 user guide lists."""
    clear = [0, 64, 128, 192, 16, 32, 16 + 64, 32 + 128 + 64]  # aerosol, snow or ice, water
    hidden = [2, 4, 8, 2 + 64, 4 + 192, 8 + 32 + 64, 14 + 192, 255]  # cloud, next to it, shadow; fill
    layer = np.array([[*clear, *hidden]], dtype=np.uint8)
    assert clear_mask(layer, "fmask")[0].tolist() == [True] * 8 + [False] * 8
    # As Landsat's QA_PIXEL, clear land without aerosol would be padding, and snow a shadow.
    with pytest.raises(ValueError, match="confidences.*got values from 0 to 255.*fit cloud_kind: fmask"):
        clear_mask(layer, "qa_pixel")


def test_clouds_of_level_1c() -> None:
    qa60 = np.array([[0, 1 << 10, 1 << 11, 3 << 10]], dtype=np.uint16)
    assert clear_mask(qa60, "qa60").tolist() == [[True, False, False, False]]
    assert clear_mask(np.array([[0, 1]], dtype=np.uint8), "msk_classi").tolist() == [[True, False]]


def test_a_probability_counts_in_percent() -> None:
    layer = np.array([[0, 39, 39.5, 40, 100]], dtype=np.float32)
    assert clear_mask(layer, "probability").tolist() == [[True, True, True, False, False]]
    # A clear scene has 0 and 1 percent; so has a mask, whose 1 is cloud: the name tells.
    few = np.array([[0, 1, 1]], dtype=np.uint8)
    assert clear_mask(few, "probability", name="MSK_CLDPRB").all()
    for layer in (few, np.array([[0.0, 0.25, 0.9]]), np.array([[0, 255]]), np.array([[0.0, 120.0]])):
        with pytest.raises(ValueError, match="has percents 0..100.*0 and 1 alone are a mask"):
            clear_mask(layer, "probability")


def test_a_layer_of_landsat_may_hold_nothing_but_fill_or_one_value() -> None:
    assert not clear_mask(np.ones((2, 2), dtype=np.uint16), "qa_pixel").any()
    assert clear_mask(np.full((2, 2), 5440), "qa_pixel").all()  # Landsat 5: no cirrus band, no confidence of it


def test_the_name_of_a_layer_must_not_contradict_its_kind() -> None:
    layer = np.array([[64, 80]], dtype=np.uint8)
    assert clear_mask(layer, "fmask", name="Fmask").all()
    with pytest.raises(ValueError, match="Set cloud_kind: fmask"):
        clear_mask(layer, "mask", name="Fmask")


SEEN = {"scl": 4, "qa_pixel": 21824, "fmask": 64, "qa60": 0, "msk_classi": 0, "probability": 3, "mask": 0}


@pytest.mark.parametrize("kind", SEEN)
def test_what_is_missing_is_not_clear(kind: str) -> None:
    seen = SEEN[kind]
    assert not clear_mask(np.full((2, 2), np.nan, dtype=np.float32), kind).any()
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
        (np.array([[21824 - (1 << 10) + (1 << 11)]]), "qa_pixel", "are 00, 01 or 11 from bit 10 on"),
        (np.array([[2, 64]]), "qa_pixel", "got values from 2 to 64 .*fit cloud_kind: .*fmask"),
        (np.array([[64, 1 + 2]]), "fmask", "bit 0 is set in fill .255. only"),
        (np.array([[0, 300]]), "fmask", "whole numbers 0..255"),
        (np.array([[21824, 21952]]), "fmask", "fit cloud_kind: qa_pixel"),
        (np.array([[0, 1025]]), "qa60", "numbers 0, 1024 .opaque cloud., 2048 .cirrus. and 3072"),
        (np.array([[0, 2]]), "msk_classi", "numbers 0 and 1 .cloud., got values from 0 to 2"),
        (np.array([[0, 21824]]), "mask", "0 = clear, got values from 0 to 21824 .*fit cloud_kind: qa_pixel"),
        (np.array([[0.0, 0.3]]), "mask", "nearest neighbour"),
        (np.zeros((2, 2)), "clouds", "kind must be one of scl, qa_pixel, fmask, qa60, msk_classi, probability, mask"),
    ],
)
def test_another_layer_is_refused(layer: np.ndarray, kind: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        clear_mask(layer, kind)


def test_a_class_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="clear_classes among 0..11, got \\(4, 12\\)"):
        clear_mask(np.zeros((2, 2)), "scl", clear_classes=(4, 12))


@pytest.mark.parametrize("kind", SEEN)
def test_zero_is_not_missing_where_it_means_clear(kind: str) -> None:
    """Zarr 2 states 0 as the fill value of every array: each clear pixel would be one of clouds."""
    zero_is_clear = kind not in ("scl", "qa_pixel")
    assert clear_mask(np.zeros((1, 1)), kind).all() == zero_is_clear
    assert missing_numbers(kind, (0.0, 255.0)) == ((255.0,) if zero_is_clear else (0.0, 255.0))
