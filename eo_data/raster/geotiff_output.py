"""GeoTIFF files that are whole: GDAL loses errors of the disk when it closes a file.

A raster that fits the memory is made there, and its bytes are written by `eo_core.files`. A larger one is written to
the disk part by part, and read back before it gets its name.
"""

from __future__ import annotations

import warnings
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader, DatasetWriter, MemoryFile
from rasterio.windows import Window

from eo_core.files import partial_path, put_in_place, remove_partial, write_bytes

#: What of a file is compared once it is closed, besides its pixels, its place and its tags.
_FACTS = ("count", "height", "width", "dtypes", "nodata", "scales", "offsets")
#: Side of the squares by which overlapping windows are found, in pixels.
_SQUARE = 256
#: Column and row of the first pixel, width and height.
_Key = tuple[int, int, int, int]
#: So rasterio reports what GDAL could not do; TypeError if a file is too damaged to be one, SystemError at closing.
_GDAL_ERRORS = (RasterioError, CPLE_BaseError, SystemError, TypeError)


def write_geotiff(path: Path, profile: Mapping[str, Any], fill: Callable[[DatasetWriter], object]) -> None:
    """Write a GeoTIFF whole or not at all, by way of the memory.

    Parameters
    ----------
    path : Path
        The file.
    profile : mapping
        What rasterio creates the file with: driver, size, dtype and so on.
    fill : callable
        Puts pixels and tags into the open file.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    with MemoryFile(ext=path.suffix) as memory:
        with _as_os_error(f"GDAL could not make {path}"), memory.open(**profile) as file:
            fill(file)
        write_bytes(path, memory.getbuffer())


class GeotiffInParts:
    """A GeoTIFF that is written window by window, and has its name only once all windows have been read back.

    Of each window a checksum is kept. Used in a ``with`` statement, it is finished at the end, and removed on an error.

    Parameters
    ----------
    path : Path
        The file.
    profile : mapping
        What rasterio creates the file with.
    fill : callable, optional
        Puts descriptions and tags into the open file.

    Raises
    ------
    OSError
        If it cannot be created.
    """

    def __init__(
        self, path: Path, profile: Mapping[str, Any], fill: Callable[[DatasetWriter], object] | None = None
    ) -> None:
        self.path = path
        self._partial = partial_path(path)
        self._dtype = np.dtype(profile["dtype"])
        self._sums: dict[_Key, int] = {}
        self._in_square: defaultdict[tuple[int, int], set[_Key]] = defaultdict(set)
        try:
            with _as_os_error(f"{path} could not be created"):
                self._file = rasterio.open(self._partial, "w+", **profile)
            if fill is not None:
                fill(self._file)
            self._facts = _Facts.of(self._file)
        except BaseException:
            self.discard()
            raise

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the file, or remove it after an error."""
        if error is None:
            self.finish()
        else:
            self.discard()

    @property
    def covered(self) -> int:
        """How many pixels have been written, if windows do not overlap; the same window twice counts once."""
        return sum(width * height for _, _, width, height in self._sums)

    def write(self, bands: np.ndarray, window: Window) -> None:
        """Write a window ``(C, h, w)``; over those before it, where it overlaps them.

        Raises
        ------
        OSError
            If GDAL tells of an error.
        """
        stored = bands.astype(self._dtype, copy=False)
        with _as_os_error(f"{self.path} could not be written"):
            if self._file.closed:
                self._file = rasterio.open(self._partial, "r+")
            self._file.write(stored, window=window)
        new = (int(window.col_off), int(window.row_off), int(window.width), int(window.height))
        for square in _squares(new):
            for old in self._in_square[square]:
                if _overlap(old, new):
                    self._sums[old] = _checksum(self._file.read(window=Window(*old)))
            self._in_square[square].add(new)
        self._sums[new] = _checksum(stored)

    def park(self) -> None:
        """Close the file until it is written to again: a process may have a thousand files open, not more.

        What is lost here is found by `finish`.

        Raises
        ------
        OSError
            If GDAL tells of an error.
        """
        with _as_os_error(f"{self.path} could not be written"):
            self._file.close()

    def finish(self) -> None:
        """Close the file, read it back, and give it its name.

        Raises
        ------
        OSError
            If it does not hold what was written.
        """
        try:
            with _as_os_error(f"{self.path} could not be written"):
                self._file.close()
            put_in_place(self._partial, self.path, self._check)
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Remove an unfinished file; nothing happens to a finished one."""
        # What cannot be written is not wanted any more, and a file that could not be created cannot be closed.
        with suppress(*_GDAL_ERRORS, OSError, AttributeError):
            self._file.close()
        remove_partial(self._partial)

    def _check(self, partial: Path) -> None:
        """Compare a closed file with what was written to it."""
        msg = f"{self.path} does not hold what was written"
        with _as_os_error(msg), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(partial) as file:
                if not (self._facts.fit(_Facts.of(file)) and self._holds_all(file)):
                    msg = f"{msg}. Is the disk full?"
                    raise OSError(msg)

    def _holds_all(self, file: DatasetReader) -> bool:
        """Whether all windows hold what was written; what no window covers must be readable, too."""
        if self.covered < file.width * file.height:
            for _, block in file.block_windows(1):
                file.read(window=block)
        return all(_checksum(file.read(window=Window(*key))) == expected for key, expected in self._sums.items())


@contextmanager
def _as_os_error(what: str) -> Iterator[None]:
    """Raise all that rasterio makes of GDAL's errors as one kind, after what has failed."""
    try:
        yield
    except _GDAL_ERRORS as error:
        msg = f"{what}: {error}. Is the disk full?"
        raise OSError(msg) from error


def _squares(key: _Key) -> Iterator[tuple[int, int]]:
    """Yield the squares of the raster that a window has a part in."""
    column, row, width, height = key
    for y in range(row // _SQUARE, (row + height - 1) // _SQUARE + 1):
        for x in range(column // _SQUARE, (column + width - 1) // _SQUARE + 1):
            yield y, x


def _overlap(one: _Key, other: _Key) -> bool:
    return all(one[i] < other[i] + other[i + 2] and other[i] < one[i] + one[i + 2] for i in (0, 1))


def _checksum(bands: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(bands))


@dataclass(frozen=True)
class _Facts:
    """What a file says of itself; GDAL may spell a CRS or the spaces of a text in another way than it was told."""

    shape: Mapping[str, str]
    transform: tuple[float, ...]
    names: frozenset[str]

    @classmethod
    def of(cls, file: DatasetReader) -> Self:
        named = {*(["CRS"] if file.crs else []), *(f"band {i}" for i, text in enumerate(file.descriptions) if text)}
        named |= {key for key, value in file.tags().items() if value}
        return cls({name: str(getattr(file, name)) for name in _FACTS}, file.transform[:6], frozenset(named))

    def fit(self, closed: Self) -> bool:
        """Whether a closed file says the same."""
        same_place = np.allclose(self.transform, closed.transform, rtol=1e-9, atol=1e-12)
        return self.shape == closed.shape and self.names <= closed.names and same_place
