"""Files on servers as GDAL opens them: through rasterio's ``opener``, which asks us for every byte.

GDAL's own reader of addresses does not honour ``Retry-After``, keeps nothing on the disk and calls a server that is
slow an unknown format. It still reads what names it (``/vsicurl/...``, ``/vsis3/...``), and ``s3://...`` of users who
sign in by a role, or by options of GDAL.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

import rasterio
from rasterio.abc import MultiByteRangeResourceContainer
from rasterio.env import get_gdal_config
from rasterio.errors import RasterioError, RasterioIOError

from eo_data.catalog.hrefs import Href
from eo_data.raster.remote.cache import RangeCache
from eo_data.raster.remote.ranges import USUAL, Patience, RemoteError
from eo_data.raster.remote.remote_file import PageError, RemoteFile
from eo_data.raster.remote.signing import located, signs_own

_T = TypeVar("_T")
_MOUNT = re.compile(r"/vsiriopener_[0-9a-f]+/")
#: Files beside a raster that count, by what follows its name (statistics and no-data, masks, overviews) or its stem
#: (world files and RPCs).
_APPENDED = (".aux.xml", ".msk", ".ovr")
_OF_STEM = (".tfw", ".tifw", ".wld", ".jgw", ".pgw", ".j2w", "_rpc.txt", "_RPC.TXT")
#: Those of them that GDAL asks for of every GeoTIFF.
_ASKED_FOR = (".aux.xml", ".msk")
#: Answers for files that are not there.
_NOT_THERE = (404, 410)
#: Answers of stores for what is not there, too, without the right to list; but a signature may have run out.
_REFUSED = (400, 401, 403)
#: Drivers by suffix of what is read here. Other drivers may open a file anew in threads of their own, of which
#: rasterio's opener knows nothing: GDAL then gives whatever lies in the memory, without an error.
_DRIVERS: Mapping[str, str] = MappingProxyType(
    dict.fromkeys((".tif", ".tiff", ".gtiff"), "GTiff") | {".jp2": "JP2OpenJPEG", ".j2k": "JP2OpenJPEG"}
)
#: Hence no threads of these either.
_ONE_THREAD: Mapping[str, str] = MappingProxyType({"GDAL_NUM_THREADS": "1"})
#: Options by which users of GDAL sign in; where one is set, GDAL reads.
_SIGN_IN = tuple(
    f"GDAL_{name}"
    for name in (
        *("HTTP_HEADERS", "HTTP_HEADER_FILE", "HTTP_AUTH", "HTTP_USERPWD", "HTTP_BEARER", "HTTP_COOKIE"),
        *("HTTP_COOKIEFILE", "HTTP_PROXY", "HTTPS_PROXY", "HTTP_UNSAFESSL", "HTTP_NETRC_FILE", "HTTP_SSLCERT"),
    )
)
#: Options by which they state stores with S3's interface, and roles.
_GDAL_STORES = (
    *("AWS_S3_ENDPOINT", "AWS_VIRTUAL_HOSTING", "AWS_HTTPS", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME"),
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)
#: What GDAL does with servers that it reads itself, unless its user has set it. Source: GDAL's configuration options.
_GDAL_PATIENCE: Mapping[str, str] = MappingProxyType(
    {
        "GDAL_HTTP_MAX_RETRY": str(len(USUAL.waits)),
        "GDAL_HTTP_RETRY_DELAY": f"{USUAL.waits[0]:g}",
        "GDAL_HTTP_CONNECTTIMEOUT": f"{USUAL.timeout:g}",
        "GDAL_HTTP_LOW_SPEED_TIME": f"{USUAL.timeout:g}",
        "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    }
)


def reads_ranges(href: Href) -> bool:
    """Whether a file is read by `open_remote`, and not by GDAL alone."""
    scheme = href.text.partition("://")[0].lower()
    if href.suffix not in _DRIVERS or scheme not in ("http", "https", "s3"):
        return False
    if href.service:
        return True
    if any(get_gdal_config(name) for name in _SIGN_IN):
        return False
    return scheme != "s3" or (signs_own() and not any(get_gdal_config(name) for name in _GDAL_STORES))


def gdal_patience() -> dict[str, str]:
    """Return GDAL's options for servers that it reads itself, but for those that its user has set."""
    return {name: value for name, value in _GDAL_PATIENCE.items() if get_gdal_config(name) is None}


@contextmanager
def open_remote(href: Href, patience: Patience = USUAL) -> Iterator[Any]:
    """Open a raster on a server; gives rasterio's data set.

    Parameters
    ----------
    href : Href
        Of which `reads_ranges` says that it is one. Its ``cache`` keeps what is fetched.
    patience : Patience
        How long the server is waited for.

    Raises
    ------
    rasterio.errors.RasterioError
        If GDAL cannot open it, or the server did not give all that was asked for: then whatever was read is void.
    ValueError
        If the user has no keys for its store.
    """
    cache = RangeCache.of(href.cache)
    folder = _RemoteFolder(href, cache, patience)
    try:
        folder.connect()
        with (
            rasterio.Env(**_ONE_THREAD),
            rasterio.open(folder.name, driver=_DRIVERS.get(href.suffix), opener=folder) as file,
        ):
            yield file
    except RasterioError as error:
        # rasterio opens it under a name with random characters, of which nobody knows what they are.
        raise RasterioIOError(_MOUNT.sub("", str(error.__cause__ or error))) from None
    finally:
        if cache is not None:
            cache.tidy()
        folder.refuse_if_void()


def look_at(href: Href, patience: Patience = USUAL) -> None:
    """Ask for the head of a raster and for what may lie beside it, so that opening it soon after asks for nothing.

    Several threads may do so at once. They may not open files at once: rasterio registers each opener with GDAL and
    takes it away again, while GDAL looks openers up without a lock, and a process has been seen to crash.

    Parameters
    ----------
    href, patience
        As of `open_remote`.

    Raises
    ------
    rasterio.errors.RasterioIOError, ValueError
        As `open_remote`.
    """
    folder = _RemoteFolder(href, RangeCache.of(href.cache), patience)
    folder.connect()
    for end in _ASKED_FOR:
        folder.isfile(f"{folder.name}{end}")
    folder.refuse_if_void()


class _RemoteFolder(MultiByteRangeResourceContainer):
    """A raster on a server and the files beside it, as rasterio asks for them.

    rasterio calls from C, where an error would be lost: it is kept here, and raised by `refuse_if_void`.
    """

    def __init__(self, href: Href, cache: RangeCache | None, patience: Patience) -> None:
        address, self._service = located(href)
        self._url = urlsplit(address)
        self._cache, self._patience = cache, patience
        shown = Href(href.shown)
        self.name = shown.name
        self._beside = {*(f"{self.name}{end}" for end in _APPENDED), *(f"{shown.stem}{end}" for end in _OF_STEM)}
        self._files: dict[str, RemoteFile | None] = {}
        self._fault: BaseException | None = None

    def connect(self) -> None:
        """Ask for the raster itself.

        Raises
        ------
        rasterio.errors.RasterioIOError
            If the server does not give it.
        """
        try:
            self._files[self.name] = self._asked(self.name)
        except OSError as error:
            self._fault = error
        self.refuse_if_void()

    def refuse_if_void(self) -> None:
        """Raise what went wrong while GDAL read, if anything did.

        Raises
        ------
        rasterio.errors.RasterioIOError
            With the reason, without the address.
        ValueError, MemoryError, KeyboardInterrupt
            If that is what it was.
        """
        if isinstance(self._fault, OSError):
            raise RasterioIOError(str(self._fault)) from None
        if self._fault is not None:
            raise self._fault

    def attempt(self, call: Callable[[], _T], otherwise: _T) -> _T:
        """Return what a call gives, or a stand-in if it fails now or something failed before."""
        if self._fault is not None:
            return otherwise
        try:
            return call()
        except (OSError, ValueError, MemoryError, KeyboardInterrupt) as error:
            self._fault = error
            return otherwise

    def open(self, path: str, mode: str = "rb", **_: object) -> _OpenFile:
        """Open a file that GDAL asks for by its name."""
        file = self._file(path)
        if file is None:
            raise FileNotFoundError(path)
        return _OpenFile(file, self)

    def isfile(self, path: str) -> bool:
        """Whether the file is there."""
        return self._file(path) is not None

    def isdir(self, path: str) -> bool:
        """Say that nothing is a folder."""
        return False

    def ls(self, path: str) -> list[str]:
        """Say that nothing can be listed."""
        return []

    def mtime(self, path: str) -> int:
        """Say nothing of the time."""
        return 0

    def rm(self, path: str) -> None:
        """Remove nothing."""
        raise FileNotFoundError(path)

    def size(self, path: str) -> int:
        """Bytes of a file."""
        file = self._file(path)
        if file is None:
            raise FileNotFoundError(path)
        return file.size

    def _file(self, name: str) -> RemoteFile | None:
        if name not in self._files and name in self._beside:
            self._files[name] = self.attempt(lambda: self._found_beside(name), None)
        return self._files.get(name)

    def _found_beside(self, name: str) -> RemoteFile | None:
        """Ask for a file beside the raster, unless it is known that there is none."""
        raster = self._files[self.name]
        if raster is None or raster.lacks(name):
            return None
        try:
            return self._asked(name)
        except PageError:  # which some servers give instead of saying that nothing is there
            raster.note_absent(name, stated=False)
        except RemoteError as error:
            if error.status not in (*_NOT_THERE, *_REFUSED):
                raise
            raster.note_absent(name, stated=error.status in _NOT_THERE)
        return None

    def _asked(self, name: str) -> RemoteFile:
        path = self._url.path if name == self.name else f"{self._url.path.rpartition('/')[0]}/{name}"
        return RemoteFile(urlunsplit(self._url._replace(path=path)), self._cache, self._patience, self._service)


class _OpenFile:
    """An open file, as rasterio reads it."""

    def __init__(self, file: RemoteFile, folder: _RemoteFolder) -> None:
        self._file, self._folder = file, folder
        self._position = 0

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing open."""

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._file.size}[whence]
        self._position = start + offset
        return self._position

    def read(self, count: int = -1) -> bytes:
        """Return the next bytes; none after a fault."""
        left = max(self._file.size - self._position, 0)
        wanted = left if count < 0 else min(count, left)
        data = self._folder.attempt(lambda: self._file.read(self._position, wanted), b"")
        self._position += len(data)
        return data

    def get_byte_ranges(self, offsets: list[int], sizes: list[int]) -> list[bytes]:
        """Return several ranges; zeros after a fault, as the caller copies that many bytes."""
        zeros = [bytes(size) for size in sizes]
        return self._folder.attempt(lambda: self._whole(offsets, sizes), zeros)

    def _whole(self, offsets: list[int], sizes: list[int]) -> list[bytes]:
        """Return several ranges; of a file that ends before them there would be zeros, which are values."""
        end = max(map(sum, zip(offsets, sizes, strict=True)), default=0)
        if end > self._file.size:
            msg = f"the file on the server is cut off: it has {self._file.size} bytes, and its own table names {end}"
            raise RemoteError(msg)
        return self._file.read_many(offsets, sizes)
