"""What a process remembers of the files on servers that it opened: one file is opened for many places and tiles.

Of each there are its size and version, which files are known not to lie beside it, and the bytes that were used last:
tiles overlap and share blocks, and a block that two of them need is fetched once. All of it is bounded.
"""

from __future__ import annotations

import functools
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

#: Files of which something is remembered.
_MOST_FILES = 4_096
#: Bytes of all files together: a row of blocks of 512 px of ten bands across a tile of Sentinel-2, not compressed.
_MOST_BYTES = 128_000_000


@dataclass(eq=False)
class KnownFile:
    """A file that was opened before.

    Parameters
    ----------
    size, version : int and str
        As the server states them.
    checked : float
        When it last did, by the clock of `time.monotonic`.
    ranges : dict
        Bytes by the range ``[start, stop)`` that they fill.
    absent : dict
        Names of files that are not beside it, and whether the server says so; else it refuses them.
    looked_through : object, optional
        What was found when its contents were looked through.
    """

    size: int
    version: str
    checked: float
    ranges: dict[tuple[int, int], bytes] = field(default_factory=dict)
    absent: dict[str, bool] = field(default_factory=dict)
    looked_through: object = None


class KnownFiles:
    """The files that a process remembers, by the address that they were read from, those used last.

    Parameters
    ----------
    most_bytes : int
        Of their ranges; those used longest ago go first.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._lock = threading.Lock()
        self._files: OrderedDict[str, KnownFile] = OrderedDict()
        self._used: OrderedDict[tuple[KnownFile, tuple[int, int]], int] = OrderedDict()
        self._most_bytes, self._held = most_bytes, 0

    def find(self, address: str) -> KnownFile | None:
        """Return what is known of a file."""
        with self._lock:
            found = self._files.get(address)
            if found is not None:
                self._files.move_to_end(address)
            return found

    def add(self, address: str, file: KnownFile) -> None:
        """Remember a file instead of what was known of it."""
        with self._lock:
            self._drop(self._files.pop(address, None))
            self._files[address] = file
            while len(self._files) > _MOST_FILES:
                self._drop(self._files.popitem(last=False)[1])

    def forget(self, address: str) -> None:
        """Forget a file."""
        with self._lock:
            self._drop(self._files.pop(address, None))

    def keep(self, file: KnownFile, own: tuple[int, int], data: bytes) -> None:
        """Remember bytes of a file that was added, in place of those that were used longest ago."""
        with self._lock:
            if len(data) > self._most_bytes or own in file.ranges:
                return
            file.ranges[own] = data
            self._used[file, own] = len(data)
            self._held += len(data)
            while self._held > self._most_bytes:
                (oldest, gone), count = self._used.popitem(last=False)
                del oldest.ranges[gone]
                self._held -= count

    def recall(self, file: KnownFile, own: tuple[int, int]) -> bytes | None:
        """Return bytes that are remembered, which were thereby used last."""
        with self._lock:
            if (file, own) in self._used:
                self._used.move_to_end((file, own))
            return file.ranges.get(own)

    def _drop(self, file: KnownFile | None) -> None:
        if file is None:
            return
        for own in file.ranges:
            self._held -= self._used.pop((file, own))
        file.ranges.clear()


def known_files() -> KnownFiles:
    """Return those of this process; a forked one has its own, as another thread may hold the lock."""
    return _of_process(os.getpid())


@functools.lru_cache(maxsize=1)
def _of_process(process: int) -> KnownFiles:
    return KnownFiles()
