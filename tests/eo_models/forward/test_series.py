"""TerraTorch's layout becomes an encoder's dictionary: bands in its order, time before channels, dates beside them."""

from __future__ import annotations

import pytest
import torch

from anysat_ext.sensors import TABLE
from eo_models.forward.series import DATE, SeriesSpec

L8 = ["COASTAL_AEROSOL", "BLUE", "GREEN", "RED", "NIR_NARROW", "SWIR_1", "SWIR_2"]
RADAR = {"s1-asc": ["VH", DATE, "VV"]}


def test_bands_are_sorted_and_the_date_plane_becomes_dates_and_a_mask() -> None:
    spec = SeriesSpec.parse(TABLE, ["s1-asc"], RADAR, None)
    image = torch.zeros(1, 3, 2, 4, 4)
    image[:, 0], image[:, 2] = 2.0, 1.0
    image[0, 1, 0], image[0, 1, 1] = 40.0, -1.0
    data = spec.match(image, {})
    assert data["s1-asc"].shape == (1, 2, 2, 4, 4)
    assert data["s1-asc"][0, 0, :, 0, 0].tolist() == [1.0, 2.0]
    assert data["s1-asc_dates"].tolist() == [[40.0, 0.0]]
    assert data["s1-asc_mask"].tolist() == [[True, False]]


def test_zeros_of_augmentations_in_a_date_plane_are_no_dates() -> None:
    spec = SeriesSpec.parse(TABLE, ["s1-asc"], RADAR, None)
    image = torch.zeros(1, 3, 1, 4, 4)
    image[:, 1, :, 1:] = 200.0
    assert spec.match(image, {})["s1-asc_dates"].tolist() == [[200.0]]
    image[0, 1, 0, 3, 3] = 199.5
    with pytest.raises(ValueError, match="must hold one day of the year per frame"):
        spec.match(image, {})


def test_a_mask_of_the_batch_goes_before_that_of_the_plane() -> None:
    spec = SeriesSpec.parse(TABLE, ["s1-asc"], RADAR, None)
    given = torch.tensor([[True, False]])
    data = spec.match(torch.ones(1, 3, 2, 4, 4), {"s1-asc_mask": given})
    assert data["s1-asc_mask"] is given


@pytest.mark.parametrize(
    ("modality", "names", "order"),
    [
        ("aerial", ["BLUE", "GREEN", "RED", "NIR_BROAD"], (2, 1, 0, 3)),
        ("l7", ["SWIR_2", "SWIR_1", "NIR_BROAD", "RED", "GREEN", "BLUE"], (5, 4, 3, 2, 1, 0)),
        ("l8", [*L8, "PANCHROMATIC", "CIRRUS", "THERMAL_INFRARED_1", "B11"], (7, 0, 1, 2, 3, 4, 5, 6, 8, 9, 10)),
    ],
)
def test_bands_of_landsat_and_aerial_images_go_by_their_canonical_names(
    modality: str, names: list[str], order: tuple[int, ...]
) -> None:
    (channels,) = SeriesSpec.parse(TABLE, [modality], {modality: names}, None).images
    assert channels.order == order
