"""A file on a server as a stream that libraries read from: HDF5 and NetCDF 4."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from eo_data.catalog.hrefs import Href
from eo_data.raster.remote.cache import RangeCache
from eo_data.raster.remote.ranges import USUAL, Patience, RemoteError
from eo_data.raster.remote.remote_file import RemoteFile
from eo_data.raster.remote.signing import located

#: HDF5 looks at its tables some bytes at a time, which lie near each other: with fewer than these it asks for more.
_TABLE, _AHEAD = 4_096, 65_536


@contextmanager
def open_stream(href: Href, patience: Patience = USUAL) -> Iterator[RemoteStream]:
    """Open a file on a server as a stream.

    Parameters
    ----------
    href : Href
        ``http(s)://`` or ``s3://``. Its ``cache`` keeps what is fetched.
    patience : Patience
        How long the server is waited for.

    Raises
    ------
    RemoteError
        If the server does not give what is asked for; then whatever was read is void.
    ValueError
        If there are no keys for its store.
    """
    cache = RangeCache.of(href.cache)
    url, service = located(href)
    stream = RemoteStream(RemoteFile(url, cache, patience, service))
    try:
        yield stream
    finally:
        if cache is not None:
            cache.tidy()
        if stream.fault is not None:
            raise stream.fault from None


class RemoteStream(io.RawIOBase):
    """A stream that fetches what is read from it.

    HDF5 calls from C, where the reason of an error is lost: it is kept as ``fault``.

    Parameters
    ----------
    file : RemoteFile
        The file.
    """

    def __init__(self, file: RemoteFile) -> None:
        super().__init__()
        self.file = file
        self.fault: OSError | None = None
        self._position = 0

    def __len__(self) -> int:
        """Return the bytes of the file."""
        return self.file.size

    def __getitem__(self, part: slice) -> bytes:
        """Return a part of the file."""
        start, stop, _ = part.indices(self.file.size)
        return self.file.read(start, stop - start)

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that any part can be read."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position."""
        self._position = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.file.size}[whence] + offset
        return self._position

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401  (anything with a buffer)
        """Fill a buffer with the next bytes; return their number.

        Raises
        ------
        OSError
            If they cannot be had.
        """
        if self.fault is not None:
            raise self.fault
        target = memoryview(buffer).cast("B")
        try:
            data = self.file.read(self._position, len(target), ahead=_AHEAD if len(target) < _TABLE else 0)
        except OSError as error:
            self.fault = error if isinstance(error, RemoteError) else RemoteError(str(error))
            raise
        target[: len(data)] = data
        self._position += len(data)
        return len(data)
