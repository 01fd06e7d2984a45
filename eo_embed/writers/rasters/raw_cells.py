"""A raw file of the cells of a raster, written from several places at once and read by rows, by GDAL too."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from eo_core.files import file_named

#: Bands whose numbers of a cell lie side by side. Were it one, most pages of the disk would hold cells of as many tiles
#: as a row of tiles has, and be sent to the disk again and again while these are written; with all bands, GDAL would
#: read all to get one.
_TOGETHER = 16
#: Bytes that are looked at together, so that memory does not grow with the raster.
_AT_ONCE = 8 << 20


def groups_of(depth: int, first: int = 0) -> list[range]:
    """Return the bands, from ``first`` on, whose numbers of a cell lie side by side in a raw file."""
    starts = range(first, first + depth, _TOGETHER)
    return [range(start, min(start + _TOGETHER, first + depth)) for start in starts]


class RawCells:
    """A raw file of cells ``(D, h, w)``: one group of bands after the other, each cell by cell.

    Parameters
    ----------
    path : Path
        The file.
    shape : tuple of int
        ``(D, h, w)``.
    dtype : str
        Name of the NumPy dtype.
    planes : int
        Into how many rasters of as many bands ``D`` is divided; no group has bands of two.

    Attributes
    ----------
    groups : list of range
        The bands of each group.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int], dtype: str, planes: int = 1) -> None:
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)
        depth = shape[0] // planes
        self.groups = [group for plane in range(planes) for group in groups_of(depth, plane * depth)]

    def create(self) -> None:
        """Make the file with its full size, without filling it; one that is there keeps what it holds.

        Raises
        ------
        OSError
            If it cannot be made.
        """
        with (
            file_named(self.path),
            os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644), "rb+") as file,
        ):
            file.truncate(int(np.prod(self.shape)) * self.dtype.itemsize)

    def write(self, cells: np.ndarray, row: int, column: int, band: int = 0) -> None:
        """Write cells ``(d, h, w)`` from a place on: all of the groups from ``band`` on that have ``d`` bands together.

        Raises
        ------
        OSError
            If the file is not there, or cannot take them.
        """
        with file_named(self.path), self.path.open("rb+", buffering=0) as file:
            for group in self.groups:
                if band <= group.start < band + len(cells):
                    own = np.moveaxis(cells[group.start - band : group.stop - band], 0, -1)
                    self._write_group(file.fileno(), np.ascontiguousarray(own, self.dtype), group, row, column)

    def _write_group(self, handle: int, cells: np.ndarray, group: range, row: int, column: int) -> None:
        """Write the cells ``(h, w, d)`` of a group."""
        rows, columns, _ = cells.shape
        content, size = memoryview(cells.reshape(-1).view(np.uint8)), cells[0].nbytes
        if columns == self.shape[2]:  # whole rows follow one another
            rows, size = 1, cells.nbytes
        for line in range(rows):
            place = self.offset(group.start, row + line, column)
            if os.pwrite(handle, content[line * size : (line + 1) * size], place) != size:
                msg = f"{self.path} could not take all of a tile. Is the disk full?"
                raise OSError(msg)

    def rows(self, handle: int, group: range, first: int, count: int) -> np.ndarray:
        """Read ``count`` rows ``(d, count, w)`` of a group of bands of the file that is open as ``handle``.

        Raises
        ------
        OSError
            If the file ends before.
        """
        size = count * self.shape[2] * len(group) * self.dtype.itemsize
        content = os.pread(handle, size, self.offset(group.start, first, 0))
        if len(content) != size:
            msg = f"{self.path} is shorter than its {self.shape} cells of {self.dtype} need. Run the export again."
            raise OSError(msg)
        return np.moveaxis(np.frombuffer(content, self.dtype).reshape(count, -1, len(group)), -1, 0)

    @contextmanager
    def reading(self) -> Iterator[Callable[[range, int, int], np.ndarray]]:
        """Open the file, and give what reads ``count`` rows of a group of bands from ``first`` on.

        Raises
        ------
        OSError
            If the file cannot be read, or ends before.
        """
        with self.path.open("rb") as file:
            yield lambda group, first, count: self.rows(file.fileno(), group, first, count)

    def flush(self) -> None:
        """Do nothing: what was written is in the file."""

    def blocks(self, step: int = 0) -> Iterator[tuple[range, int, np.ndarray]]:
        """Yield group of bands, first row and cells ``(d, rows, w)`` of blocks of ``step`` rows, or of an even number.

        The number is such that memory does not grow with the raster.
        """
        with self.path.open("rb") as file:
            for group in self.groups:
                line = self.shape[2] * len(group) * self.dtype.itemsize
                count = step or max(2, _AT_ONCE // line // 2 * 2)
                for first in range(0, self.shape[1], count):
                    yield group, first, self.rows(file.fileno(), group, first, min(count, self.shape[1] - first))

    def offset(self, band: int, row: int, column: int) -> int:
        """Return where the number of a cell lies in the file, in bytes."""
        group = next(group for group in self.groups if band in group)
        cell = row * self.shape[2] + column
        number = group.start * self.shape[1] * self.shape[2] + cell * len(group) + band - group.start
        return number * self.dtype.itemsize
