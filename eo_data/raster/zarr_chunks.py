"""What must be known of a Zarr before its numbers are read: how long its axes are, and whether its chunks are whole.

A chunk that is not there is read as the fill value, and one that is cut off is decoded beyond its end where it was
compressed by Blosc, which takes whatever lies there in memory.

Sources: the Zarr specifications of versions 2 (``dimension_separator``) and 3 (``chunk_key_encoding``, ``codecs``);
Blosc's chunk format, header, ``cbytes``.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eo_core.paths import fault_of_file
from eo_core.text import percent

#: Groups in groups, as deep as any product has them.
_DEEPEST = 8
_MANY_CHUNKS = 1000
#: Bytes of Blosc's header; the last four of them say how long the chunk is, header and all.
BLOSC_HEAD = 16
_BLOSC = ("blosc", "numcodecs.blosc")
#: Nothing was seen from orbit by any of our sensors before.
_FIRST_YEAR = 1972


def check_axes(folder: Path, depth: int = 0) -> int:
    """Look at the arrays of one axis before a Zarr is opened, as then they are read as a whole.

    Parameters
    ----------
    folder : Path
        The Zarr, or a group in it.
    depth : int
        Number of groups around it.

    Returns
    -------
    int
        Bytes of the longest one.

    Raises
    ------
    ValueError
        If a chunk of an axis is lost, cut off or no regular file, or metadata cannot be understood.
    """
    longest = 0
    for place in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not (metadata := _metadata(place)):
            continue
        shape = metadata.get("shape")
        if shape is None and depth < _DEEPEST:
            longest = max(longest, check_axes(place, depth + 1))
        elif isinstance(shape, list) and len(shape) == 1 and isinstance(shape[0], int):
            longest = max(longest, 8 * shape[0])
            _check_axis(chunks_of(place, metadata), _attributes(place, metadata))
    return longest


def _check_axis(chunks: Chunks, attributes: dict[str, Any]) -> None:
    """Refuse an axis of which chunks are lost, and other arrays of one axis of which many are: each is looked for."""
    name = chunks.folder.name
    total = -(-chunks.shape[0] // chunks.sides[0])
    if total > _MANY_CHUNKS:
        folder = chunks.folder / "c" if (chunks.folder / "c").is_dir() else chunks.folder
        lost = total - sum(1 for _ in folder.iterdir())
        if lost > _MANY_CHUNKS:
            msg = f"{lost} of {total} chunks of its axis {name!r} are not there. Copy the cube again."
            raise ValueError(msg)
    if name not in attributes["dimensions"]:
        return
    missing = [number for number, place in enumerate(chunks.places([slice(None)])) if not chunks.has(place)]
    if missing and not (missing == [0] and may_be_left_out(chunks, attributes) and not os.path.lexists(chunks.first)):
        raise ValueError(fault_of_axis(name, len(missing), total))


def fault_of_axis(name: str, missing: int, total: int) -> str:
    """Return what is wrong with an axis of which chunks are not there."""
    return (
        f"{missing} of {total} chunks of its axis {name!r} are not there, and nobody knows its values without them. "
        "Copy the cube again; if whoever wrote it left out chunks of nothing but the fill value, write it with them "
        "(write_empty_chunks: true of Zarr)."
    )


def may_be_left_out(chunks: Chunks, attributes: Mapping[str, Any]) -> bool:
    """Whether the first chunk of an axis may be left out, as all in it is the fill value.

    xarray counts times from the first of them, so that of a single date, or of a series that was written date by
    date, the first value is 0, and the chunk that holds it and nothing else is not written.
    """
    since = re.search(r"since (\d{4})", str(attributes.get("units")))
    is_likely = since is None or int(since[1]) >= _FIRST_YEAR
    return is_likely and min(chunks.sides[0], chunks.shape[0]) == 1


def check_chunks(array: Path, window: Sequence[slice]) -> None:
    """Look at the chunks of an array before they are read.

    Missing ones are reported with their share: they are lost, or were left out because all is the fill value.

    Parameters
    ----------
    array : Path
        Its folder.
    window : sequence of slice
        What will be read along each axis.

    Raises
    ------
    ValueError
        If one is cut off or no regular file, or the metadata cannot be understood.
    """
    chunks = chunks_of(array, _metadata(array))
    there = [chunks.has(place) for place in chunks.places(window)]
    if missing := there.count(False):
        warn_of_missing(str(array), missing, len(there), chunks.fill)


def warn_of_missing(array: str, missing: int, total: int, fill: object) -> None:
    """Warn that chunks of an array are not there, and what its pixels are instead."""
    value = "0, as no fill value is stated" if fill is None else f"the fill value, {fill}"
    warnings.warn(
        f"{array}: {missing} of {total} chunks ({percent(missing, total)}) are not there: their pixels are {value}. "
        "Copy the cube again, unless whoever wrote it left such chunks out.",
        stacklevel=3,
    )


def refuse_cut_off(name: str, head: bytes, size: int) -> None:
    """Refuse a chunk of Blosc that is shorter than it says.

    Parameters
    ----------
    name : str
        For the message.
    head : bytes
        Its first `BLOSC_HEAD` bytes.
    size : int
        Its bytes.

    Raises
    ------
    ValueError
        If it is.
    """
    stated = max(int.from_bytes(head[12:BLOSC_HEAD], "little"), BLOSC_HEAD)
    if size < stated:
        msg = f"its chunk {name} is cut off: it has {size} of {stated} bytes. Copy the cube again."
        raise ValueError(msg)


@dataclass(frozen=True)
class Chunks:
    """Chunks of an array, or shards; ``fill`` is what pixels of one count as that is not there, if that is stated."""

    folder: Path
    shape: tuple[int, ...]
    sides: tuple[int, ...]
    prefix: str
    separator: str
    fill: object
    are_blosc: bool

    @property
    def first(self) -> str:
        """The path of the first one."""
        return next(self.places([slice(1)] * len(self.shape)))

    def places(self, window: Sequence[slice]) -> Iterator[str]:
        """Yield the paths of the chunks that hold a window of the array."""
        ranges = []
        for span, length, side in zip(window, self.shape, self.sides, strict=True):
            start, stop, _ = span.indices(length)
            ranges.append(range(start // side, -(-stop // side)))
        for numbers in itertools.product(*ranges):
            yield f"{self.folder}/{self.prefix}{self.separator.join(map(str, numbers))}"

    def has(self, place: str) -> bool:
        """Whether a chunk is there.

        Raises
        ------
        ValueError
            If it is cut off, or neither a regular file nor a folder.
        """
        if fault := fault_of_file(place):
            msg = f"{place} cannot be opened: {fault}."
            raise ValueError(msg)
        if not os.path.isfile(place):  # noqa: PTH113  (by text: there may be many)
            return False
        if self.are_blosc:
            self._refuse_cut_off(place)
        return True

    def _refuse_cut_off(self, place: str) -> None:
        """Refuse a chunk of Blosc that is shorter than it says."""
        with open(place, "rb") as file:  # noqa: PTH123
            head = file.read(BLOSC_HEAD)
            size = os.fstat(file.fileno()).st_size
        refuse_cut_off(os.path.relpath(place, self.folder.parent), head, size)


def _metadata(folder: Path) -> dict[str, Any]:
    """Return what Zarr says of an array or group; nothing for any other folder."""
    for name in (".zarray", "zarr.json", ".zgroup"):
        if (folder / name).is_file():
            return _json(folder / name)
    return {}


def _json(file: Path) -> dict[str, Any]:
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found if isinstance(found, dict) else {}


def _attributes(folder: Path, metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of an array of Zarr 2 or 3, with the names of its axes as ``dimensions``."""
    if metadata.get("zarr_format") == 3:
        own, names = metadata.get("attributes"), metadata.get("dimension_names")
    else:
        own = _json(folder / ".zattrs")
        names = own.get("_ARRAY_DIMENSIONS")
    return (own if isinstance(own, dict) else {}) | {"dimensions": names if isinstance(names, list) else []}


def chunks_of(folder: Path, metadata: Mapping[str, Any]) -> Chunks:
    """Return the chunks of an array of Zarr 2 or 3."""
    try:
        return _of_metadata(folder, metadata)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        msg = f"the metadata of {folder.name!r} are not those of an array of Zarr: {error!r}. Copy the cube again."
        raise ValueError(msg) from error


def _of_metadata(folder: Path, metadata: Mapping[str, Any]) -> Chunks:
    shape, fill = tuple(metadata["shape"]), metadata["fill_value"]
    if "chunks" in metadata:
        separator, sides, prefix = metadata.get("dimension_separator", "."), tuple(metadata["chunks"]), ""
        codec = (metadata.get("compressor") or {}).get("id")
    else:
        encoding = metadata["chunk_key_encoding"]
        kind = encoding["name"]
        separator = encoding.get("configuration", {}).get("separator", "/" if kind == "default" else ".")
        sides = tuple(metadata["chunk_grid"]["configuration"]["chunk_shape"])
        prefix = f"c{separator}" if kind == "default" else ""
        codec = metadata["codecs"][-1]["name"]
    if min(sides, default=1) < 1 or len(sides) != len(shape):
        msg = f"chunks of {list(sides)} of the shape {list(shape)}"
        raise TypeError(msg)
    return Chunks(folder, shape, sides, prefix, separator, fill, codec in _BLOSC)
