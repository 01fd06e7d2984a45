"""The neck announces what it returns, and refuses tokens whose layout it does not know."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch

from thor_terratorch_ext import THORGroupReshapeTokensToImage, build_thor
from thor_terratorch_ext.backbone import ThorBackbone
from thor_terratorch_ext.necks import GroupedChannels, merge_maps, token_maps

BANDS = ["BLUE", "GREEN", "RED", "SWIR_1", "VV", "VH"]
SMALL = {"ground_covers": [320], "flexivit_patch_size_seqs": [8]}


def tiny(**arguments: Any) -> ThorBackbone:
    arguments = {"pretrained": False, "model_bands": BANDS, "input_params": SMALL} | arguments
    return build_thor("tiny", **arguments)


def image(channels: int = 6, side: int = 32, batch: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, channels, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("merge", "width"), [("concat", 576), ("mean", 192), ("sum", 192)])
def test_the_neck_announces_what_it_returns(merge: str, width: int) -> None:
    backbone = tiny(return_channel_params=True, out_indices=[5, 11])
    neck = THORGroupReshapeTokensToImage(backbone.out_channels.copy(), merge=merge)
    channels = neck.process_channel_list(backbone.out_channels.copy())
    maps = neck(backbone(image()), image_size=(32, 32))
    assert list(channels) == [width] * 2 == [m.shape[1] for m in maps]
    merged = tiny(merge_method=merge, out_indices=[5, 11])
    merged.load_state_dict(backbone.state_dict())
    torch.testing.assert_close(merged(image())[-1], maps[-1])


def test_the_neck_after_merge_method_does_not_multiply_channels() -> None:
    backbone = tiny(merge_method="concat", return_channel_params=True, out_indices=[11])
    neck = THORGroupReshapeTokensToImage(backbone.out_channels.copy())
    assert list(neck.process_channel_list(backbone.out_channels.copy())) == [576]
    assert neck(backbone(image()))[0].shape[1] == 576


def test_the_neck_refuses_what_it_cannot_know() -> None:
    backbone = tiny(out_indices=[11])
    neck = THORGroupReshapeTokensToImage([192])
    with pytest.raises(ValueError, match="return_channel_params=True"):
        neck(backbone(image()))
    with pytest.raises(ValueError, match="num_groups"):
        neck.process_channel_list([192])
    with pytest.raises(ValueError, match="same number of channels"):
        THORGroupReshapeTokensToImage([192, 384])
    with pytest.raises(ValueError, match="concat"):
        THORGroupReshapeTokensToImage([192], merge="max")
    other = tiny(model_bands=["RED"], out_indices=[11], return_channel_params=True)(image(1))
    with pytest.raises(ValueError, match="Expected 16 tokens.*got 36"):
        neck((backbone(image()), other[1]))


def test_out_channels_survive_copy_and_pickle_with_their_groups() -> None:
    channels = GroupedChannels([192], 3)
    assert channels.copy().n_groups == pickle.loads(pickle.dumps(channels)).n_groups == 3  # noqa: S301


def test_tokens_become_maps_row_by_row_and_group_by_group() -> None:
    tokens = torch.arange(4 + 1, dtype=torch.float32)[None, :, None].expand(1, 5, 3)
    fine, coarse = token_maps(tokens, [2, 1])
    assert fine[0, 0].tolist() == [[0, 1], [2, 3]]
    assert coarse[0, 0].tolist() == [[4]]
    assert merge_maps([fine, coarse], "sum")[0, 0].tolist() == [[4, 5], [6, 7]]
    assert merge_maps([fine, coarse], "mean")[0, 0].tolist() == [[2, 2.5], [3, 3.5]]
    assert merge_maps([fine, coarse], "concat").shape == (1, 6, 2, 2)
