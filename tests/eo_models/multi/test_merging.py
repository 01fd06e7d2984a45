"""Merged features are what the encoders gave, in sizes and channels that were announced."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from stand_in_backbones import RGB, S2, image, thor, toys, wrapper


@pytest.mark.parametrize("rescale", ["up", "down", 0, 1, [7, 5], [[4, 8], [2, 3]], ((4, 4), (2, 2))])
@pytest.mark.parametrize("how", ["concat", "sum", "mean", "flatten"])
def test_merging_equals_an_independent_computation(how: str, rescale: Any) -> None:
    equal = {"dims": [4, 6]} if how in ("sum", "mean") else {}
    second = {"toy": {"bands": ["VV", "VH"], "in_chans": 2, "dims": [3, 6], "stride": 4} | equal}
    both = wrapper(
        {"toy": {"bands": RGB}}, second, bands=[*RGB, "VV", "VH"], merge_features=how, rescale_features=rescale
    )
    x = image(5)
    features = both(x)
    one, two = both.encoders[0](x[:, :3]), both.encoders[1](x[:, 3:])
    listed = [[(n, n) if isinstance(n, int) else n for n in rescale]] if isinstance(rescale, list | tuple) else [[]]
    sizes = {"up": [(8, 8), (4, 4)], "down": [(4, 4), (2, 2)], 0: [(8, 8), (4, 4)], 1: [(4, 4), (2, 2)]}.get(
        rescale if isinstance(rescale, str | int) else "", listed[0]
    )

    def resized(maps: list[torch.Tensor]) -> list[torch.Tensor]:
        pairs = zip(maps, sizes, strict=True)
        return [F.interpolate(m, tuple(size), mode="bilinear", align_corners=False) for m, size in pairs]

    one, two = resized(one), resized(two)
    pairs = list(zip(one, two, strict=True))
    expected = {
        "concat": lambda: [torch.cat(pair, dim=1) for pair in pairs],
        "sum": lambda: [a + b for a, b in pairs],
        "mean": lambda: [(a + b) / 2 for a, b in pairs],
        "flatten": lambda: [*one, *two],
    }[how]()
    assert len(features) == len(expected)
    for actual, wanted in zip(features, expected, strict=True):
        torch.testing.assert_close(actual, wanted)
    assert type(both.out_channels) is list
    assert both.out_channels == [feature.shape[1] for feature in features]


def test_flattening_takes_tokens_and_different_numbers_of_levels() -> None:
    tokens = {"toy": {"bands": RGB, "dims": [5], "tokens": True}}
    both = wrapper(tokens, {"toy": {"bands": RGB}}, bands=RGB, merge_features="flatten")
    assert [tuple(f.shape) for f in both(image(3))] == [(2, 64, 5), (2, 4, 8, 8), (2, 6, 4, 4)]
    assert both.out_channels == [5, 4, 6]


def test_out_channels_follow_the_necks_of_entries_and_of_the_whole() -> None:
    reshape = {"name": "ReshapeTokensToImage", "remove_cls_token": False}
    tokens = {
        "toy": {
            "bands": RGB,
            "dims": [5, 6, 7],
            "tokens": True,
            "stride": 1,
            "necks": [reshape, {"name": "SelectIndices", "indices": [0, 2]}],
        }
    }
    both = wrapper(
        tokens,
        {"toy": {"bands": RGB}},
        bands=RGB,
        rescale_features="up",
        necks=[{"name": "AddBottleneckLayer"}, {"name": "SelectIndices", "indices": [0, 2]}],
    )
    features = both(image(3))
    assert both.encoder_channels == [[5, 7], [4, 6]]
    assert both.out_channels == [9, 6] == [feature.shape[1] for feature in features]
    flat = toys(merge_features="flatten", rescale_features="up", necks=[{"name": "LearnedInterpolateToPyramidal"}])
    assert flat.out_channels == [f.shape[1] for f in flat(image())]


def test_thors_own_neck_is_a_neck_of_its_entry() -> None:
    neck = [{"name": "THORGroupReshapeTokensToImage", "merge": "concat"}]
    grouped = thor(merge_method=None, return_channel_params=True, model_bands=["BLUE", "SWIR_1", "VV"], necks=neck)
    both = wrapper(grouped, {"toy": {"bands": RGB, "dims": [4]}}, bands=[*S2, "VV"], rescale_features="up")
    assert both.out_channels == [3 * 192 + 4] == [f.shape[1] for f in both(image(11, 64))]


def test_necks_that_need_the_size_get_that_of_their_image() -> None:
    tokens = {
        "toy": {"dims": [5], "tokens": True, "necks": [{"name": "ReshapeTokensToImage", "remove_cls_token": False}]}
    }
    assert wrapper(tokens)(image(3)[..., :8])[0].shape == (2, 5, 8, 4)
