"""The bands of a picture are chosen by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from eo_data.catalog.sources import ImageSource
from eo_finetune.panels.views import View, bands_of, middle_frame, views_of, views_of_batch


def source(*bands: str, sensor: str = "sentinel2_l2a") -> ImageSource:
    return ImageSource("x/{id}.tif", bands, sensor=sensor)


class Stock:
    """What TerraTorch's data modules hold."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


def test_true_colour_is_found_by_name_and_not_by_position() -> None:
    modalities = {
        "S1": source("VH", "VV", sensor="sentinel1"),
        "S2": source("B11", "B4", "B8", "B2", "B3"),
    }
    views = views_of(Stock(modalities=modalities))
    assert [(view.title, view.modality, view.channels) for view in views] == [
        ("S2 true colour", "S2", (1, 4, 3)),
        ("S1 VV", "S1", (1,)),
    ]
    image = {"S1": torch.zeros(2, 8, 8), "S2": torch.zeros(5, 8, 8)}
    image["S2"][1, :4] = 1  # B4, red
    image["S1"][1, :, :4] = 1
    colour, radar = (view.of(image) for view in views)
    assert colour is not None
    assert radar is not None
    assert colour[1][0, 0].tolist() == [1, 0, 0]
    assert radar[1][0].mean(axis=-1).tolist() == [1, 1, 1, 1, 0, 0, 0, 0]


def test_radar_and_optical_bands_in_one_tensor_give_two_pictures() -> None:
    views = views_of(Stock(output_bands=["BLUE", "GREEN", "RED", "VV", "VH"]))
    assert [(view.title, view.channels) for view in views] == [("true colour", (2, 1, 0)), ("VV", (3,))]


def test_what_the_user_names_is_shown() -> None:
    module = Stock(modalities={"S2": source("B2", "B3", "B4", "B8"), "S1": source("VV", "VH", sensor="sentinel1")})
    assert [v.channels for v in views_of(module, ["B8", "red", "GREEN"])] == [(3, 2, 1), (0,)]
    only = views_of(module, {"S1": ["VH"]})
    assert [(v.title, v.modality, v.channels) for v in only] == [("S1 IW_VH", "S1", (1,))]
    assert views_of(None, [2, 1, 0])[0].channels == (2, 1, 0)
    wrong: list[tuple[Any, Any, str]] = [
        (module, {"S3": ["B2"]}, "rgb names the modality 'S3'. Valid: S2, S1"),
        (module, {"S2": ["B2", "B3"]}, "three bands .* or one .*, got .'B2', 'B3'."),
        (module, {"S2": ["B12"]}, "rgb names the band 'B12' of S2. Valid: BLUE, GREEN, RED, NIR_BROAD"),
        (module, {"S2": [7]}, "rgb names the channel 7 of S2. Valid: 0..3"),
        (None, ["RED", "GREEN", "BLUE"], "not known, as the data module does not name them; give channel numbers"),
    ]
    for given, rgb, message in wrong:
        with pytest.raises(ValueError, match=message):
            views_of(given, rgb)


def test_without_names_the_indices_of_the_data_module_count() -> None:
    assert bands_of(Stock(output_bands=None, dataset_bands=[0, 1])) == {}
    assert views_of(None) == ()
    image = torch.zeros(2, 6, 8, 8)
    assert views_of_batch(image, Stock(rgb_indices=[5, 3, 1]))[0].channels == (5, 3, 1)
    assert views_of_batch(image, Stock(rgb_indices=[5, 3, 9]))[0].channels == (0, 1, 2)
    assert views_of_batch({"DEM": image[:, :1]}, Stock(rgb_indices={"S2": [3, 2, 1]}))[0] == View(
        "DEM channel 1", "DEM", (0,)
    )
    assert views_of_batch(None, None) == ()


def test_of_a_series_the_middle_frame_that_shows_something_is_drawn() -> None:
    series = np.random.default_rng(0).normal(size=(1, 7, 4, 4)).astype(np.float32)
    series[:, [2, 3, 4]] = 0  # padding
    assert middle_frame(series) == 5
    assert middle_frame(series, np.array([1, 1, 1, 0, 0, 0, 0])) == 1
    assert middle_frame(np.zeros((1, 5, 4, 4), np.float32)) == 2
    image = {"S2": torch.from_numpy(series), "S2_mask": torch.tensor([1, 1, 1, 0, 0, 0, 0]).bool()}
    drawn = View("S2", "S2", (0,)).of(image)
    assert drawn is not None
    assert drawn[0] == "S2, frame 2 of 7"


def test_a_stand_in_for_an_image_is_not_drawn() -> None:
    """Batches of cached features hold a plane of zeros, and so do modalities that lack."""
    view = View("S1 VV", "S1", (0,))
    assert view.of(torch.zeros(1, 4, 4)) is None
    assert view.of({"S2": torch.ones(3, 4, 4)}) is None
    assert View("RGB", None, (0, 1, 2)).of(torch.rand(1, 4, 4)) is None
