"""Batches of samples that have the same modalities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler


class SameModalitiesBatchSampler(Sampler[list[int]]):
    """Puts only samples with the same modalities into one batch, so that a missing one is left out, not invented.

    Parameters
    ----------
    groups : sequence of tuple of str
        Modalities of each sample.
    batch_size : int
        Largest batch.
    shuffle : bool
        Draw samples and batches in random order, by torch's global generator.
    drop_last : bool
        Leave out incomplete batches.
    """

    def __init__(self, groups: Sequence[tuple[str, ...]], batch_size: int, *, shuffle: bool, drop_last: bool) -> None:
        self.batch_size, self.shuffle, self.drop_last = batch_size, shuffle, drop_last
        self._members: dict[frozenset[str], list[int]] = {}
        for i, group in enumerate(groups):
            self._members.setdefault(frozenset(group), []).append(i)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the indices of each batch."""
        batches = []
        for members in self._members.values():
            order = torch.randperm(len(members)).tolist() if self.shuffle else range(len(members))
            chosen = [members[i] for i in order]
            batches += [chosen[i : i + self.batch_size] for i in range(0, len(chosen), self.batch_size)]
        batches = [batch for batch in batches if not self.drop_last or len(batch) == self.batch_size]
        order = torch.randperm(len(batches)).tolist() if self.shuffle else range(len(batches))
        for i in order:
            yield batches[i]

    def __len__(self) -> int:
        """Return the number of batches."""
        sizes = [len(members) for members in self._members.values()]
        if self.drop_last:
            return sum(size // self.batch_size for size in sizes)
        return sum(-(-size // self.batch_size) for size in sizes)
