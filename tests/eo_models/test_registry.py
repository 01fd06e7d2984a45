"""What a backbone declares is found under every name that it has, before it is built."""

from __future__ import annotations

from typing import Any

import pytest
from terratorch.registry import TERRATORCH_BACKBONE_REGISTRY
from torch import nn

import anysat_ext
import thor_terratorch_ext
from eo_models.backbone import FreezableBackbone
from eo_models.multi.backbone import MultiBackboneWrapper
from eo_models.registry import find_builder, find_encoder, find_source, registry_factory


@pytest.mark.parametrize(
    "name", ["terratorch_thor_v1_base", "thor_v1_base", "thor_vit_base_encoder_alibi_patch_size_embed_v1"]
)
def test_every_name_of_thor_finds_what_it_declares(name: str) -> None:
    encoder = find_encoder(name)
    assert encoder is thor_terratorch_ext.ThorBackbone
    assert encoder.pretrained_by_default
    assert encoder.feature_arguments([11, 3])["out_indices"] == [3, 11]


def test_anysat_and_the_wrapper_declare_too() -> None:
    for name in ("anysat", "terratorch_anysat_tiny"):
        encoder = find_encoder(name)
        assert encoder is anysat_ext.AnySatBackbone
        assert encoder.pretrained_by_default
        assert encoder.feature_arguments([-1]) == {}
    assert find_encoder("MultiBackboneWrapper") is MultiBackboneWrapper


def test_every_size_of_an_encoder_has_a_name() -> None:
    """The names are listed as `Literal`, beside the tables of the encoders."""
    from anysat_ext.backbone import MODEL_NAMES as ANYSAT
    from anysat_ext.model.encoder import SIZES
    from thor_terratorch_ext.backbone import MODEL_NAMES as THOR
    from thor_terratorch_ext.model.encoder import VARIANTS
    from universat_ext.backbone import MODEL_NAMES as UNIVERSAT
    from universat_ext.model.encoder import SIZES as UNIVERSAT_SIZES

    assert set(THOR.values()) == set(VARIANTS)
    assert set(ANYSAT.values()) == set(SIZES)
    assert set(UNIVERSAT.values()) == set(UNIVERSAT_SIZES)


@pytest.mark.parametrize("name", ["timm_resnet18", "resnet18", "no_such_model", "terratorch_no_such_model", ""])
def test_other_backbones_declare_nothing(name: str) -> None:
    assert find_encoder(name) is None


def test_a_class_may_be_registered_without_a_factory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(FreezableBackbone):
        pretrained_by_default = True

    monkeypatch.setitem(TERRATORCH_BACKBONE_REGISTRY._registry, "own", Own)
    monkeypatch.setitem(TERRATORCH_BACKBONE_REGISTRY._registry, "plain", nn.Linear)
    assert find_encoder("own") is Own
    assert find_encoder("terratorch_own") is Own
    assert find_encoder("plain") is None


def test_the_source_of_a_name() -> None:
    assert find_source("terratorch_anysat") == ("terratorch", "anysat")
    assert find_source("anysat") == ("terratorch", "anysat")
    assert find_source("timm_resnet18.a1_in1k") == ("timm", "resnet18.a1_in1k")
    assert find_source("nothing") is None
    assert find_builder("nothing") is None


def test_a_factory_has_its_name_and_lets_no_key_error_out() -> None:
    def build(**arguments: Any) -> nn.Module:
        raise KeyError(next(iter(arguments)))

    factory = registry_factory("mine", "Build mine.", build, FreezableBackbone)
    assert (factory.__name__, factory.__doc__) == ("mine", "Build mine.")
    with pytest.raises(RuntimeError, match="Building mine failed on the missing key 'lost'"):
        factory(lost=1)


def test_what_a_built_backbone_declares_names_its_images_and_sensors() -> None:
    thor = thor_terratorch_ext.build_thor("tiny", pretrained=False, model_bands={"S1": ["VV"], "S2": ["RED"]})
    assert list(thor.band_sensors) == list(thor.input_bands) == ["S1", "S2"]
    assert [sensor.canonical("S2:Red") for sensor in thor.band_sensors["S2"]].count("RED") == 1
    series = anysat_ext.build_anysat("tiny", pretrained=False, modalities={"etm": "l7", "modis": "modis"})
    assert series.band_sensors["etm"][0].canonical("B1") == "BLUE"
    assert "modis" not in series.band_sensors
    assert series.derived_bands == {"VV/VH"}
    assert thor.derived_bands == frozenset()
