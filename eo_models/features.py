"""Features of any registered backbone as token sequences, maps and pooled vectors.

Rules of rs-embed (0.3.1): pooling takes patch tokens only, of all groups together; a first token beyond a full grid is
the class token and left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

POOLINGS = ("mean", "max", "cls")
MERGES = ("mean", "sum", "concat")
OUTPUTS = ("pooled", "grid", "both")
_THOR = "thor_"
_THOR_NECK = "THORGroupReshapeTokensToImage"


@dataclass(frozen=True, eq=False)
class Features:
    """What one layer gave for a batch.

    Parameters
    ----------
    tokens : Tensor
        ``(B, N, D)``: the patch tokens, without a class token.
    cls_token : Tensor or None
        ``(B, D)``.
    grid : Tensor or None
        ``(B, D', h, w)``; ``None`` where tokens form no grid.
    """

    tokens: torch.Tensor
    cls_token: torch.Tensor | None
    grid: torch.Tensor | None

    def pooled(self, how: str) -> torch.Tensor:
        """Return one vector per sample ``(B, D)``.

        Raises
        ------
        ValueError
            For ``cls`` without a class token.
        """
        if how == "cls":
            if self.cls_token is None:
                msg = "pooling: cls needs a class token, which this backbone does not give. Use mean or max."
                raise ValueError(msg)
            return self.cls_token
        return self.tokens.mean(dim=1) if how == "mean" else self.tokens.amax(dim=1)


class FeatureExtractor(nn.Module):
    """A backbone of the registry and the layers to take from it.

    Parameters
    ----------
    backbone : str
        Name in TerraTorch's ``BACKBONE_REGISTRY``.
    arguments : mapping
        Its arguments.
    layers : sequence of int
        Which of its features; for THOR, blocks.
    group_merge : {'mean', 'sum', 'concat'}
        How THOR's band groups become one grid.

    Raises
    ------
    ValueError
        For an unknown merge, or arguments that the backbone refuses.
    """

    def __init__(
        self, backbone: str, arguments: Mapping[str, Any], layers: Sequence[int] = (-1,), group_merge: str = "mean"
    ) -> None:
        super().__init__()
        from terratorch.registry import BACKBONE_REGISTRY, NECK_REGISTRY  # noqa: PLC0415

        if group_merge not in MERGES:
            msg = f"group_merge must be one of {', '.join(MERGES)}, got {group_merge!r}."
            raise ValueError(msg)
        own = dict(arguments)
        self.layers = list(layers)
        self.neck: nn.Module | None = None
        self.is_thor = backbone.startswith(_THOR)
        if self.is_thor:
            own |= {"return_channel_params": True, "merge_method": None, "out_indices": self.layers}
        self.backbone = BACKBONE_REGISTRY.build(backbone, **own)
        if self.is_thor:
            self.neck = NECK_REGISTRY.build(_THOR_NECK, self.backbone.out_channels, merge=group_merge)

    def forward(self, image: torch.Tensor | Mapping[str, torch.Tensor], **extras: Any) -> list[Features]:  # noqa: ANN401
        """Encode a batch; one entry per layer."""
        features = self.backbone(image, **extras)
        if self.neck is not None:
            tokens, _ = features
            return [Features(t, None, grid) for t, grid in zip(tokens, self.neck(features), strict=True)]
        if isinstance(features, torch.Tensor):
            features = [features]
        size = _size(image)
        chosen = []
        for layer in self.layers:
            if not -len(features) <= layer < len(features):
                msg = f"layers names {layer}, but the backbone returns {len(features)} features."
                raise ValueError(msg)
            chosen.append(_read(features[layer], size))
        return chosen


def _size(image: torch.Tensor | Mapping[str, torch.Tensor]) -> tuple[int, int]:
    if isinstance(image, Mapping):
        image = next(value for value in image.values() if value.ndim >= 4)
    return int(image.shape[-2]), int(image.shape[-1])


def _read(feature: torch.Tensor, size: tuple[int, int]) -> Features:
    """Make tokens and grid of a map ``(B, D, h, w)`` or of tokens ``(B, N, D)``."""
    if feature.ndim == 4:
        return Features(feature.flatten(2).transpose(1, 2), None, feature)
    if feature.ndim != 3:
        msg = f"Expected a map (B, D, h, w) or tokens (B, N, D) from the backbone, got shape {tuple(feature.shape)}."
        raise ValueError(msg)
    for extra in (0, 1):
        hw = grid_shape(feature.shape[1] - extra, size)
        if hw is not None:
            tokens = feature[:, extra:]
            grid = tokens.transpose(1, 2).unflatten(2, hw)
            return Features(tokens, feature[:, 0] if extra else None, grid)
    return Features(feature, None, None)


def grid_shape(count: int, size: tuple[int, int]) -> tuple[int, int] | None:
    """Return rows and columns of ``count`` square patches on an image of ``size`` pixels, if there is such a grid."""
    height, width = size
    rows = math.isqrt(count * height // width) if count > 0 else 0
    for n in (rows, rows + 1):
        if n > 0 and count % n == 0 and n * width == (count // n) * height:
            return n, count // n
    return None
