"""Shapes decide what is in a batch; values are looked at in a step of their own."""

from __future__ import annotations

import pytest
import torch

from thor_terratorch_ext.inputs import InputSpec


def test_matching_looks_at_no_value_and_the_check_of_values_names_the_bands() -> None:
    spec = InputSpec.parse(["RED", "NIR_BROAD"], 10, "raise")
    image = torch.zeros(1, 2, 4, 4)
    image[0, 1, 0, 0] = float("inf")
    images, cover = spec.match(image, None)
    assert (len(images), cover) == (1, 40)
    with pytest.raises(ValueError, match=r"NaN or infinity in the image \(NIR_BROAD 6.2%"):
        spec.finite(images)


def test_masking_leaves_clean_images_as_they_are() -> None:
    spec = InputSpec.parse(["RED"], 10, "mask")
    clean, spoilt = torch.ones(1, 1, 2, 2), torch.full((1, 1, 2, 2), float("nan"))
    assert spec.finite([clean])[0] is clean
    assert not spec.finite([spoilt])[0].any()


@pytest.mark.parametrize("cover", [40, 40.0, torch.tensor([40, 40])])
def test_a_ground_cover_is_one_number_or_the_same_for_all_samples(cover: float) -> None:
    assert InputSpec.parse(["RED"], 10, "raise").match(torch.zeros(2, 1, 4, 4), cover)[1] == 40


def test_ground_covers_that_differ_in_a_batch_are_refused() -> None:
    with pytest.raises(ValueError, match="One forward pass has one ground cover"):
        InputSpec.parse(["RED"], 10, "raise").match(torch.zeros(2, 1, 4, 4), torch.tensor([40, 80]))  # type: ignore[arg-type]


def test_modalities_are_paired_by_name_and_split_from_one_tensor_in_order() -> None:
    spec = InputSpec.parse({"S2": ["RED", "BLUE"], "S1": ["VV"]}, None, "raise")
    s2, s1 = torch.zeros(1, 2, 4, 4), torch.ones(1, 1, 4, 4)
    for batch in ({"S1": s1, "S2": s2}, torch.cat([s2, s1], dim=1)):
        images, _ = spec.match(batch, 40)
        assert torch.equal(images[0], s2)
        assert torch.equal(images[1], s1)
