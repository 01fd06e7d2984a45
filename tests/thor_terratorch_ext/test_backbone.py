"""The backbone contract: the right band in the right channel, checked geometry, no host trap."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from thor_terratorch_ext import build_thor
from thor_terratorch_ext.backbone import ThorBackbone
from thor_terratorch_ext.model.channels import GROUP_OF, weight_name

BANDS = ["BLUE", "GREEN", "RED", "SWIR_1", "VV", "VH"]
SMALL = {"ground_covers": [320], "flexivit_patch_size_seqs": [8]}


def tiny(**arguments: Any) -> ThorBackbone:
    arguments = {"pretrained": False, "model_bands": BANDS, "input_params": SMALL} | arguments
    return build_thor("tiny", **arguments)


def image(channels: int = 6, side: int = 32, batch: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, channels, side, side, generator=torch.Generator().manual_seed(seed))


def test_each_band_moves_its_own_kernel_and_its_own_groups_tokens() -> None:
    backbone = tiny(out_indices=[0])
    for k, channel in enumerate(backbone.bands):
        backbone.zero_grad()
        lonely = torch.zeros(1, len(BANDS), 32, 32)
        lonely[:, k] = image(1, batch=1)[:, 0]
        backbone(lonely)[0].square().sum().backward()
        moved = {
            name
            for name, conv in backbone.model.ind_patch_embed.patch_embed.items()
            if conv.weight.grad is not None and conv.weight.grad.abs().sum() > 0
        }
        assert moved == {weight_name(channel)}, BANDS[k]


def test_permuted_bands_give_the_same_features() -> None:
    order = [4, 2, 0, 5, 3, 1]
    first = tiny()
    second = tiny(model_bands=[BANDS[k] for k in order])
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(first(image())[-1], second(image()[:, order])[-1], rtol=1e-4, atol=1e-5)


def test_a_batch_equals_its_samples_one_by_one() -> None:
    backbone = tiny().eval()
    with torch.no_grad():
        together = backbone(image(batch=3))[-1]
        single = torch.cat([backbone(image(batch=3)[k : k + 1])[-1] for k in range(3)])
    torch.testing.assert_close(together, single, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("channels", "word"), [(13, "13"), (5, "5")])
def test_extra_or_missing_channels_are_refused_not_dropped(channels: int, word: str) -> None:
    with pytest.raises(ValueError, match=rf"Expected 6 channels.*BLUE, GREEN.*got {word}"):
        tiny()(image(channels))


@pytest.mark.parametrize(
    ("method", "width", "ndim"), [(None, 192, 3), ("mean", 192, 4), ("sum", 192, 4), ("concat", 576, 4)]
)
def test_out_channels_tell_what_comes_out(method: str | None, width: int, ndim: int) -> None:
    backbone = tiny(merge_method=method, out_indices=[2, 5, 11])
    features = backbone(image())
    assert isinstance(backbone.out_channels, list)
    assert list(backbone.out_channels) == [width] * 3 == [f.shape[-1 if ndim == 3 else 1] for f in features]
    assert all(f.ndim == ndim for f in features)


def test_merging_is_on_the_finest_grid_and_unweighted() -> None:
    backbone = tiny(out_indices=[3])
    with torch.no_grad():
        tokens = backbone(image())[0]
        backbone.merge_method = "mean"
        merged = backbone(image())[0]
    fine = tokens[:, :16].transpose(1, 2).reshape(2, 192, 4, 4)
    coarse = tokens[:, 16:20].transpose(1, 2).reshape(2, 192, 2, 2)
    radar = tokens[:, 20:].transpose(1, 2).reshape(2, 192, 4, 4)
    upsampled = torch.nn.functional.interpolate(coarse, size=(4, 4), mode="bilinear")
    torch.testing.assert_close(merged, (fine + upsampled + radar) / 3)


@pytest.mark.parametrize(
    ("asked", "blocks"), [(None, list(range(12))), (2, [10, 11]), ([-1], [11]), ("[2, 5]", [2, 5]), ([0], [0])]
)
def test_out_indices(asked: Any, blocks: list[int]) -> None:
    backbone = tiny(out_indices=asked)
    assert backbone.out_indices == blocks
    assert len(backbone.out_channels) == len(blocks) == len(backbone(image()))


@pytest.mark.parametrize("asked", [[-1, 11], [11, 2]])
def test_doubled_or_unsorted_out_indices_do_not_break_out_channels(asked: list[int]) -> None:
    with pytest.warns(UserWarning, match="in the order of the blocks"):
        backbone = tiny(out_indices=asked)
    assert len(backbone.out_channels) == len(backbone(image()))


@pytest.mark.parametrize("asked", [[12], [-13], 0, 13, [], [[1]], "x"])
def test_impossible_out_indices_are_refused(asked: Any) -> None:
    with pytest.raises(ValueError, match="out_indices"):
        tiny(out_indices=asked)


def test_blocks_after_the_last_wanted_one_do_not_run() -> None:
    backbone = tiny(out_indices=[0, 3])
    ran: list[int] = []
    for index, block in enumerate(backbone.model.blocks):
        block.register_forward_hook(lambda *_, index=index: ran.append(index))
    backbone(image())
    assert ran == [0, 1, 2, 3]


def test_unstated_pixel_size_warns_when_the_scale_changes() -> None:
    backbone = tiny()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        backbone(image())
    with pytest.warns(UserWarning, match="from 40 x 40 px to 32 x 32 px.*input_gsd"):
        backbone(image(side=40))


def test_stated_pixel_size_makes_the_resize_a_checked_one() -> None:
    backbone = tiny(input_gsd=10)
    backbone(image())
    with pytest.raises(ValueError, match=r"40 px x 10 m = 400 m, but the ground cover is 320 m.*32 px"):
        backbone(image(side=40))
    with pytest.raises(ValueError, match="square"):
        backbone(torch.randn(1, 6, 32, 48))


def test_ground_cover_follows_the_input_when_only_the_pixel_size_is_stated() -> None:
    backbone = tiny(input_gsd=10, input_params={"flexivit_patch_size_seqs": [8]}, merge_method="mean")
    fixed = tiny(input_params={"ground_covers": [480]}, merge_method="mean")
    fixed.load_state_dict(backbone.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(backbone(image(side=48))[-1], fixed(image(side=48))[-1])
    assert backbone(image(side=64))[-1].shape[-1] == 8
    with pytest.raises(ValueError, match="Nearest ground covers for patch size 8: 320 m .* or 480 m"):
        backbone(image(side=40))


def test_ground_cover_may_be_given_per_call() -> None:
    backbone = tiny()
    other = tiny(input_params={"ground_covers": [640]})
    other.load_state_dict(backbone.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(
            backbone(image(side=64), ground_cover=640)[-1], other(image(side=64))[-1], rtol=1e-5, atol=1e-6
        )
    with pytest.raises(ValueError, match="one ground cover"):
        backbone(image(), ground_cover=torch.tensor([320, 640]))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_one_nan_pixel_is_refused_with_its_band(value: float) -> None:
    spoilt = image()
    spoilt[1, 4, 3, 3] = value
    with pytest.raises(ValueError, match="VV 0.0%.*no_data_replace"):
        tiny()(spoilt)


def test_masked_nan_counts_as_the_mean_and_spoils_nothing() -> None:
    spoilt, zeroed = image(), image()
    spoilt[1, 4, :9], zeroed[1, 4, :9] = float("nan"), 0.0
    backbone = tiny(on_nan="mask")
    with torch.no_grad():
        torch.testing.assert_close(backbone(spoilt)[-1], backbone(zeroed)[-1])
    assert torch.isnan(spoilt).any(), "the caller's tensor must not change"


def test_digital_numbers_and_series_are_refused() -> None:
    with pytest.raises(ValueError, match=r"floating point.*normalised"):
        tiny()(torch.ones(1, 6, 32, 32, dtype=torch.int16))
    with pytest.raises(ValueError, match="no time axis"):
        tiny()(torch.randn(1, 6, 3, 32, 32))


def test_a_dict_of_modalities_is_read_by_name_and_at_its_own_size() -> None:
    flat = tiny(model_bands=["VV", "VH", "RED", "SWIR_1"])
    multi = tiny(model_bands={"S1": ["VV", "VH"], "S2": ["RED", "SWIR_1"]})
    multi.load_state_dict(flat.state_dict())
    radar, optical = image(2), image(2, seed=1)
    with torch.no_grad():
        expected = flat(torch.cat([radar, optical], dim=1))[-1]
        torch.testing.assert_close(multi({"S2": optical, "S1": radar})[-1], expected)
        torch.testing.assert_close(multi(torch.cat([radar, optical], dim=1))[-1], expected)
    with pytest.raises(ValueError, match="Modalities .'S1'. are missing"):
        multi({"S2": optical})
    with pytest.raises(ValueError, match="model_bands is a plain list"):
        flat({"S1": radar, "S2": optical})


def test_bands_that_come_at_their_own_size_are_not_resized_twice() -> None:
    multi = tiny(model_bands={"ten": ["RED"], "twenty": ["SWIR_1"]}, input_gsd={"ten": 10, "twenty": 20})
    single = tiny(model_bands=["RED", "SWIR_1"])
    single.load_state_dict(multi.state_dict())
    fine, coarse = image(1), image(1, side=16, seed=1)
    with torch.no_grad():
        expected = single(torch.cat([fine, coarse.repeat_interleave(2, -1).repeat_interleave(2, -2)], dim=1))[-1]
        torch.testing.assert_close(multi({"ten": fine, "twenty": coarse})[-1], expected)


def test_unknown_batch_keys_are_swallowed() -> None:
    tiny()(image(), crs=["EPSG:4326"], bounds=torch.zeros(2, 4), metadata={"a": 1}, image_size=(32, 32))


def test_terratorch_finds_no_patch_size_to_pad_by() -> None:
    backbone = tiny()
    found = next(module for module in backbone.modules() if hasattr(module, "patch_size"))
    assert found is backbone
    assert backbone.patch_size is None


def test_frozen_means_eval_mode_whatever_the_trainer_does() -> None:
    backbone = tiny()
    assert backbone.train().training
    for freeze in (backbone.freeze, lambda: backbone.requires_grad_(False)):
        freeze()
        backbone.train()
        assert not any(module.training for module in backbone.modules())


@pytest.mark.parametrize("value", ["false", "False", "no", 0, "off"])
def test_false_from_the_command_line_is_false(value: Any) -> None:
    assert tiny(pretrained=value).load_report is None


def test_text_from_the_command_line_is_understood() -> None:
    backbone = tiny(
        merge_method="none",
        return_channel_params="true",
        input_params={"ground_covers": "[320]", "flexivit_patch_size_seqs": "8"},
        input_gsd="10",
        ckpt="none",
    )
    features, params = backbone(image())
    assert params["S2:Red"] == {"GSD": 10, "num_patch": 4, "patch_size": 8}
    assert backbone.merge_method is None
    assert len(features) == 12


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"pretrained": "perhaps"}, ValueError, "pretrained must be true or false"),
        ({"merge_method": "median"}, ValueError, "null, mean, sum, concat"),
        ({"model_bandz": ["VV"]}, TypeError, "Did you mean 'model_bands'"),
        ({"patch_size": 8}, TypeError, "flexivit_patch_size_seqs"),
        ({"on_nan": "ignore"}, ValueError, "raise, mask"),
        ({"input_gsd": 0}, ValueError, "positive pixel size"),
        ({"input_gsd": {"S1": 10}}, ValueError, "State one pixel size for each"),
        ({"input_params": {"ground_cover": 1}}, ValueError, "Unknown input_params: ground_cover"),
        ({"input_params": {"ground_covers": [2880, 960]}}, ValueError, "one value in metres"),
        ({"input_params": {"ground_covers": [288.5]}}, ValueError, "whole number"),
        ({"input_params": {"ground_covers": [-320]}}, ValueError, "positive"),
        ({"input_params": {"flexivit_patch_size_seqs": []}}, ValueError, "list of whole numbers"),
        ({"input_params": {"flexivit_patch_size_seqs": [[8], [4]]}}, ValueError, "list of whole numbers"),
        ({"input_params": {"flexivit_patch_size_seqs": [0]}}, ValueError, "positive"),
        ({"input_params": {"select_patch_strategy": "finest"}}, ValueError, "equal-max"),
        ({"input_params": {"aggr_type": "sum"}}, ValueError, "fixed to 'subsetmean'"),
        ({"input_params": [2880]}, ValueError, "must be a mapping"),
        ({"config": "nowhere.yaml"}, ValueError, "does not exist"),
        ({"config": {"model": {}}}, ValueError, "models.encoder"),
        ({"input_params": {"ground_covers": [300]}}, ValueError, "No patch size"),
    ],
)
def test_wrong_arguments_are_refused_with_the_remedy(arguments: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        tiny(**arguments)


def test_a_thor_config_replaces_input_params(tmp_path: Any) -> None:
    file = tmp_path / "thor.yaml"
    file.write_text("models: {encoder: {input_params: {ground_covers: [640], use_flexivit: false}}}")
    assert tiny(config=str(file)).ground_cover == 640


def test_the_users_lists_are_not_kept() -> None:
    params = {"ground_covers": [320]}
    backbone = tiny(input_params=params)
    params["ground_covers"][0] = 640
    assert backbone.ground_cover == 320


def test_two_models_in_one_process_do_not_influence_each_other() -> None:
    radar = tiny(model_bands=["VV_60", "VH_60"], input_params={"ground_covers": [1920]}, merge_method="mean")
    with torch.no_grad():
        before = radar(image(2))[-1]
    tiny(model_bands=["RED"])
    tiny(model_bands=["EW_HH", "VV_10"])(image(2))
    again = tiny(model_bands=["VV_60", "VH_60"], input_params={"ground_covers": [1920]}, merge_method="mean")
    again.load_state_dict(radar.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(radar(image(2))[-1], before)
        torch.testing.assert_close(again(image(2))[-1], before)
    assert [GROUP_OF[channel].gsd for channel in radar.bands] == [10, 10]


def test_what_trains_is_what_gets_a_gradient() -> None:
    """One weight without a gradient stops `strategy: ddp` at the second step."""
    backbone = tiny(out_indices=[3, 8])
    backbone(image())[1].square().sum().backward()
    without = {name for name, p in backbone.named_parameters() if p.grad is None}
    assert without == {name for name, p in backbone.named_parameters() if not p.requires_grad}
    used = {weight_name(channel) for channel in backbone.bands}
    assert without == {
        name
        for name, _ in backbone.named_parameters()
        if name.startswith(("model.norm.", "model.band_embed.", *(f"model.blocks.{i}." for i in (9, 10, 11))))
        or ("patch_embed" in name and not any(f".{weight}." in name for weight in used))
    }
