"""From THOR's token sequence to feature maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import nn

from thor_terratorch_ext.model.channels import GROUP_OF

MergeMethod = Literal["mean", "sum", "concat"]
MERGE_METHODS: tuple[MergeMethod, ...] = get_args(MergeMethod)


def grid_sizes(channel_params: Mapping[str, Mapping[str, int]]) -> list[int]:
    """Return the patches per side of each group in use, groups ascending, from the layout that a backbone returned."""
    of_group = {GROUP_OF[channel].index: params["num_patch"] for channel, params in channel_params.items()}
    return [of_group[index] for index in sorted(of_group)]


def token_maps(tokens: torch.Tensor, sizes: Sequence[int]) -> list[torch.Tensor]:
    """Cut a token sequence into one feature map per group.

    Parameters
    ----------
    tokens : Tensor
        ``(B, N, D)``, groups ascending, row-major inside a group.
    sizes : sequence of int
        Patches per side of each group.

    Returns
    -------
    list of Tensor
        ``(B, D, n, n)`` per group.

    Raises
    ------
    ValueError
        If the number of tokens is not the sum of the squared grid sizes.
    """
    lengths = [n * n for n in sizes]
    if sum(lengths) != tokens.shape[1]:
        msg = (
            f"Expected {sum(lengths)} tokens for grids of {list(sizes)} patches per side, got {tokens.shape[1]}. "
            "Pass the channel parameters that the same backbone returned with these tokens."
        )
        raise ValueError(msg)
    parts = tokens.transpose(1, 2).split(lengths, dim=2)
    return [part.unflatten(2, (n, n)) for part, n in zip(parts, sizes, strict=True)]


def merge_maps(maps: Sequence[torch.Tensor], method: MergeMethod) -> torch.Tensor:
    """Merge the feature maps of all groups on the finest grid.

    Coarser maps are resized bilinearly (``align_corners=False``). The mean is not weighted: a group of one band
    counts as much as one of six.

    Parameters
    ----------
    maps : sequence of Tensor
        ``(B, D, n, n)`` per group.
    method : {'mean', 'sum', 'concat'}
        How to merge.

    Returns
    -------
    Tensor
        ``(B, D, n, n)``, or ``(B, D * groups, n, n)`` for ``concat``, with the largest n.
    """
    side = max(m.shape[-1] for m in maps)
    resized = [
        m if m.shape[-1] == side else F.interpolate(m, size=(side, side), mode="bilinear", align_corners=False)
        for m in maps
    ]
    if method == "concat":
        return torch.cat(resized, dim=1)
    total = torch.stack(resized).sum(dim=0)
    return total / len(resized) if method == "mean" else total


class GroupedChannels(list[int]):
    """``out_channels`` of a backbone that also says how many groups its tokens hold.

    The neck needs that number to announce its own channels, and TerraTorch hands necks nothing but this list.

    Parameters
    ----------
    channels : sequence of int
        Channels of each returned feature.
    n_groups : int
        Groups in a token sequence; 0 if the features are maps already.
    """

    def __init__(self, channels: Sequence[int], n_groups: int) -> None:
        super().__init__(channels)
        self.n_groups = n_groups

    def copy(self) -> GroupedChannels:
        """Copy with the number of groups."""
        return GroupedChannels(self, self.n_groups)

    def __deepcopy__(self, memo: dict[int, Any]) -> GroupedChannels:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return GroupedChannels, (list(self), self.n_groups)


class THORGroupReshapeTokensToImage(nn.Module):
    """Neck that turns THOR tokens into maps; a backbone with ``merge_method`` set needs no neck.

    The backbone must be built with ``return_channel_params=True`` and without ``merge_method``. Features that are
    maps already pass through.

    Parameters
    ----------
    channel_list : list of int
        Channels of the incoming features, all alike.
    merge : {'concat', 'mean', 'sum'}
        How the groups are merged.
    remove_cls_token : bool
        Drop a leading class token. THOR 1.0 has none.
    num_groups : int, optional
        Number of groups, where the neck does not come right behind a THOR backbone and ``merge`` is ``concat``.

    Raises
    ------
    ValueError
        For an unknown merge or channel lists that differ.
    """

    def __init__(
        self,
        channel_list: list[int],
        merge: MergeMethod = "concat",
        remove_cls_token: bool = False,  # noqa: FBT001, FBT002
        num_groups: int | None = None,
    ) -> None:
        super().__init__()
        if merge not in MERGE_METHODS:
            msg = f"merge must be one of {', '.join(MERGE_METHODS)}, got {merge!r}."
            raise ValueError(msg)
        if len(set(channel_list)) != 1:
            msg = f"THOR features all have the same number of channels, got {list(channel_list)}."
            raise ValueError(msg)
        self.channel_list = channel_list
        self.merge = merge
        self.remove_cls_token = remove_cls_token
        self.num_groups = num_groups

    def process_channel_list(self, channel_list: list[int]) -> list[int]:
        """Return the channels of the outgoing maps.

        Raises
        ------
        ValueError
            If the number of groups is needed and not known.
        """
        n_groups = self.num_groups if self.num_groups is not None else getattr(channel_list, "n_groups", None)
        if self.merge != "concat" or n_groups == 0:
            return GroupedChannels(channel_list, 0)
        if n_groups is None:
            msg = (
                "merge='concat' multiplies the channels by the number of THOR groups, which this neck cannot see here. "
                "Put it first among the necks of a THOR backbone, or state num_groups."
            )
            raise ValueError(msg)
        return GroupedChannels([channels * n_groups for channels in channel_list], 0)

    def forward(
        self,
        features: tuple[list[torch.Tensor], Mapping[str, Mapping[str, int]]] | list[torch.Tensor],
        **_: object,
    ) -> list[torch.Tensor]:
        """Merge each feature to a map.

        Parameters
        ----------
        features : tuple of (list of Tensor, mapping)
            Tokens ``(B, N, D)`` and the channel parameters of the backbone, or a list of maps.

        Returns
        -------
        list of Tensor
            ``(B, D', n, n)``.

        Raises
        ------
        ValueError
            For tokens without channel parameters, or that do not match them.
        """
        if not isinstance(features, tuple):
            if all(feature.ndim == 4 for feature in features):
                return features
            msg = (
                "THORGroupReshapeTokensToImage needs the token layout: build the backbone with "
                "return_channel_params=True, or give it merge_method='concat' and drop the neck."
            )
            raise ValueError(msg)
        maps, channel_params = features
        if all(feature.ndim == 4 for feature in maps):
            return maps
        sizes = grid_sizes(channel_params)
        skip = 1 if self.remove_cls_token else 0
        return [merge_maps(token_maps(feature[:, skip:], sizes), self.merge) for feature in maps]
