"""Stand-ins among TerraTorch's backbones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from stand_in_backbones import Odd, Toy
from terratorch.registry import TERRATORCH_BACKBONE_REGISTRY


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
