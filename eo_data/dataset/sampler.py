"""The order of training samples, the same in every run, and batches of samples that have the same modalities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.data import BatchSampler, Sampler


class SeededIndex(NamedTuple):
    """Which sample comes next, and the seed of its random transforms."""

    sample: int
    seed: int


def index_of(drawn: int | SeededIndex) -> int:
    """Return the number of the sample."""
    return drawn.sample if isinstance(drawn, SeededIndex) else drawn


class ShuffleByEpoch(Sampler[SeededIndex]):
    """A random order that follows from a seed and the number of the epoch alone.

    A run that goes on from a checkpoint sees the same samples, with the same transforms, as one that was never
    interrupted. The number of workers makes no difference either.

    Parameters
    ----------
    size : int
        Number of samples.
    seed : int
        Seed of the run.
    epoch : int
        Number of the first epoch. Lightning sets the later ones; without Lightning, they are counted.
    """

    def __init__(self, size: int, seed: int, epoch: int = 0) -> None:
        self._size, self._seed, self._epoch = size, seed, epoch

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next pass."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[SeededIndex]:
        """Yield every sample once."""
        # The factor keeps (seed 1, epoch 0) apart from (seed 0, epoch 1).
        generator = torch.Generator().manual_seed((self._seed * 1_000_003 + self._epoch) % 2**63)
        order = torch.randperm(self._size, generator=generator).tolist()
        seeds = torch.randint(2**31 - 1, (self._size,), generator=generator).tolist()
        yield from (SeededIndex(index, seeds[index]) for index in order)
        self._epoch += 1

    def __len__(self) -> int:
        """Return the number of samples."""
        return self._size


class SameModalitiesBatchSampler(BatchSampler):
    """Puts only samples with the same modalities into one batch, so that a missing one is left out, not invented.

    A batch goes out as soon as it is full; the incomplete ones come last. To predict, Lightning makes a new batch
    sampler around a sampler of its own, which is why ``sampler`` is an argument.

    Parameters
    ----------
    sampler : Sampler
        Order of the samples, sequential or random.
    batch_size : int
        Number of samples in a full batch.
    drop_last : bool
        Leave out incomplete batches.
    groups : sequence of tuple of str
        Modalities of each sample.
    """

    def __init__(
        self,
        sampler: Sampler[Any],
        batch_size: int,
        drop_last: bool,  # noqa: FBT001 (as in BatchSampler)
        groups: Sequence[Sequence[str]],
    ) -> None:
        self.sampler = sampler
        # Under the public names of BatchSampler, Lightning takes it for one that needs no further arguments.
        self._size, self._drop_last = batch_size, drop_last
        self._groups = [frozenset(group) for group in groups]

    def __iter__(self) -> Iterator[list[Any]]:
        """Yield the indices of each batch."""
        waiting: dict[frozenset[str], list[Any]] = {}
        for drawn in self.sampler:
            group = self._groups[index_of(drawn)]
            batch = waiting.setdefault(group, [])
            batch.append(drawn)
            if len(batch) == self._size:
                yield waiting.pop(group)
        if not self._drop_last:
            yield from waiting.values()

    def __len__(self) -> int:
        """Return the number of batches."""
        # A random order must not be drawn here; all samples take part in it anyway.
        whole = len(self.sampler) == len(self._groups)  # type: ignore[arg-type]
        indices = range(len(self._groups)) if whole else [index_of(drawn) for drawn in self.sampler]
        sizes = Counter(self._groups[i] for i in indices).values()
        return sum(size // self._size if self._drop_last else -(-size // self._size) for size in sizes)
