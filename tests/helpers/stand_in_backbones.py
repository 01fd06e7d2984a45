"""Encoders that keep what came in, and short ways to several encoders in one wrapper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from terratorch.registry import BACKBONE_REGISTRY
from torch import nn

import anysat_ext  # noqa: F401  (enters its backbones in the registry)
from eo_models.multi.backbone import MultiBackboneWrapper

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
