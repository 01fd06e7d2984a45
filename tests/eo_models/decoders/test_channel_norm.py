"""The norm in front of a linear head is over the channels of each pixel, not over the map."""

from __future__ import annotations

import pytest
import torch

from eo_models.decoders.channel_norm import ChannelLayerNorm


def test_every_pixel_is_normalised_over_its_channels() -> None:
    neck = ChannelLayerNorm([8])
    feature = torch.randn(2, 8, 3, 5) * 7 + 2
    (out,) = neck([feature])
    mean, variance = feature.mean(1, keepdim=True), feature.var(1, keepdim=True, unbiased=False)
    torch.testing.assert_close(out, (feature - mean) / (variance + 1e-5).sqrt(), rtol=1e-5, atol=1e-5)
    assert neck.process_channel_list([8]) == [8]


def test_another_number_of_maps_is_refused() -> None:
    with pytest.raises(ValueError, match="built for 1 feature maps, got 2"):
        ChannelLayerNorm([8])([torch.zeros(1, 8, 2, 2)] * 2)
