"""Features on their way from the device to the host, without what nobody reads there."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from eo_data.dataset.sample_grid import SampleGrid
from eo_models.contract import Features, Pooling


@dataclass(frozen=True, eq=False)
class OwnCells:
    """What one layer gave for a batch, of each grid only the cells that are kept: those that the sample stands for.

    Parameters
    ----------
    tokens : Features
        Of all that the encoder saw, without a grid; beside one, the vector alone is the only token, ``(B, 1, D)``.
    blocks : tuple of Tensor
        Cells ``(b, D', h, w)`` of samples that follow one another and keep the same part of their grids, see
        `SampleGrid.kept_cells`; empty where tokens form no grid.
    shape : tuple of int or None
        Rows and columns of the whole grids.
    """

    tokens: Features
    blocks: tuple[torch.Tensor, ...] = ()
    shape: tuple[int, int] | None = None

    @property
    def grids(self) -> list[torch.Tensor]:
        """The cells ``(D', h, w)`` of each sample."""
        return [cells for block in self.blocks for cells in block]

    @property
    def tensors(self) -> list[torch.Tensor]:
        """All that it holds."""
        cls_token = self.tokens.cls_token
        return [self.tokens.tokens, *self.blocks, *([] if cls_token is None else [cls_token])]


@dataclass(frozen=True, eq=False)
class OnHost:
    """Features in the memory of the host, or on their way there.

    Parameters
    ----------
    layers : sequence of OwnCells
        On the CPU; to be read once `wait` has returned.
    arrived : torch.cuda.Event or None
        Happens when copies from a GPU have arrived.
    """

    layers: Sequence[OwnCells]
    arrived: torch.cuda.Event | None = None

    @property
    def size(self) -> int:
        """Bytes of the memory that they keep, with what lies around parts of it."""
        kept = [own.untyped_storage() for layer in self.layers for own in layer.tensors]
        return sum({storage.data_ptr(): storage.nbytes() for storage in kept}.values())

    def wait(self) -> Sequence[OwnCells]:
        """Return the features once they have arrived."""
        if self.arrived is not None:
            self.arrived.synchronize()
        return self.layers


def to_host(features: Sequence[Features], samples: Sequence[SampleGrid], pooling: Pooling) -> OnHost:
    """Bring features to the host; copies from a GPU of CUDA go to pinned memory and are not waited for.

    Parameters
    ----------
    features : sequence of Features
        Of each layer.
    samples : sequence of SampleGrid
        What the samples of the batch stand for: the cells around it stay where they are.
    pooling : {'mean', 'max', 'cls'}
        How tokens become a vector, which is done where they are.
    """
    small = [own_cells(own, samples, pooling) for own in features]
    on_gpu = small[0].tokens.tokens.is_cuda if small else False
    moved = [
        replace(
            one,
            tokens=replace(
                one.tokens,
                tokens=_copied(one.tokens.tokens),
                cls_token=None if one.tokens.cls_token is None else _copied(one.tokens.cls_token),
            ),
            blocks=tuple(map(_copied, one.blocks)),
        )
        for one in small
    ]
    if not on_gpu:
        return OnHost(moved)
    arrived = torch.cuda.Event()
    arrived.record()
    return OnHost(moved, arrived)


def own_cells(features: Features, samples: Sequence[SampleGrid], pooling: Pooling) -> OwnCells:
    """Return features with the cells alone that each sample stands for; nothing is copied."""
    small, grid = compact(features, pooling), features.grid
    if grid is None:
        return OwnCells(small)
    shape = (int(grid.shape[2]), int(grid.shape[3]))
    blocks, first = [], 0
    for (rows, columns), alike in itertools.groupby(sample.kept_cells(shape) for sample in samples):
        end = first + len(list(alike))
        blocks.append(grid[first:end, :, rows, columns])
        first = end
    return OwnCells(replace(small, grid=None), tuple(blocks), shape)


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
