"""Features of any registered backbone as token sequences, maps and pooled vectors.

Rules of rs-embed (0.3.1): pooling takes patch tokens only, of all groups together; a first token beyond a full grid is
the class token and left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import torch
from torch import nn

from eo_models.contract import Features, GroupMerge, TokenReader
from eo_models.registry import find_encoder

MERGES: tuple[str, ...] = get_args(GroupMerge)


class FeatureExtractor(nn.Module):
    """A backbone of the registry and the layers to take from it.

    Parameters
    ----------
    backbone : str or Module
        Name in TerraTorch's ``BACKBONE_REGISTRY`` (imports TerraTorch); or a backbone that was built for ``layers``.
    arguments : mapping
        Arguments of the one that is built.
    layers : sequence of int
        Which of its features, in the wanted order: numbers of blocks for a backbone that declares
        ``feature_arguments``, else positions in the list that it returns. Negative ones count from the end.
    group_merge : {'mean', 'sum', 'concat'}
        How the grids of several groups of bands become one, for a backbone with such groups.

    Raises
    ------
    ValueError
        For an unknown merge, or arguments that the backbone refuses.
    """

    def __init__(
        self,
        backbone: str | nn.Module,
        arguments: Mapping[str, Any],
        layers: Sequence[int] = (-1,),
        group_merge: GroupMerge = "mean",
    ) -> None:
        super().__init__()
        if group_merge not in MERGES:
            msg = f"group_merge must be one of {', '.join(MERGES)}, got {group_merge!r}."
            raise ValueError(msg)
        self.layers = list(layers)
        self.group_merge = group_merge
        self.backbone: Any = _built(backbone, arguments, self.layers) if isinstance(backbone, str) else backbone
        self.reads_own_tokens = isinstance(self.backbone, TokenReader)

    def forward(self, image: torch.Tensor | Mapping[str, torch.Tensor], **extras: Any) -> list[Features]:  # noqa: ANN401
        """Encode a batch; one entry per layer."""
        output = self.backbone(image, **extras)
        if self.reads_own_tokens:
            return list(self.backbone.read_features(output, self.layers, self.group_merge))
        features = [output] if isinstance(output, torch.Tensor) else output
        size = _size(image)
        chosen = []
        for layer in self.layers:
            if not -len(features) <= layer < len(features):
                msg = f"layers names {layer}, but the backbone returns {len(features)} features."
                raise ValueError(msg)
            chosen.append(_read(features[layer], size))
        return chosen


def _built(name: str, arguments: Mapping[str, Any], layers: Sequence[int]) -> nn.Module:
    """Build a backbone of the registry so that it returns these layers."""
    from terratorch.registry import BACKBONE_REGISTRY  # noqa: PLC0415

    encoder = find_encoder(name)
    needed = {} if encoder is None else encoder.feature_arguments(layers)
    built: nn.Module = BACKBONE_REGISTRY.build(name, **{**arguments, **needed})
    return built


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
