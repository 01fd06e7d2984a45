"""What a process remembers of the files on servers that it opened: one file is opened for many places.

Of each there are its size and version, its first bytes, in which most have their tables, and which files are known not
to lie beside it. All of it is bounded.
"""

from __future__ import annotations

import functools
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

#: Files of which something is remembered, and bytes of each.
_MOST_FILES, _MOST_BYTES = 1_024, 32_768


@dataclass
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
    """

    size: int
    version: str
    checked: float
    ranges: dict[tuple[int, int], bytes] = field(default_factory=dict)
    absent: dict[str, bool] = field(default_factory=dict)

    def keep(self, own: tuple[int, int], data: bytes) -> None:
        """Remember bytes, if there is room."""
        if sum(map(len, [*self.ranges.values()])) + len(data) <= _MOST_BYTES:
            self.ranges[own] = data


class KnownFiles:
    """The files that a process remembers, by the address that they were read from, those used last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: OrderedDict[str, KnownFile] = OrderedDict()

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
            self._files[address] = file
            self._files.move_to_end(address)
            while len(self._files) > _MOST_FILES:
                self._files.popitem(last=False)

    def forget(self, address: str) -> None:
        """Forget a file."""
        with self._lock:
            self._files.pop(address, None)


def known_files() -> KnownFiles:
    """Return those of this process; a forked one has its own, as another thread may hold the lock."""
    return _of_process(os.getpid())


@functools.lru_cache(maxsize=1)
def _of_process(process: int) -> KnownFiles:
    return KnownFiles()
