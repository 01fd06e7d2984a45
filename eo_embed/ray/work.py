"""What is to be done: batches by the places of their samples in the data set, and how often each was lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Batch:
    """Samples that go through the encoder together.

    Parameters
    ----------
    indices : tuple of int
        Their places in the data set.
    ids : tuple of str
        Their ids, so that a data set which has other samples there is noticed.
    lost : int
        How often a process ended that worked on them.
    """

    indices: tuple[int, ...]
    ids: tuple[str, ...]
    lost: int = 0


class Work:
    """The batches that nobody works on yet.

    A batch that was lost is done again as it was, so that its numbers come out as if nothing had happened, and with
    nothing read beside it, so that it is known what was at fault. Lost ``tries`` times, its samples are done one by
    one; a sample that is lost alone is given up.

    Parameters
    ----------
    batches : sequence of Batch
        In the order in which they are to be done.
    tries : int
        How often a batch is tried before its samples are tried one by one.

    Raises
    ------
    ValueError
        If ``tries`` is below 1.
    """

    def __init__(self, batches: Sequence[Batch], tries: int) -> None:
        if tries < 1:
            msg = f"tries must be at least 1, got {tries}: it is how often a batch is tried as a whole."
            raise ValueError(msg)
        self._waiting = deque(batches)
        self._tries = tries

    def __len__(self) -> int:
        """Return how many batches wait."""
        return len(self._waiting)

    def take(self) -> Batch | None:
        """Return the next batch; ``None`` if there is none."""
        return self._waiting.popleft() if self._waiting else None

    def take_ahead(self, own: Batch, others: int) -> Batch | None:
        """Return the batch that may be read while another one is encoded.

        Parameters
        ----------
        own : Batch
            The other one.
        others : int
            Batches to leave for other processes.
        """
        alone = own.lost or len(self._waiting) <= others or self._waiting[0].lost
        return None if alone else self._waiting.popleft()

    def lose(self, batches: Iterable[Batch]) -> list[str]:
        """Take batches back whose process ended, and return the ids of the samples that are given up."""
        given_up: list[str] = []
        for batch in batches:
            lost = batch.lost + 1
            if lost < self._tries:
                self._waiting.appendleft(replace(batch, lost=lost))
            elif len(batch.ids) > 1 or batch.lost < self._tries - 1:
                singles = zip(batch.indices, batch.ids, strict=True)
                self._waiting.extendleft(Batch((index,), (name,), max(lost, self._tries)) for index, name in singles)
            else:
                given_up += batch.ids
        return given_up
