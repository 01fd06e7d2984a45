"""What must be known of an HDF5 file before its numbers are read: where they lie, and whether reading would end.

Sources: HDF5 File Format Specification, III.E (global heap), and its external storage, external links and virtual data
sets.
"""

from __future__ import annotations

import functools
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

#: Bytes by which a text of any length is referred to, in files with addresses of 8 bytes as all have them.
_REFERENCE = 16
_NOWHERE = (0, 2**64 - 1)


@dataclass(frozen=True)
class Contents:
    """What an HDF5 file holds, as far as reading it may do harm.

    Parameters
    ----------
    elsewhere : tuple of (str, str, str)
        Name, kind (``external storage``, ``external link``, ``virtual``) and file of what lies in other files.
    longest_axis : int
        Bytes of the longest array of one axis: such are read as a whole.
    damaged_texts : tuple of str
        Arrays of texts in a damaged heap, in which HDF5 goes round and round, or which it takes to be gigabytes long.
    """

    elsewhere: tuple[tuple[str, str, str], ...]
    longest_axis: int
    damaged_texts: tuple[str, ...]


@functools.lru_cache(maxsize=64)
def contents_of(path: Path, _mtime: int, _size: int) -> Contents:
    """Look through a file; once for each state of it, by the time of its last change and its size.

    Raises
    ------
    OSError
        If it cannot be opened.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stored:
        return look_through(path, stored)


class Stored(Protocol):
    """The bytes of a file."""

    def __len__(self) -> int:
        """Return their number."""

    def __getitem__(self, part: slice, /) -> bytes:
        """Return some of them."""


def look_through(opened: Any, stored: Stored) -> Contents:  # noqa: ANN401  (a path, or a stream)
    """Look through a file, wherever it is.

    Parameters
    ----------
    opened : path or stream
        What h5py opens.
    stored : Stored
        The same as bytes.

    Raises
    ------
    OSError
        If it cannot be opened.
    """
    import h5py  # noqa: PLC0415

    elsewhere: list[tuple[str, str, str]] = []
    axes, texts = [0], []

    def look(name: str, item: Any) -> None:  # noqa: ANN401  (h5py is untyped)
        if not isinstance(item, h5py.Dataset):
            return
        if item.ndim == 1:
            axes.append(item.size * item.dtype.itemsize)
        kind = h5py.check_string_dtype(item.dtype)
        if kind is not None and kind.length is None and item.id.get_storage_size() == _REFERENCE * item.size:
            texts.append((name, item.id.get_offset(), item.size))
        if item.external:
            elsewhere.append((name, "external storage", str(item.external[0][0])))
        if item.is_virtual:
            files = {str(source.file_name) for source in item.virtual_sources()} - {"."}
            elsewhere.extend((name, "virtual", file) for file in sorted(files))

    def look_at_link(name: str, link: Any) -> None:  # noqa: ANN401
        if isinstance(link, h5py.ExternalLink):
            elsewhere.append((name, "external link", str(link.filename)))

    with h5py.File(opened) as file:
        file.visititems(look)
        file.visititems_links(look_at_link)
    return Contents(tuple(elsewhere), max(axes), tuple(_damaged(stored, texts)))


def _damaged(stored: Stored, texts: list[tuple[str, int | None, int]]) -> list[str]:
    """Return the arrays of texts that lie in a damaged heap. Of compressed arrays it is not known."""
    return [repr(name) for name, start, count in texts if start is not None and not _is_whole(stored, start, count)]


def _is_whole(stored: Stored, start: int, count: int) -> bool:
    """Whether all texts of an array are there: each says its length, its collection, and its number in that."""
    end = start + _REFERENCE * count
    if end > len(stored):
        return False
    heaps: dict[int, dict[int, int]] = {}
    for length, address, number in struct.iter_unpack("<IQI", stored[start:end]):
        if not length or address in _NOWHERE:
            continue
        if address not in heaps:
            heaps[address] = _sizes(stored, address)
        if length > heaps[address].get(number, 0):
            return False
    return True


def _sizes(stored: Stored, start: int) -> dict[int, int]:
    """Return the size of each object of a collection by its number; nothing if they do not fill it one by one."""
    if start + 16 > len(stored) or stored[start : start + 4] != b"GCOL":
        return {}
    stop = start + struct.unpack("<Q", stored[start + 8 : start + 16])[0]
    place, sizes = start + 16, {}
    while place + 16 <= min(stop, len(stored)):
        number, size = struct.unpack("<H6xQ", stored[place : place + 16])
        sizes[number] = size
        step = 16 + -(-size // 8) * 8 if number else size  # what is free, number 0, counts its own head
        if step < 16:
            return {}
        place += step
    return sizes if place <= stop <= len(stored) else {}
