"""The order of a tensor's axes in memory, so that stored features come back laid out as the encoder made them.

A feature map ``(C, H, W)`` often lies in memory with the channels last. Its order is then ``(1, 2, 0)``: the axes from
the one with the longest steps in memory (rows, axis 1) to the one with the shortest (channels, axis 0). Files hold
contiguous tensors whose axes follow one another in that order, here ``(H, W, C)``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

#: Every axis of a tensor once, from the longest step in memory to the shortest.
type AxisOrder = tuple[int, ...]


def memory_order(tensor: torch.Tensor) -> AxisOrder:
    """Return the order of a tensor's axes in memory; of axes with equal steps, the first comes first."""
    steps = tensor.stride()
    return tuple(sorted(range(tensor.ndim), key=lambda axis: -steps[axis]))


def as_in_memory(tensor: torch.Tensor, order: AxisOrder) -> torch.Tensor:
    """Return a contiguous tensor whose axes are those of ``tensor`` in an order: axis ``i`` was axis ``order[i]``."""
    return tensor.permute(order).contiguous()


def as_computed(stored: torch.Tensor, order: AxisOrder) -> torch.Tensor:
    """Undo `as_in_memory`: return a view whose axes have their first order again, while the memory stays as it is."""
    return stored.permute([order.index(axis) for axis in range(len(order))])


def with_batch(order: AxisOrder) -> AxisOrder:
    """Return the order of a batch, which has one more axis in front, the longest step of all."""
    return (0, *(axis + 1 for axis in order))


def reordered(stored: torch.Tensor, given: AxisOrder, wanted: AxisOrder) -> torch.Tensor:
    """Return a tensor that `as_in_memory` made with the order ``given`` as it would be made with ``wanted``."""
    return stored if given == wanted else as_in_memory(as_computed(stored, given), wanted)


def orders_from_json(orders: Sequence[Sequence[int]]) -> list[AxisOrder]:
    """Return orders as they were before JSON made lists of them."""
    return [tuple(order) for order in orders]
