"""What backbones declare is complete, and features are pooled over patches only."""

from __future__ import annotations

import pytest
import torch

from anysat_ext import AnySatBackbone
from eo_models.backbone import FreezableBackbone
from eo_models.contract import Encoder, Features, TokenReader
from eo_models.multi.backbone import MultiBackboneWrapper
from thor_terratorch_ext import ThorBackbone
from universat_ext import UniverSatBackbone


def members(protocol: type) -> set[str]:
    return {name for name in protocol.__protocol_attrs__ if not name.startswith("_")}  # type: ignore[attr-defined]


@pytest.mark.parametrize("backbone", [ThorBackbone, AnySatBackbone, UniverSatBackbone, MultiBackboneWrapper])
def test_every_backbone_declares_everything(backbone: type[FreezableBackbone]) -> None:
    set_when_built = {"out_channels", "out_indices"}
    assert all(hasattr(backbone, name) for name in members(Encoder) - set_when_built)
    assert isinstance(backbone.pretrained_by_default, bool)


def test_only_a_backbone_with_tokens_of_its_own_reads_them() -> None:
    assert issubclass(ThorBackbone, TokenReader)
    assert not issubclass(AnySatBackbone, TokenReader)
    assert not issubclass(FreezableBackbone, TokenReader)


def test_pooling_is_over_the_patch_tokens() -> None:
    tokens = torch.tensor([[[1.0, 5.0], [3.0, 2.0]]])
    features = Features(tokens, torch.tensor([[9.0, 9.0]]), None)
    assert features.pooled("mean").tolist() == [[2.0, 3.5]]
    assert features.pooled("max").tolist() == [[3.0, 5.0]]
    assert features.pooled("cls").tolist() == [[9.0, 9.0]]
    with pytest.raises(ValueError, match="pooling: cls needs a class token"):
        Features(tokens, None, None).pooled("cls")
