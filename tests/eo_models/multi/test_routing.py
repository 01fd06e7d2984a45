"""Each encoder of a wrapper sees its own bands, images and dates, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from stand_in_backbones import RGB, S2, Odd, anysat, image, series_batch, thor, toys, wrapper
from terratorch.datasets import HLSBands

# Channels


def test_each_encoder_is_moved_by_its_own_channels_only() -> None:
    both = toys(rescale_features="up")
    x = image().requires_grad_()
    level = both(x)[0]
    for own, channels in ((level[:, :4], {0, 1, 2}), (level[:, 4:], {10, 11})):
        (gradient,) = torch.autograd.grad(own.square().sum(), x, retain_graph=True)
        assert set(gradient.abs().sum(dim=(0, 2, 3)).nonzero().flatten().tolist()) == channels


@pytest.mark.parametrize(
    "spelt",
    [["RED", "BLUE"], [HLSBands.RED, HLSBands.BLUE], ["red", "b02"], ["S2:Red", "B2"], "[RED, BLUE]"],
)
def test_bands_are_found_by_name_in_any_spelling_and_in_the_order_of_the_entry(spelt: Any) -> None:
    for bands in (S2, [HLSBands(name) for name in S2]):
        one = wrapper({"toy": {"bands": spelt, "in_chans": 2}}, bands=bands)
        x = image(10)
        one(x)
        assert torch.equal(one.encoders[0].seen["x"], x[:, [2, 0]])


def test_a_very_name_wins_over_what_it_means() -> None:
    orbits = ["ASC_VV", "ASC_VH", "DSC_VV", "DSC_VH"]
    one = wrapper(
        {"toy": {"bands": ["DSC_VV"], "in_chans": 1}},
        thor(model_bands=["ASC_VV", "ASC_VH"]),
        bands=orbits,
        merge_features="flatten",
    )
    x = image(4, 64)
    one(x)
    assert torch.equal(one.encoders[0].seen["x"], x[:, [2]])
    assert one.routes[1].picks[0].channels == (0, 1)
    with pytest.raises(ValueError, match="the band 'VV' could be ASC_VV, DSC_VV"):
        wrapper({"toy": {"bands": ["VV"]}}, bands=orbits)


def test_a_series_is_cut_along_its_channels_too() -> None:
    one = wrapper({"banded": {"bands": ["RED", "BLUE"]}}, bands=RGB, merge_features="flatten")
    x = image(3, frames=4)
    assert torch.equal(one(x)[0], x[:, [2, 0]])


def test_thor_inside_equals_thor_alone_bit_for_bit() -> None:
    timm = {"timm_resnet18": {"bands": ["RED", "GREEN", "BLUE"], "out_indices": [4], "pretrained": False}}
    both = wrapper(thor(), timm, bands=[*S2, "VV", "VH"], rescale_features="up").eval()
    x = image(12, 64)
    with torch.no_grad():
        (merged,) = both(x)
        alone = both.encoders[0](x[:, 10:])[0]
        resnet = both.encoders[1](x[:, [2, 1, 0]])[0]
    assert torch.equal(merged[:, :192], alone)
    assert torch.equal(merged[:, 192:], F.interpolate(resnet, size=(8, 8), mode="bilinear"))
    assert both.out_channels == [192 + 512]


def test_one_tensor_feeds_the_images_of_several_encoders() -> None:
    radar_and_optical = {"S1": ["VV", "VH"], "S2": RGB}
    x = image(5, 64)
    by_name = wrapper(thor(model_bands=radar_and_optical), bands=["B4", "B3", "B2", "VV", "VH"]).eval()
    alone = by_name.encoders[0]
    with torch.no_grad():
        assert torch.equal(by_name(x)[0], alone({"S1": x[:, 3:], "S2": x[:, [2, 1, 0]]})[0])
        by_image = wrapper(thor(model_bands=radar_and_optical), bands=radar_and_optical).eval()
        by_image.load_state_dict(by_name.state_dict())
        expected = alone({"S1": x[:, :2], "S2": x[:, 2:]})[0]
        assert torch.equal(by_image(x)[0], expected)
        assert torch.equal(by_image({"S2": x[:, 2:], "S1": x[:, :2]})[0], expected)


def test_channels_are_cut_out_of_the_named_image() -> None:
    toy = {"toy": {"images": ["S2"], "bands": ["RED", "BLUE"], "in_chans": 2, "dims": [4], "stride": 8}}
    both = wrapper(thor(images=["S1"]), toy, bands={"S1": ["angle", "VH", "VV"], "S2": [*RGB, "DATE"]})
    batch = {"S2": image(4, 64), "S1": image(3, 64)}
    both(batch)
    assert torch.equal(both.encoders[1].seen["x"], batch["S2"][:, [2, 0]])
    assert both.routes[0].picks[0].channels == (2, 1)
    with pytest.raises(ValueError, match="the band 'VV', which is not among the channels of the input: BLUE"):
        wrapper(thor(images=["S2"]), bands={"S2": RGB, "S1": ["VV", "VH"]})


def test_a_list_under_bands_goes_only_to_backbones_that_have_such_an_argument() -> None:
    both = wrapper({"banded": {"bands": ["RED"]}}, {"toy": {"bands": RGB, "dims": [4], "stride": 1}}, bands=S2)
    assert both.out_channels == [1 + 4]
    tokens = wrapper({"named": {"bands": {"a": ["RED"], "b": ["VV", "BLUE"]}}}, bands=["VV", *S2])
    x = image(11)
    assert torch.equal(tokens(x)[0], x[:, [3, 0, 1]])
    assert list(tokens.encoders[0].seen[0]) == ["a", "b"]


# Images and dates


def test_dates_reach_anysat_and_nothing_else() -> None:
    both = wrapper(
        thor(model_bands=S2, images=["S2"]),
        anysat(modalities={"S2_series": "s2"}),
        {"anything": {"images": "S2"}},
        merge_features="flatten",
    )
    seen: list[tuple[Any, Any]] = []
    for encoder in both.encoders:
        encoder.register_forward_pre_hook(lambda _, x, kwargs: seen.append((x[0], kwargs)), with_kwargs=True)
    batch = series_batch()
    features = both(batch, crs="EPSG:4326", S2_series_clouds=1)
    assert torch.equal(seen[0][0], batch["S2"])
    assert seen[0][1] == {"crs": "EPSG:4326"} == seen[2][1]
    assert list(seen[1][0]) == ["S2_series", "S2_series_dates", "S2_series_mask"]
    assert seen[1][1] == {"crs": "EPSG:4326", "S2_series_clouds": 1}
    later = both(batch | {"S2_series_dates": torch.tensor([[10, 300]])})
    assert torch.equal(features[0], later[0])
    assert not torch.allclose(features[1], later[1])


def test_an_image_goes_under_the_name_that_its_only_reader_has_for_it() -> None:
    renamed = wrapper(anysat(images=["S2_series"], modalities=["s2"])).eval()
    batch = series_batch()
    own = {"s2": batch["S2_series"], "s2_dates": batch["S2_series_dates"]}
    with torch.no_grad():
        expected = renamed.encoders[0](own)[0]
        assert torch.equal(renamed(batch)[0], expected)
        undated = {"S2_series": batch["S2_series"]}
        assert torch.equal(renamed(undated, S2_series_dates=batch["S2_series_dates"])[0], expected)


def test_dates_of_a_tensor_come_as_keywords() -> None:
    both = wrapper(anysat(), {"toy": {"dims": [4], "stride": 8, "in_chans": 10}}, merge_features="flatten").eval()
    both.encoders[1].forward = Odd(lambda x: [x[:, :4, 0]], [4]).forward
    x, dates = image(10, 64, 1, frames=2), torch.tensor([[10, 200]])
    with torch.no_grad():
        assert torch.equal(both(x, dates=dates)[0], both.encoders[0]({"s2": x, "s2_dates": dates})[0])
        assert torch.equal(both(x, s2_dates=dates)[0], both(x, dates=dates)[0])
    toy = wrapper({"toy": {}})
    toy(image(3), dates=7, filename="a")
    assert toy.encoders[0].seen["dates"] == 7


def test_a_date_plane_goes_only_to_the_entry_that_names_it() -> None:
    encoders = (thor(model_bands=S2), anysat(bands={"s2": [*S2, "DATE"]}), {"anything": {}})
    both = wrapper(*encoders, bands=[*S2, "DATE"], merge_features="flatten").eval()
    x = torch.cat([image(10, 64, 1), torch.full((1, 1, 64, 64), 120.0)], dim=1)
    later = x.clone()
    later[:, 10] = 300
    with torch.no_grad():
        first, second = both(x), both(later)
        alone = both.encoders[1]({"s2": x})[0]
    assert both.encoders[2].seen[0].shape[1] == 10
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], alone)
    assert not torch.allclose(first[1], second[1])


def test_a_single_dated_image_comes_as_a_dict_and_is_cut_as_a_tensor() -> None:
    both = wrapper(thor(), anysat(), bands=[*S2, "VV", "VH"], rescale_features="up").eval()
    x, dates = image(12, 64, 1, frames=1), torch.tensor([[120]])
    with torch.no_grad():
        (merged,) = both({"S2S1": x, "S2S1_dates": dates, "S2S1_mask": torch.tensor([[True]])})
        alone = both.encoders[1]({"s2": x[:, :10], "s2_dates": dates})[0]
    assert torch.equal(merged[:, 192:], alone)


@pytest.mark.parametrize(("asked", "kind"), [("auto", torch.Tensor), (True, torch.Tensor), ("false", dict)])
def test_as_tensor(asked: object, kind: type) -> None:
    one = wrapper({"anything": {"images": ["S1"], "as_tensor": asked}})
    one({"S1": image(2), "S2": image(3), "S1_dates": torch.zeros(2, 1)})
    x, batch = one.encoders[0].seen
    assert isinstance(x, kind)
    assert "S1_dates" in (batch if kind is torch.Tensor else x)
    everything = wrapper({"anything": {}})
    everything({"S1": image(2), "S2": image(3)})
    assert list(everything.encoders[0].seen[0]) == ["S1", "S2"]


def test_anysat_may_lack_an_image_if_it_is_allowed_to() -> None:
    one = wrapper(anysat(modalities={"S2_series": "s2", "S1": "s1"}, allow_missing=True)).eval()
    batch = series_batch()
    with torch.no_grad():
        expected = one.encoders[0]({k: v for k, v in batch.items() if k != "S2"})[0]
        assert torch.equal(one(batch)[0], expected)
