"""Which items of an export are finished, in few bytes of memory, as there may be ten million."""

from __future__ import annotations

import hashlib
from collections.abc import Container
from typing import Any

import numpy as np

#: Bytes of a digest: of 10^9 items, two have the same one with a chance of 10^-21.
_SIZE = 16

#: Id and layer of an item.
type Key = tuple[str, str]


class FinishedItems(Container[Key]):
    """Ids and layers as a sorted array of their digests, 16 bytes each."""

    def __init__(self) -> None:
        self._digests, self._in_order, self._without = bytearray(), True, set[Key]()

    def add(self, key: Key) -> None:
        """Add an item that is not there yet."""
        self._digests += _digest(key)
        self._in_order = False

    def discard(self, key: Key) -> None:
        """Take an item out, if it is there."""
        if key in self:
            self._without.add(key)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._digests) // _SIZE - len(self._without)

    def __contains__(self, key: Any) -> bool:  # noqa: ANN401
        """Tell whether an item is finished."""
        digests = np.frombuffer(self._digests, f"S{_SIZE}")
        if not self._in_order:
            digests.sort()
            self._in_order = True
        own = _digest(key)
        at = int(np.searchsorted(digests, np.array(own, digests.dtype)))
        return digests[at : at + 1].tobytes() == own and key not in self._without


def _digest(key: Key) -> bytes:
    name, layer = (text.encode("utf-8", "surrogateescape") for text in key)
    return hashlib.blake2b(len(name).to_bytes(8) + name + layer, digest_size=_SIZE).digest()
