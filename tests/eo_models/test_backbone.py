"""A frozen backbone stays in eval mode, and arguments that nobody reads are refused."""

from __future__ import annotations

import pytest
from torch import nn

from eo_models.backbone import FreezableBackbone, constructor_arguments, refuse_unknown


class Backbone(FreezableBackbone):
    """With dropout, which a frozen encoder must not apply."""

    def __init__(self, size: int = 2, bands: object = None) -> None:
        super().__init__()
        self.layer, self.drop = nn.Linear(size, size), nn.Dropout(0.5)


def test_a_frozen_backbone_stays_in_eval_mode_whoever_calls_train() -> None:
    parts = nn.Sequential(Backbone(), nn.Linear(2, 2))
    parts.train()
    assert parts[0].drop.training
    parts[0].freeze()
    parts.train()
    assert not parts[0].drop.training
    assert not any(parameter.requires_grad for parameter in parts[0].parameters())
    assert parts[1].training
    parts[0].requires_grad_(requires_grad=True)
    parts.train()
    assert parts[0].drop.training


def test_the_usual_case_of_the_contract_asks_for_nothing_and_declares_nothing() -> None:
    backbone = Backbone()
    assert Backbone.pretrained_by_default is False
    assert Backbone.feature_arguments([-1]) == {}
    assert (backbone.input_bands, backbone.band_sensors, backbone.derived_bands) == ({}, {}, frozenset())
    assert backbone.out_indices is None
    assert backbone.patch_size is None  # TerraTorch would pad by it


def test_arguments_that_nobody_reads_are_refused_with_the_nearest_name() -> None:
    names = constructor_arguments(Backbone, "size")
    assert names == ("bands",)
    refuse_unknown("Toy", ["bands"], names, {})
    with pytest.raises(TypeError, match="Toy has no argument 'band'. Did you mean 'bands'. Valid: bands."):
        refuse_unknown("Toy", ["band"], names, {})
    with pytest.raises(TypeError, match="Toy has no argument 'dates'. Dates belong to a batch. Valid"):
        refuse_unknown("Toy", ["dates"], names, {"dates": "Dates belong to a batch."})
