"""What stands between the features of an encoder and a linear head, where heads were published so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

NAME = "ChannelLayerNorm"


class ChannelLayerNorm(nn.Module):
    """LayerNorm over the channels of each pixel, as in front of published linear probes.

    Source: ``LayerNorm(w) -> Linear(w, classes)`` per vector of width w.

    Parameters
    ----------
    channel_list : sequence of int
        Channels of each feature map.
    """

    def __init__(self, channel_list: Sequence[int]) -> None:
        super().__init__()
        self.channel_list = list(channel_list)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for channels in self.channel_list)

    def forward(self, features: Sequence[torch.Tensor], **_: Any) -> list[torch.Tensor]:  # noqa: ANN401
        """Normalise maps ``(B, C, h, w)``.

        Raises
        ------
        ValueError
            If their number is another than the norms are for.
        """
        if len(features) != len(self.norms):
            msg = f"{NAME} was built for {len(self.norms)} feature maps, got {len(features)}."
            raise ValueError(msg)
        return [norm(feature.movedim(1, -1)).movedim(-1, 1) for norm, feature in zip(self.norms, features, strict=True)]

    @staticmethod
    def process_channel_list(channel_list: list[int]) -> list[int]:
        """Return the channels, which stay."""
        return channel_list


def register() -> None:
    """Enter the neck in TerraTorch's registry (imports TerraTorch)."""
    from terratorch.registry import TERRATORCH_NECK_REGISTRY  # noqa: PLC0415

    TERRATORCH_NECK_REGISTRY.register(ChannelLayerNorm)
