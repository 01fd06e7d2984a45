"""Several encoders train, freeze, save and reload as each would alone."""

from __future__ import annotations

import copy

import pytest
import torch
from stand_in_backbones import RGB, S2, anysat, image, series_batch, thor, toys, wrapper
from terratorch.models import EncoderDecoderFactory
from torch import nn

from eo_data.catalog.sources import ImageSource
from eo_data.dataset.consistency import check_bands


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


def test_the_wrapper_derives_what_its_encoders_derive() -> None:
    both = wrapper(thor(model_bands=S2, images=["S2"]), anysat(modalities={"S1": "s1"}))
    assert both.derived_bands == {"VV/VH"}
    assert type(both).pretrained_by_default
    check_bands(both, {"S2": source(S2), "S1": source(["VV", "VH"], "sentinel1")})


def test_terratorchs_factory_hands_the_sensor_on() -> None:
    toy = {"toy": {"bands": RGB, "dims": [4]}}
    arguments = {"backbone_bands": ["B1", "B2", "B3", "B4"], "backbone_sensors": "landsat7", "num_classes": 2}
    model = EncoderDecoderFactory().build_model(
        task="segmentation",
        backbone="MultiBackboneWrapper",
        backbone_encoders=[toy],
        decoder="FCNDecoder",
        decoder_channels=8,
        decoder_num_convs=1,
        **arguments,
    )
    assert model.encoder.routes[0].named_picks[0].channels == (0, 1, 2)
