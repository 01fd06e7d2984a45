"""Arguments of a wrapper of several encoders that make no sense are refused, with the remedy."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from stand_in_backbones import RGB, S2, anysat, thor, wrapper
from terratorch.registry import BACKBONE_REGISTRY

from eo_models.multi.backbone import MultiBackboneWrapper

TOY = {"toy": {"bands": RGB}}


@pytest.mark.parametrize(
    ("encoders", "arguments", "message"),
    [
        ([], {}, r"encoders must be a list of at least one entry such as \{timm_resnet18"),
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
            r"encoders\[0\] \(toi\): TerraTorch's registry has no such backbone. Nearest: .*toy.*RegisterBackbones",
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


def test_the_callers_config_is_left_alone() -> None:
    encoders = [
        thor(),
        {"backbone": "toy", "bands": RGB, "dims": [4], "necks": [{"name": "SelectIndices", "indices": [0]}]},
    ]
    before = copy.deepcopy(encoders)
    wrapper(*encoders, bands=[*S2, "VV", "VH"], rescale_features="up")
    assert encoders == before
