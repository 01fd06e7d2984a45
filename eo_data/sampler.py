"""Batches of samples that have the same modalities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from torch.utils.data import BatchSampler, Sampler


class SameModalitiesBatchSampler(BatchSampler):
    """Puts only samples with the same modalities into one batch, so that a missing one is left out, not invented.

    A batch goes out as soon as it is full; the incomplete ones come last. Lightning makes the sampler anew to predict,
    with a sampler of its own, which is why that is an argument.

    Parameters
    ----------
    sampler : Sampler
        Order of the samples, sequential or random.
    batch_size : int
        Largest batch.
    drop_last : bool
        Leave out incomplete batches.
    groups : sequence of tuple of str
        Modalities of each sample.
    """

    def __init__(
        self,
        sampler: Sampler[int],
        batch_size: int,
        drop_last: bool,  # noqa: FBT001 (as in BatchSampler)
        groups: Sequence[Sequence[str]],
    ) -> None:
        self.sampler = sampler
        # Under the public names of BatchSampler, Lightning takes it for one that needs no further arguments.
        self._size, self._drop_last = batch_size, drop_last
        self._groups = [frozenset(group) for group in groups]

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the indices of each batch."""
        waiting: dict[frozenset[str], list[int]] = {}
        for i in self.sampler:
            batch = waiting.setdefault(self._groups[i], [])
            batch.append(i)
            if len(batch) == self._size:
                yield waiting.pop(self._groups[i])
        if not self._drop_last:
            yield from waiting.values()

    def __len__(self) -> int:
        """Return the number of batches."""
        # A random order must not be drawn here; all samples take part in it anyway.
        whole = len(self.sampler) == len(self._groups)  # type: ignore[arg-type]
        indices = range(len(self._groups)) if whole else list(self.sampler)
        sizes = Counter(self._groups[i] for i in indices).values()
        return sum(size // self._size if self._drop_last else -(-size // self._size) for size in sizes)
