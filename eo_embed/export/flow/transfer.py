"""Features on their way from the device to the host, without what has gone into a vector already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from eo_models.contract import Features, Pooling


@dataclass(frozen=True)
class OnHost:
    """Features in the memory of the host, or on their way there.

    Parameters
    ----------
    features : sequence of Features
        On the CPU; to be read once `wait` has returned. Beside a grid, ``tokens`` is the vector alone, ``(B, 1, D)``,
        as all of them would take the memory of the grid once more.
    arrived : torch.cuda.Event or None
        Happens when copies from a GPU have arrived.
    """

    features: Sequence[Features]
    arrived: torch.cuda.Event | None = None

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return sum(own.nbytes for one in self.features for own in (one.tokens, one.grid) if own is not None)

    def wait(self) -> Sequence[Features]:
        """Return the features once they have arrived."""
        if self.arrived is not None:
            self.arrived.synchronize()
        return self.features


def to_host(features: Sequence[Features], pooling: Pooling) -> OnHost:
    """Bring features to the host; copies from a GPU of CUDA go to pinned memory and are not waited for.

    Parameters
    ----------
    features : sequence of Features
        Of each layer.
    pooling : {'mean', 'max', 'cls'}
        How tokens become a vector, which is done where they are.
    """
    small = [compact(own, pooling) for own in features]
    on_gpu = small[0].tokens.is_cuda if small else False
    moved = [
        replace(
            one,
            tokens=_copied(one.tokens),
            cls_token=None if one.cls_token is None else _copied(one.cls_token),
            grid=None if one.grid is None else _copied(one.grid),
        )
        for one in small
    ]
    if not on_gpu:
        return OnHost(moved)
    arrived = torch.cuda.Event()
    arrived.record()
    return OnHost(moved, arrived)


def compact(features: Features, pooling: Pooling) -> Features:
    """Return features whose only token is what all of them come to; those without a grid stay as they are."""
    if features.grid is None:
        return features
    tokens = features.tokens[:, :1] if pooling == "cls" else features.pooled(pooling)[:, None]
    return replace(features, tokens=tokens)


def _copied(values: torch.Tensor) -> torch.Tensor:
    values = values.detach()
    if not values.is_cuda:
        return values.cpu()
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return host.copy_(values, non_blocking=True)
