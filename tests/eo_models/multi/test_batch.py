"""Inputs of a wrapper of several encoders that do not fit are refused, with the remedy."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from stand_in_backbones import RGB, anysat, image, thor, wrapper

from eo_models.multi.batch import UNNAMED, listed, read_batch

TOY = {"toy": {"bands": RGB}}


@pytest.mark.parametrize(
    ("encoders", "arguments", "x", "message"),
    [
        ([TOY], {"bands": RGB}, image(4), "C = 3 channels .BLUE, GREEN, RED., got shape .2, 4, 16, 16"),
        ([TOY], {"bands": RGB}, {"a": image(3), "b": image(3)}, "bands is a list, so the input must be one image"),
        (
            [TOY],
            {"bands": {"S2": RGB, "S1": ["VV"]}},
            image(5),
            r"bands of one image, but would get S2, S1. Choose one: images: \[S2\]",
        ),
        ([{"anything": {}}], {"bands": {"S2": RGB, "S1": ["VV"]}}, image(5), "Expected a dict with the images S2, S1"),
        ([{"anything": {}}], {"bands": {"S2": RGB}}, {"S2": image(2)}, "Expected the image 'S2' as"),
        ([{"toy": {"images": ["S2"]}}], {}, {"S1": image(3)}, "expects S2 as one tensor, but the input has S1"),
        ([{"toy": {"images": ["S2"]}}], {}, image(3), "expects S2.* the input has one tensor"),
        (
            [{"toy": {"images": ["S2"]}}, {"toy": {"images": ["S1"]}}],
            {},
            image(3),
            "Expected a dict with the images S1, S2",
        ),
        ([thor()], {}, {"S1": image(2), "S2": image(3)}, "expects one image as one tensor, but the input has S1, S2"),
        ([{"anything": {"as_tensor": False}}], {}, image(3), "as_tensor: false needs a name"),
        ([{"toy": {}}, {"toy": {"stride": 4}}], {}, image(3), "maps of different sizes .* Set rescale_features"),
        ([{"toy": {"tokens": True}}], {}, image(3), r"Tokens \(B, N, D\) become maps by a neck .*ReshapeTokensToImage"),
        ([{"bare": {}}], {}, image(3), "must return a list of tensors, got Tensor"),
        ([{"channels_last": {}}], {}, image(3), r"announces features with \[3\] channels.*PermuteDims"),
        ([{"one_more": {}}], {}, image(3), r"announces features with \[3\] channels"),
        ([thor(merge_method=None, return_channel_params=True)], {}, image(2, 64), "needs the neck THORGroupReshape"),
        ([anysat()], {}, image(10, 64, 1), "came without dates"),
    ],
)
def test_wrong_inputs_are_refused_with_the_remedy(
    encoders: Any, arguments: dict[str, Any], x: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        wrapper(*encoders, **arguments)(x)


def test_a_key_belongs_to_the_longest_image_that_it_begins_with() -> None:
    x = {"S2": image(3), "S2_series": image(3), "S2_series_dates": torch.zeros(2, 1), "S2_mask": torch.ones(2, 1)}
    batch = read_batch(x, {"S2_dates": 1, "crs": "EPSG:4326"}, {}, ["S2"], [])
    assert list(batch.images) == ["S2", "S2_series"]
    assert set(batch.companions) == {"S2_series_dates", "S2_mask"}
    assert [batch.owner(key) for key in ("S2_series_dates", "S2_dates", "crs")] == ["S2_series", "S2", None]
    assert batch.size == (16, 16)


def test_the_only_image_of_a_dict_has_its_dates_under_every_name() -> None:
    batch = read_batch({"S2": image(3), "S2_dates": 7}, {}, {UNNAMED: tuple(RGB)}, [], ["s2"])
    assert list(batch.images) == [UNNAMED]
    assert batch.companions == {"S2_dates": 7, "s2_dates": 7}
    assert listed(batch.images) == "one tensor"
