"""Reading ahead: the next batches are read and prepared while the encoder works on this one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any, cast

import torch
from torch.utils.data import DataLoader

#: Batches that wait at most, and the bytes of their tensors; one may be larger.
AHEAD, AHEAD_BYTES = 4, 512_000_000


class _Ahead[T]:
    """The thread that reads, and what it has read."""

    def __init__(self, source: Iterable[T], size_of: Callable[[T], int], count: int, most: int) -> None:
        self._source, self._size_of, self._count, self._most = source, size_of, count, most
        self._ready: queue.SimpleQueue[tuple[T | None, int, BaseException | None]] = queue.SimpleQueue()
        self._waiting, self._bytes = 0, 0
        self._room = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._read, name="read ahead", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for entry in self._source:
                size = self._size_of(entry)
                with self._room:
                    self._room.wait_for(lambda size=size: self._stopped or self._fits(size))  # type: ignore[misc]
                    if self._stopped:
                        return
                    self._waiting, self._bytes = self._waiting + 1, self._bytes + size
                self._ready.put((entry, size, None))
            self._ready.put((None, 0, StopIteration()))
        except BaseException as error:  # noqa: BLE001  (raised again where the batch would have come)
            self._ready.put((None, 0, error))

    def _fits(self, size: int) -> bool:
        return not self._waiting or (self._waiting < self._count and self._bytes + size <= self._most)

    def entries(self) -> Iterator[T]:
        while True:
            entry, size, error = self._ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            with self._room:
                self._waiting, self._bytes = self._waiting - 1, self._bytes - size
                self._room.notify()
            yield cast("T", entry)

    def stop(self) -> None:
        with self._room:
            self._stopped = True
            self._room.notify()
        self._thread.join()


def prefetched[T](
    source: Iterable[T], size_of: Callable[[T], int], *, count: int = AHEAD, most: int = AHEAD_BYTES
) -> Generator[T]:
    """Yield what a source gives, in its order, which one thread takes ahead of it.

    The thread ends with the iterator: at its end, when it is closed, and when it is thrown away. An error of the source
    is raised in the place of the entry that could not be had.

    Parameters
    ----------
    source : iterable
        Only this thread uses it meanwhile.
    size_of : callable
        Bytes of an entry.
    count : int
        Entries that wait at most.
    most : int
        Bytes of the entries that wait; a single one may be larger.
    """
    ahead = _Ahead(source, size_of, count, most)
    try:
        yield from ahead.entries()
    finally:
        ahead.stop()


def tensor_bytes(batch: Any) -> int:  # noqa: ANN401
    """Return the bytes of all tensors of a batch, however they are nested."""
    if isinstance(batch, torch.Tensor):
        return batch.nbytes
    if isinstance(batch, Mapping):
        return sum(tensor_bytes(value) for value in batch.values())
    if isinstance(batch, tuple | list):
        return sum(tensor_bytes(value) for value in batch)
    return 0


class PrefetchingLoader(DataLoader[Any]):
    """A loader that reads ahead in a thread where it has no processes that do.

    With a process of its own (``num_workers`` above 0) PyTorch reads ahead already; a thread takes no further memory
    for a copy of the program.
    """

    def __iter__(self) -> Any:  # noqa: ANN401  (PyTorch's own type is private)
        """Return the batches in their order."""
        batches = super().__iter__()
        return batches if self.num_workers else prefetched(batches, tensor_bytes)
