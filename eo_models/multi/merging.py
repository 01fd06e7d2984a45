"""Features of several encoders, level by level: to one size, then to one list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast, get_args

import torch
import torch.nn.functional as F

from eo_core.arguments import from_text, one_of

Merge = Literal["concat", "sum", "mean", "flatten"]
#: ``None``, ``up``, ``down``, the index of an encoder, or height and width per level.
Rescale = None | Literal["up", "down"] | int | tuple[tuple[int, int], ...]

MERGES: tuple[Merge, ...] = get_args(Merge)
RESCALES = ("up", "down")


def parse_rescale(given: object, n_encoders: int) -> Rescale:
    """Check ``rescale_features``.

    Raises
    ------
    ValueError
        For anything but the values of `Rescale`, or the index of an encoder that is not there.
    """
    value = from_text(given)
    if value is None:
        return None
    if value in RESCALES:
        return cast("Literal['up', 'down']", value)
    valid = (
        f"Valid: null, {', '.join(RESCALES)}, the index 0..{n_encoders - 1} of the encoder to follow, or a list with "
        "the size of each level, such as [64, 32] or [[64, 48], [32, 24]]."
    )
    if isinstance(value, int) and not isinstance(value, bool):
        if 0 <= value < n_encoders:
            return value
        msg = f"rescale_features={given!r} is the index of no encoder; there are {n_encoders}. {valid}"
        raise ValueError(msg)
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        sizes = [[size, size] if _is_size(size) else size for size in value]
        if all(isinstance(s, Sequence) and len(s) == 2 and all(map(_is_size, s)) for s in sizes):
            return tuple((int(height), int(width)) for height, width in sizes)
    msg = f"rescale_features must say what size features get, got {given!r}. {valid}"
    raise ValueError(msg)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def parse_merge(given: object) -> Merge:
    """Check ``merge_features``.

    Raises
    ------
    ValueError
        If it is none of `MERGES`.
    """
    return cast("Merge", one_of("merge_features", given, MERGES))


def merged_channels(how: Merge, rescale: Rescale, channels: Sequence[Sequence[int]], names: Sequence[str]) -> list[int]:
    """Channels of the merged features.

    Parameters
    ----------
    how : {'concat', 'sum', 'mean', 'flatten'}
        How they are merged.
    rescale : Rescale
        To what size.
    channels : sequence of sequence of int
        Channels of each feature of each encoder, after its necks.
    names : sequence of str
        Of the encoders, for messages.

    Raises
    ------
    ValueError
        If encoders return different numbers of features where levels belong together, or different channels for
        ``sum`` and ``mean``.
    """
    by_encoder = "; ".join(f"{name}: {list(own)}" for name, own in zip(names, channels, strict=True))
    levels = {len(own) for own in channels}
    if len(levels) > 1 and (how != "flatten" or rescale is not None):
        why = f"merge_features={how!r}" if how != "flatten" else "rescale_features"
        msg = (
            f"{why} works level by level, but the encoders return different numbers of features (channels of each: "
            f"{by_encoder}). Choose as many with out_indices or the neck SelectIndices, or use "
            "merge_features='flatten' without rescale_features."
        )
        raise ValueError(msg)
    if isinstance(rescale, tuple) and len(rescale) not in levels:
        msg = (
            f"rescale_features has {len(rescale)} sizes ({[list(size) for size in rescale]}), but there are "
            f"{levels.pop()} levels. Give one size, or one [height, width], per level."
        )
        raise ValueError(msg)
    if how == "flatten":
        return [c for own in channels for c in own]
    per_level = list(zip(*channels, strict=True))
    if how == "concat":
        return [sum(level) for level in per_level]
    if any(len(set(level)) > 1 for level in per_level):
        msg = (
            f"merge_features={how!r} needs the same channels from all encoders at each level, got {by_encoder}. Use "
            "'concat', or bring them to the same channels with a neck."
        )
        raise ValueError(msg)
    return [level[0] for level in per_level]


def merge_features(
    how: Merge, rescale: Rescale, features: Sequence[Sequence[torch.Tensor]], names: Sequence[str]
) -> list[torch.Tensor]:
    """Merge the features of several encoders.

    Parameters
    ----------
    how, rescale, names
        As for `merged_channels`.
    features : sequence of sequence of Tensor
        Features of each encoder: maps ``(B, D, h, w)``; for ``flatten`` without ``rescale`` of any shape.

    Returns
    -------
    list of Tensor
        One map per level; for ``flatten``, all of the first encoder, then all of the second, and so on.

    Raises
    ------
    ValueError
        For tokens, or maps of different sizes without ``rescale``.
    """
    if how == "flatten" and rescale is None:
        return [feature for own in features for feature in own]
    levels = [_same_size(list(level), k, rescale, names) for k, level in enumerate(zip(*features, strict=True))]
    if how == "flatten":
        return [level[encoder] for encoder in range(len(features)) for level in levels]
    if how == "concat":
        return [torch.cat(level, dim=1) for level in levels]
    totals = [torch.stack(level).sum(dim=0) for level in levels]
    return totals if how == "sum" else [total / len(features) for total in totals]


def _same_size(level: list[torch.Tensor], k: int, rescale: Rescale, names: Sequence[str]) -> list[torch.Tensor]:
    shapes = "; ".join(f"{name}: {tuple(feature.shape)}" for name, feature in zip(names, level, strict=True))
    if any(feature.ndim != 4 for feature in level):
        msg = (
            f"Features are merged as maps (B, D, h, w), but at level {k} the encoders return {shapes}. Tokens "
            "(B, N, D) become maps by a neck of their entry: necks: [{name: ReshapeTokensToImage}], or by an argument "
            "of the backbone if it has one for that."
        )
        raise ValueError(msg)
    sizes = [(int(feature.shape[-2]), int(feature.shape[-1])) for feature in level]
    size = _target(sizes, k, rescale)
    if size is None:
        if len(set(sizes)) > 1:
            msg = (
                f"At level {k} the encoders return maps of different sizes ({shapes}). Set rescale_features: up, down, "
                "the index of an encoder, or a size per level."
            )
            raise ValueError(msg)
        return level
    return [
        feature if own == size else F.interpolate(feature, size=size, mode="bilinear", align_corners=False)
        for feature, own in zip(level, sizes, strict=True)
    ]


def _target(sizes: Sequence[tuple[int, int]], k: int, rescale: Rescale) -> tuple[int, int] | None:
    if rescale is None:
        return None
    if isinstance(rescale, tuple):
        return rescale[k]
    if isinstance(rescale, int):
        return sizes[rescale]
    heights, widths = zip(*sizes, strict=True)
    extreme = max if rescale == "up" else min
    return extreme(heights), extreme(widths)
