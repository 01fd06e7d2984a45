"""Zarr on a server: its metadata, and of its chunks and shards those that are read.

What a Zarr on this machine is looked at for before it is read (see `eo_data.raster.zarr_chunks`) is looked at here when
its chunks come, as asking twice would take twice as long.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype

from eo_data.catalog.hrefs import Href
from eo_data.raster.remote.cache import RangeCache
from eo_data.raster.remote.memory import known_files
from eo_data.raster.remote.own_stores import listed
from eo_data.raster.remote.ranges import USUAL, Patience, RemoteError
from eo_data.raster.remote.remote_file import PageError, RemoteFile
from eo_data.raster.remote.signing import located
from eo_data.raster.zarr_chunks import (
    chunks_of,
    fault_of_axis,
    may_be_left_out,
    refuse_cut_off,
    warn_of_missing,
)

_METADATA = ("zarr.json", ".zmetadata", ".zgroup", ".zarray", ".zattrs")
_NOT_THERE = (404, 410)
_REFUSED = (401, 403)
#: A chunk up to this size comes with the first request.
_CHUNK = 8_000_000
_DEEPEST = 8


class RemoteZarr(Store):
    """A Zarr on a server, for `zarr` to read.

    Parameters
    ----------
    href : Href
        ``http(s)://`` or ``s3://``. Its ``cache`` keeps what is fetched.
    patience : Patience
        How long the server is waited for.

    Raises
    ------
    RemoteError
        If it cannot be reached or refuses, or no Zarr is there.
    ValueError
        If its metadata are not in one place and the server gives no lists of folders, or there are no keys.
    """

    def __init__(self, href: Href, patience: Patience = USUAL) -> None:
        super().__init__(read_only=True)
        address, self._service = located(href)
        self._url = urlsplit(address)
        self._cache, self._patience = RangeCache.of(href.cache), patience
        place = urlsplit(href.text)
        self._bucket = (place.netloc, place.path.strip("/")) if place.scheme == "s3" and not href.service else None
        self._missing: dict[str, set[str]] = {}
        self._fault = ""
        self._is_version_3 = False
        self.consolidated, self._nodes = self._opened()
        self._chunks = {path: chunks_of(Path(path), node) for path, node in self._nodes.items() if "shape" in node}

    @property
    def longest_axis(self) -> int:
        """Bytes of the longest array of one axis, which is read as a whole."""
        return max((8 * chunks.shape[0] for chunks in self._chunks.values() if len(chunks.shape) == 1), default=0)

    def fill_value(self, path: str) -> object:
        """Return the fill value of an array by its own metadata, or nothing."""
        return self._nodes.get(path, {}).get("fill_value")

    def report_missing(self, path: str, window: Sequence[slice]) -> None:
        """Warn of the chunks of a window that were not there when it was read.

        Parameters
        ----------
        path : str
            The array.
        window : sequence of slice
            What was read along each axis.
        """
        places = [*self._chunks[path].places(window)] if path in self._chunks else []
        if missing := sum(place in self._missing.get(path, ()) for place in places):
            warn_of_missing(path, missing, len(places), self._chunks[path].fill)

    def tidy(self) -> None:
        """Remove from the cache what is too much."""
        if self._cache is not None:
            self._cache.tidy()

    def _opened(self) -> tuple[bool, dict[str, dict[str, Any]]]:
        """Return whether the metadata are in one place, and those of each array and group."""
        faults: list[RemoteError] = []
        is_known = known_files().find(self._address(".zmetadata")) is not None
        root = None if is_known else self._json("zarr.json", faults)
        if root is not None:
            self._is_version_3 = True
            held = (root.get("consolidated_metadata") or {}).get("metadata")
            return (True, dict(held)) if isinstance(held, dict) else (False, self._walked("", "zarr.json"))
        held = (self._json(".zmetadata", faults) or {}).get("metadata")
        if isinstance(held, dict):
            return True, _of_version_2(held)
        if self._json(".zgroup", faults) is not None:
            return False, self._walked("", ".zarray")
        msg = "no Zarr is there: neither zarr.json nor .zmetadata or .zgroup can be read below this address"
        raise RemoteError(f"{msg} ({faults[0]})" if faults else msg, faults[0].status if faults else 404)

    def _json(self, key: str, faults: list[RemoteError] | None = None) -> dict[str, Any] | None:
        data = self._bytes(key, None, faults)
        found = None if data is None else json.loads(data)
        return found if isinstance(found, dict) else None

    def _walked(self, folder: str, name: str, depth: int = 0) -> dict[str, dict[str, Any]]:
        """Return the metadata below a group, folder by folder."""
        found: dict[str, dict[str, Any]] = {}
        for child in self._listed(folder):
            path = f"{folder}/{child}".lstrip("/")
            if child in _METADATA or (node := self._node(path, name)) is None:
                continue
            found[path] = node
            if "shape" not in node and depth < _DEEPEST:
                found |= self._walked(path, name, depth + 1)
        return found

    def _node(self, path: str, name: str) -> dict[str, Any] | None:
        node = self._json(f"{path}/{name}")
        if name == "zarr.json":
            return node
        own = node if node is not None else self._json(f"{path}/.zgroup")
        return None if own is None else own | {"attributes": self._json(f"{path}/.zattrs") or {}}

    def _listed(self, folder: str) -> list[str]:
        if self._bucket is None:
            msg = (
                "its metadata are not in one place, and over http a server gives no lists of folders. Write them there "
                "(zarr.consolidate_metadata), read it as s3://, or download it."
            )
            raise ValueError(msg)
        bucket, root = self._bucket
        return [*dict.fromkeys(listed(bucket, f"{root}/{folder}".rstrip("/"), self._patience))]

    def _address(self, key: str) -> str:
        return urlunsplit(self._url._replace(path=f"{self._url.path.rstrip('/')}/{quote(key)}"))

    def _bytes(self, key: str, part: ByteRequest | None, faults: list[RemoteError] | None = None) -> bytes | None:
        """Return the bytes of a file, or nothing if it is not there; metadata may be refused, too."""
        is_metadata = key.rpartition("/")[2] in _METADATA
        try:
            file = RemoteFile(
                self._address(key), self._cache, self._patience, self._service, head=1 if part else _CHUNK
            )
        except RemoteError as error:
            if error.status in _NOT_THERE:
                return None
            if is_metadata and (error.status in _REFUSED or isinstance(error, PageError)):
                if faults is not None:
                    faults.append(error)
                return None
            raise
        start, stop = _span(part, file.size)
        if stop > file.size:
            msg = f"its file {key} is cut off: it has {file.size} bytes, and its own table names {stop}"
            raise RemoteError(msg)
        return file.read(start, stop - start, ahead=0)

    def read(self, key: str, part: ByteRequest | None = None) -> bytes | None:
        """Return metadata, or a chunk or a part of one; nothing if it is not there.

        Raises
        ------
        RemoteError
            If the server does not give it.
        ValueError
            If a chunk of an axis is not there, or one is cut off.
        """
        is_metadata = key.rpartition("/")[2] in _METADATA
        if is_metadata and (key.rpartition("/")[2] == "zarr.json") != self._is_version_3:
            return None
        data = self._bytes(key, part)
        path = next((path for path in _above(key) if path in self._chunks), None)
        if path is None or is_metadata:
            return data
        if data is None:
            self._note_missing(path, key)
        elif part is None and self._chunks[path].are_blosc:
            refuse_cut_off(key, data, len(data))
        return data

    def _read_unless_void(self, key: str, part: ByteRequest | None) -> bytes | None:
        """Return what `read` does; after a fault nothing more is asked for, as Zarr goes on with chunks that wait."""
        if self._fault:
            raise RemoteError(self._fault)
        try:
            return self.read(key, part)
        except (OSError, ValueError) as error:
            self._fault = str(error)
            raise

    def _note_missing(self, path: str, key: str) -> None:
        chunks, node = self._chunks[path], self._nodes[path]
        attributes = node.get("attributes") or {}
        names = node.get("dimension_names") or attributes.get("_ARRAY_DIMENSIONS") or []
        name = path.rpartition("/")[2]
        if (
            len(chunks.shape) == 1
            and name in names
            and not (key == chunks.first and may_be_left_out(chunks, attributes))
        ):
            raise ValueError(fault_of_axis(name, 1, -(-chunks.shape[0] // chunks.sides[0])))
        self._missing.setdefault(path, set()).add(key)

    def __eq__(self, other: object) -> bool:
        """Whether it is the same."""
        return self is other

    def __hash__(self) -> int:
        """Return a number of its own."""
        return id(self)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return what `read` does."""
        data = await asyncio.to_thread(self._read_unless_void, key, byte_range)
        return None if data is None else prototype.buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return parts of several chunks."""
        return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

    async def exists(self, key: str) -> bool:
        """Whether a file is there."""
        return await asyncio.to_thread(self.read, key) is not None

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names in a folder."""
        for name in await asyncio.to_thread(self._listed, prefix.strip("/")):
            yield name

    async def list(self) -> AsyncIterator[str]:
        """Refuse to list all."""
        async for name in self.list_prefix(""):
            yield name

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Refuse to list all below a folder."""
        msg = "a Zarr on a server is not listed as a whole."
        raise NotImplementedError(msg)
        yield prefix

    @property
    def supports_writes(self) -> bool:
        """Say that nothing is written."""
        return False

    @property
    def supports_deletes(self) -> bool:
        """Say that nothing is removed."""
        return False

    @property
    def supports_listing(self) -> bool:
        """Whether folders are listed."""
        return self._bucket is not None

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse to write."""
        self._check_writable()

    async def delete(self, key: str) -> None:
        """Refuse to remove."""
        self._check_writable()


def _span(part: ByteRequest | None, size: int) -> tuple[int, int]:
    """Return which bytes ``[start, stop)`` are asked for."""
    if isinstance(part, RangeByteRequest):
        return part.start, part.end
    if isinstance(part, SuffixByteRequest):
        return max(size - part.suffix, 0), size
    return (part.offset if isinstance(part, OffsetByteRequest) else 0), size


def _above(key: str) -> list[str]:
    """Return the folders that a file is in, the nearest first."""
    parts = key.split("/")
    return ["/".join(parts[:count]) for count in range(len(parts) - 1, 0, -1)]


def _of_version_2(held: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the metadata of each array and group of Zarr 2, with their attributes."""
    nodes = {}
    for key, node in held.items():
        path, _, name = key.rpartition("/")
        if name in (".zarray", ".zgroup") and isinstance(node, dict):
            nodes[path] = node | {"attributes": held.get(f"{path}/.zattrs") or {}}
    return nodes
