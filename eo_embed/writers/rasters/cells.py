"""A raw file of the cells of a raster, which may be written and read in any order."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

#: Rows that are looked at together, so that memory does not grow with the raster.
_ROWS = 256


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say of errors of an open file which file it is."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


class RawCells:
    """A raw file of cells ``(D, h, w)``, one band after the other.

    Parameters
    ----------
    path : Path
        The file.
    shape : tuple of int
        ``(D, h, w)``.
    dtype : str
        Name of the NumPy dtype.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int], dtype: str) -> None:
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)

    def create(self) -> None:
        """Make the file with its full size, without filling it; one that is there keeps what it holds.

        Raises
        ------
        OSError
            If it cannot be made.
        """
        with (
            _named(self.path),
            os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644), "rb+") as file,
        ):
            file.truncate(int(np.prod(self.shape)) * self.dtype.itemsize)

    def write(self, cells: np.ndarray, row: int, column: int, band: int = 0) -> None:
        """Write cells ``(d, h, w)`` from a place on.

        Raises
        ------
        OSError
            If the file is not there, or cannot take them.
        """
        depth, rows, columns = cells.shape
        content = memoryview(np.ascontiguousarray(cells, self.dtype).reshape(-1).view(np.uint8))
        size, start = columns * self.dtype.itemsize, 0
        if columns == self.shape[2]:  # whole rows follow one another
            rows, size = 1, size * rows
        with _named(self.path), self.path.open("rb+", buffering=0) as file:
            for plane in range(band, band + depth):
                for line in range(row, row + rows):
                    place = self._offset(plane, line, column)
                    if os.pwrite(file.fileno(), content[start : start + size], place) != size:
                        msg = f"{self.path} could not take all of a tile. Is the disk full?"
                        raise OSError(msg)
                    start += size

    def rows(self, handle: int, band: int, first: int, count: int) -> np.ndarray:
        """Read ``count`` rows ``(count, w)`` of a band of the file that is open as ``handle``.

        Raises
        ------
        OSError
            If the file ends before.
        """
        size = count * self.shape[2] * self.dtype.itemsize
        content = os.pread(handle, size, self._offset(band, first, 0))
        if len(content) != size:
            msg = f"{self.path} is shorter than its {self.shape} cells of {self.dtype} need. Run the export again."
            raise OSError(msg)
        return np.frombuffer(content, self.dtype).reshape(count, -1)

    def blocks(self, band: int, step: int = _ROWS) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the first row, and the rows, of each block of rows of a band."""
        with self.path.open("rb") as file:
            for first in range(0, self.shape[1], step):
                yield first, self.rows(file.fileno(), band, first, min(step, self.shape[1] - first))

    def _offset(self, band: int, row: int, column: int) -> int:
        return ((band * self.shape[1] + row) * self.shape[2] + column) * self.dtype.itemsize
