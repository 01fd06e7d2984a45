"""Several backbones on one batch: each sees its own bands, images and dates, and the merged features are true."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from terratorch.datasets import HLSBands
from terratorch.models import EncoderDecoderFactory
from terratorch.registry import BACKBONE_REGISTRY, TERRATORCH_BACKBONE_REGISTRY
from torch import nn

import anysat_ext  # noqa: F401  (enters its backbones in the registry)
from eo_data.agreement import check_bands
from eo_data.sources import ImageSource
from thor_terratorch_ext.multi_backbone import MultiBackboneWrapper

S2 = ["BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3", "NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"]
RGB = ["BLUE", "GREEN", "RED"]


class Toy(nn.Module):
    """Maps of every level are 1 x 1 convolutions of the pooled image; what came in is kept."""

    def __init__(self, in_chans: int, dims: tuple[int, ...], stride: int, tokens: bool = False) -> None:
        super().__init__()
        self.out_channels = list(dims)
        self.stride, self.tokens = stride, tokens
        self.convs = nn.ModuleList(nn.Conv2d(in_chans, dim, 1) for dim in dims)
        self.drop = nn.Dropout(0.5)
        self.seen: dict[str, Any] = {}

    def forward(self, x: torch.Tensor, dates: object = None) -> list[torch.Tensor]:
        self.seen = {"x": x, "dates": dates}
        pooled = [F.avg_pool2d(x, self.stride * 2**k) for k in range(len(self.convs))]
        maps = [conv(image) for conv, image in zip(self.convs, pooled, strict=True)]
        return [m.flatten(2).transpose(1, 2) for m in maps] if self.tokens else maps


class Odd(nn.Module):
    """Takes anything, and returns what it is told to."""

    def __init__(self, answer: Callable[[Any], Any], dims: object = (4,)) -> None:
        super().__init__()
        self.answer, self.out_channels = answer, dims
        self.seen: tuple[Any, dict[str, Any]] = (None, {})

    def forward(self, x: Any, **batch: Any) -> Any:
        self.seen = (x, batch)
        return self.answer(x)


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    def toy(in_chans: int = 3, dims: Any = (4, 6), stride: int = 2, tokens: bool = False) -> Toy:
        return Toy(in_chans, tuple(dims), stride, tokens)

    def banded(bands: list[str], **_: object) -> Odd:
        return Odd(lambda x: [x], [len(bands)])

    def named(bands: dict[str, list[str]]) -> Odd:
        return Odd(lambda x: [torch.cat(list(x.values()), dim=1)], [sum(map(len, bands.values()))])

    def anything() -> Odd:
        return Odd(lambda x: [(x if isinstance(x, torch.Tensor) else next(iter(x.values())))[:, :1]], [1])

    def broken() -> None:
        return {}["lost"]

    builders = {"banded": banded, "named": named, "anything": anything, "toy": toy, "broken": broken}
    odd = {
        "bare": lambda: Odd(lambda x: x, [3]),
        "channels_last": lambda: Odd(lambda x: [x.permute(0, 2, 3, 1)], [3]),
        "one_more": lambda: Odd(lambda x: [x, x], [3]),
        "untold": lambda: Odd(lambda x: [x], None),
    }
    for name, builder in (builders | odd).items():
        monkeypatch.setitem(TERRATORCH_BACKBONE_REGISTRY._registry, name, builder)


def image(channels: int = 12, side: int = 16, batch: int = 2, frames: int = 0) -> torch.Tensor:
    shape = (batch, channels, frames, side, side) if frames else (batch, channels, side, side)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def wrapper(*encoders: dict[str, Any], **arguments: Any) -> MultiBackboneWrapper:
    built = BACKBONE_REGISTRY.build("MultiBackboneWrapper", encoders=list(encoders), **arguments)
    assert isinstance(built, MultiBackboneWrapper)
    return built


def toys(**arguments: Any) -> MultiBackboneWrapper:
    """Two levels each; (4, 6) channels of 8 and 4 px, and (3, 6) of 4 and 2 px."""
    first = {"toy": {"bands": RGB}}
    second = {"toy": {"bands": ["VV", "VH"], "in_chans": 2, "dims": [3, 6], "stride": 4}}
    return wrapper(first, second, **({"bands": [*S2, "VV", "VH"]} | arguments))


def thor(**arguments: Any) -> dict[str, Any]:
    fixed = {"model_bands": ["VV", "VH"], "input_gsd": 10, "merge_method": "mean", "out_indices": [11]}
    return {"thor_v1_tiny": fixed | {"pretrained": False} | arguments}


def anysat(**arguments: Any) -> dict[str, Any]:
    return {"anysat_tiny": {"patch_size": 80, "pretrained": False} | arguments}


def series_batch() -> dict[str, Any]:
    return {
        "S2": image(10, 64, 1),
        "S2_series": image(10, 64, 1, frames=2),
        "S2_series_dates": torch.tensor([[10, 200]]),
        "S2_series_mask": torch.tensor([[True, True]]),
    }


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


# Merging


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


# Training and states


def test_a_frozen_entry_stays_frozen_and_in_eval_mode_and_the_other_trains() -> None:
    timm = {"backbone": "timm_resnet18", "bands": RGB, "pretrained": False, "out_indices": [4], "freeze_backbone": True}
    both = wrapper(thor(), timm, bands=[*S2, "VV", "VH"], rescale_features="up")
    alone = wrapper(thor()).encoders[0]
    counts = [sum(p.requires_grad for p in encoder.parameters()) for encoder in (*both.encoders, alone)]
    assert counts == [counts[2], 0, counts[2]]
    assert min(counts[0], len(list(both.encoders[1].parameters()))) > 0
    for _ in range(2):
        assert both.training
        assert both.encoders[0].training
        assert not any(module.training for module in both.encoders[1].modules())
        both.eval()
        assert not both.encoders[0].training
        both.train()
    both(image(12, 64))[0].sum().backward()
    assert all(p.grad is None for p in both.encoders[1].parameters())
    assert any(p.grad is not None for p in both.encoders[0].parameters())
    before = {k: v.clone() for k, v in both.encoders[1].state_dict().items()}
    both(image(12, 64))
    assert all(torch.equal(v, before[k]) for k, v in both.encoders[1].state_dict().items())


def test_freezing_the_whole_freezes_all_for_good() -> None:
    both = toys(rescale_features="up")
    both.freeze()
    both.train()
    assert not any(p.requires_grad for p in both.parameters())
    assert not any(encoder.training for encoder in both.encoders)


def test_states_come_back_under_readable_names() -> None:
    one, other = (toys(rescale_features="up", necks=[{"name": "AddBottleneckLayer"}]).eval() for _ in range(2))
    assert {key.split(".convs")[0] for key in one.state_dict()} == {
        "encoders.0",
        "encoders.1",
        "necks.0.bottleneck.weight",
        "necks.0.bottleneck.bias",
    }
    assert not torch.equal(one(image())[0], other(image())[0])
    other.load_state_dict(one.state_dict())
    for a, b, c in zip(one(image()), other(image()), copy.deepcopy(one)(image()), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_terratorchs_padding_stays_out() -> None:
    both = toys(rescale_features="up", padding="reflect")
    assert both.patch_size is None


@pytest.mark.parametrize("kind", ["dict", "tensor"])
def test_through_terratorchs_factory_forward_and_backward(kind: str) -> None:
    if kind == "dict":
        encoders = [thor(model_bands=S2, images=["S2"]), anysat(modalities={"S2_series": "s2"})]
        x, arguments = series_batch(), {}
    else:
        timm = {"name": "timm_resnet18", "backbone_out_indices": [3], "backbone_bands": ["B4", "B3", "B2"]}
        encoders = [thor(), timm]
        x, arguments = image(12, 64, 1), {"backbone_bands": [*S2, "VV", "VH"]}
    model = EncoderDecoderFactory().build_model(
        task="segmentation",
        backbone="MultiBackboneWrapper",
        backbone_encoders=encoders,
        backbone_padding="reflect",
        backbone_rescale_features="up",
        decoder="FCNDecoder",
        decoder_channels=16,
        decoder_num_convs=1,
        num_classes=3,
        backbone_pretrained=False,
        **arguments,
    )
    output = model(x).output
    assert output.shape == (1, 3, 64, 64)
    output.square().mean().backward()
    for encoder in model.encoder.encoders:
        gradients = [p.grad for p in encoder.parameters() if p.grad is not None]
        assert gradients
        assert all(bool(torch.isfinite(g).all()) for g in gradients)
    assert model.patch_size is None


# Agreement with the data


def source(bands: list[str], sensor: str = "sentinel2_l2a") -> ImageSource:
    return ImageSource("{id}.tif", bands, sensor=sensor)


def test_the_wrapper_speaks_for_its_encoders_when_data_and_backbones_are_compared() -> None:
    part = nn.Sequential(wrapper(thor(model_bands=["RED"]), thor(model_bands=["BLUE"]), bands=RGB))
    check_bands(part, {"x": source(["B02", "B03", "B04"])})
    with pytest.raises(ValueError, match="channel 0 is RED in the data and BLUE in the backbone"):
        check_bands(part, {"x": source(["RED", "GREEN", "BLUE"])})
    images = wrapper(thor(model_bands=S2, images=["S2"]), anysat(modalities={"S2_series": "s2"}))
    assert set(images.input_bands) == {"S2", "S2_series"}
    check_bands(images, {"S2": source(S2), "S2_series": source(S2)})
    with pytest.raises(ValueError, match="The bands of 'S2' do not agree"):
        check_bands(images, {"S2": source([*S2[1:], S2[0]]), "S2_series": source(S2)})
    mapped = wrapper(thor(model_bands={"S2": ["RED"]}), bands={"S2": RGB})
    with pytest.raises(ValueError, match="The bands of 'S2' do not agree"):
        check_bands(mapped, {"S2": source(["RED"]), "S1": source(["VV"], "sentinel1")})


# Errors

TOY = {"toy": {"bands": RGB}}


@pytest.mark.parametrize(
    ("encoders", "arguments", "message"),
    [
        ([], {}, r"encoders must be a list of at least one entry such as \{thor_v1_base"),
        ("toy", {}, "encoders must be a list"),
        ([["toy"]], {}, r"encoders\[0\] must be a mapping such as"),
        ([TOY, {"bands": RGB, "in_chans": 3}], {}, r"encoders\[1\] has no name of a backbone"),
        ([{"bands": RGB}], {}, r"encoders\[0\] has no name of a backbone"),
        ([{"backbone": "toy", "name": "toy"}], {}, "both backbone and name"),
        ([{"name": {"bands": RGB}}], {}, "no name of a backbone"),
        ([{"toy": {"bands": RGB, "model_bands": RGB}}], {}, r"encoders\[0\] \(toy\) has both model_bands and bands"),
        ([{"toy": {"in_chans": 3, "backbone_in_chans": 3}}], {}, "has both 'in_chans' and 'backbone_in_chans'"),
        ([{"toy": {"bands": "RED"}}], {"bands": RGB}, "must be a list of band names"),
        ([{"toy": {"bands": [7]}}], {"bands": RGB}, "A band is named by a string"),
        ([{"toy": {"bands": {}}}], {"bands": RGB}, "is empty"),
        ([{"toy": {"bands": ["RED", "red"]}}], {"bands": RGB}, "names RED twice"),
        ([TOY], {"bands": ["RED", "RED"]}, "bands names RED twice"),
        ([{"toy": {"bands": ["BLEU"]}}], {"bands": RGB}, "the band 'BLEU', which is not among.*BLUE, GREEN, RED"),
        ([TOY], {}, "names bands, but the channels of the input have no names. Name them: backbone_bands"),
        ([{"toy": {"images": ["S2"]}}], {"bands": RGB}, "names images, but bands is a list"),
        ([{"toy": {"images": ["S3"]}}], {"bands": {"S2": RGB}}, r"images \['S3'\], but bands names \['S2'\]"),
        ([{"toy": {"images": [1]}}], {}, "images must be a list of names"),
        ([{"toy": {"images": ["S2", "S2"]}}], {}, "names one image twice"),
        ([{"toy": {"as_tensor": "maybe"}}], {}, "as_tensor must be auto, true or false, got 'maybe'"),
        ([{"toy": {"as_tensor": True}}], {"bands": {"S2": RGB, "S1": ["VV"]}}, "one tensor, but would get S2, S1"),
        ([{"toy": {"freeze_backbone": "perhaps"}}], {}, "freeze_backbone must be true or false"),
        ([{"toy": {"necks": {"name": "SelectIndices"}}}], {}, "necks must be a list such as"),
        ([{"toy": {"necks": [{"name": "Nick"}]}}], {}, "there is no neck 'Nick'. Valid: .*SelectIndices"),
        ([{"toy": {"necks": [{"name": "SelectIndices", "indices": [5]}]}}], {}, r"list index .*\[4, 6\]"),
        ([{"toy": {}}], {"necks": [{"name": "SelectIndices", "index": 1}]}, "necks: .*unexpected keyword"),
        (
            [{"toy": {}}],
            {"merge_features": "max"},
            "merge_features must be one of concat, sum, mean, flatten, got 'max'",
        ),
        ([{"toy": {}}], {"rescale_features": True}, "rescale_features must say .* got True. Valid: null, up, down"),
        ([{"toy": {}}], {"rescale_features": -1}, "the index of no encoder; there are 1"),
        ([{"toy": {}}], {"rescale_features": 1}, "the index of no encoder; there are 1"),
        ([{"toy": {}}], {"rescale_features": "larger"}, "rescale_features must say .* got 'larger'"),
        ([{"toy": {}}], {"rescale_features": [8, 0]}, "rescale_features must say"),
        ([{"toy": {}}], {"rescale_features": (8, 4, 2)}, "has 3 sizes .*, but there are 2 levels"),
        ([{"toy": {}}, {"toy": {"dims": [4]}}], {}, r"merge_features='concat' works level by level.*\[4, 6\].*\[4\]"),
        (
            [{"toy": {}}, {"toy": {"dims": [4]}}],
            {"merge_features": "flatten", "rescale_features": "up"},
            "rescale_features works level by level",
        ),
        ([{"toy": {}}, {"toy": {"dims": [3, 6]}}], {"merge_features": "sum"}, "'sum' needs the same channels"),
        (
            [{"toi": {}}],
            {},
            r"encoders\[0\] \(toi\): TerraTorch's registry has no such backbone. Nearest: .*toy.*anysat",
        ),
        ([{"terratorch_toi": {}}], {}, "has no such backbone"),
        ([{"toy": {"chans": 3}}], {}, r"encoders\[0\] \(toy\): .*unexpected keyword argument 'chans'"),
        ([{"toy": {}}], {"chans": 3}, "unexpected keyword argument 'chans'"),
        ([{"broken": {}}], {}, r"\(broken\) could not be built: KeyError\('lost'\)"),
        ([{"untold": {}}], {}, "has no list out_channels"),
        ([thor(model_bands=None)], {"bands": RGB}, "reads the band 'S2:CoastAerosal', which is not among"),
        (
            [{"thor_v1_tiny": {"bands": S2, "pretrained": False}}],
            {"bands": S2},
            "names the bands BLUE, .* but its backbone was not told and reads .* Write model_bands instead",
        ),
        (
            [{"anysat_tiny": {"bands": S2[::-1], "pretrained": False}}],
            {"bands": S2},
            r"Write bands: \{s2: \[...\]\} instead",
        ),
        ([anysat(modalities={"A": "s2", "B": "s1"}, images=["A", "C"])], {}, r"images \['C'\], but reads \['A', 'B'\]"),
        ([thor(model_bands=["VV"]), thor(model_bands=["VH"])], {}, "takes the channels of the input for S1:IW-VH"),
    ],
)
def test_wrong_arguments_are_refused_with_the_remedy(encoders: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MultiBackboneWrapper(encoders=encoders, **arguments)


def test_the_registry_does_not_hide_these_errors() -> None:
    with pytest.raises(ValueError, match="encoders must be a list"):
        BACKBONE_REGISTRY.build("MultiBackboneWrapper", encoders=[])


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


def test_the_callers_config_is_left_alone() -> None:
    encoders = [
        thor(),
        {"backbone": "toy", "bands": RGB, "dims": [4], "necks": [{"name": "SelectIndices", "indices": [0]}]},
    ]
    before = copy.deepcopy(encoders)
    wrapper(*encoders, bands=[*S2, "VV", "VH"], rescale_features="up")
    assert encoders == before
