"""The cells of a raster in an array of Zarr, into which one process puts them straight, a strip of rows at a time.

A strip is a shard: one file, as wide as the raster. It is written once, when all of its cells are there; until then
they are in memory, so that a process which is killed loses those of the strips that it had begun.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eo_core.files import file_named, remove_file_or_folder, write_bytes

#: Name of the array in the group of a raster.
ARRAY = "embedding"
#: Rows and columns of a chunk at most, and rows of a strip. All bands lie together: a place is read with all of them.
_CHUNK, _ROWS = 64, 256
#: Bytes of a strip before compression, unless one row takes more.
_STRIP = 48_000_000
#: Strips that are kept until all of their cells are there. Tiles that come row by row need two or three.
_MOST_OPEN = 6
#: What Zarr raises of a shard that is cut off or damaged.
_UNREADABLE = (OSError, ValueError, RuntimeError, IndexError)


class Layout(NamedTuple):
    """How an array is divided: ``(D, h, w)`` of its chunks and of its shards, each of which is a strip."""

    chunk: tuple[int, int, int]
    shard: tuple[int, int, int]

    @classmethod
    def of(cls, shape: tuple[int, int, int]) -> Layout:
        """Return the layout of an array of float32 of a shape."""
        depth, height, width = shape
        most = max(1, _STRIP // (depth * width * 4))
        rows, columns = min(height, _CHUNK, most), min(width, _CHUNK)
        together = min(-(-height // rows), max(1, min(most, _ROWS) // rows))
        return cls((depth, rows, columns), (depth, rows * together, columns * -(-width // columns)))


def create_array(store: Any, shape: tuple[int, int, int]) -> Any:  # noqa: ANN401
    """Make the array of a raster in its group, a folder or a store of Zarr, without cells, and return it."""
    import zarr  # noqa: PLC0415

    layout = Layout.of(shape)
    return zarr.open_group(store, mode="a", zarr_format=3).create_array(
        ARRAY,
        shape=shape,
        dtype="float32",
        chunks=layout.chunk,
        shards=layout.shard,
        fill_value=np.float32(np.nan),
        dimension_names=("d", "y", "x"),
        attributes={"grid_mapping": "spatial_ref", "coordinates": "spatial_ref"},
    )


def open_array(group: Path) -> Any:  # noqa: ANN401
    """Open the array of a raster for reading."""
    import zarr  # noqa: PLC0415

    return zarr.open_group(group, mode="r", zarr_format=3)[ARRAY]


@dataclass
class _Strip:
    """Cells ``(D, rows, w)``, and which of them have been written."""

    values: np.ndarray
    written: np.ndarray


class StripCells:
    """The cells of a raster, as `eo_embed.writers.rasters.raw_cells.RawCells`; one process writes them, in any order.

    Parameters
    ----------
    path : Path
        Folder of the group.
    shape : tuple of int
        ``(D, h, w)`` of float32, NaN for no-data.
    """

    dtype = np.dtype("float32")

    def __init__(self, path: Path, shape: tuple[int, int, int]) -> None:
        self.path, self.shape = path, shape
        self.groups = [range(shape[0])]
        self._step = Layout.of(shape).shard[1]
        self._open: dict[int, _Strip] = {}

    def create(self) -> None:
        """Make the group with the array; one that is there keeps its cells, and is described anew if need be.

        Raises
        ------
        OSError
            If it cannot be made.
        """
        from zarr.storage import MemoryStore  # noqa: PLC0415

        described: dict[str, Any] = {}
        create_array(MemoryStore(described), self.shape)
        for name, content in described.items():
            file, wanted = self.path / name, content.to_bytes()
            if not file.is_file() or file.read_bytes() != wanted:
                write_bytes(file, wanted)

    def write(self, cells: np.ndarray, row: int, column: int, _band: int = 0) -> None:
        """Take cells ``(D, h, w)`` from a place on; strips that are complete are written.

        Raises
        ------
        OSError
            If a strip cannot be written.
        """
        bottom = row + cells.shape[1]
        columns = slice(column, column + cells.shape[2])
        for number in range(row // self._step, -(-bottom // self._step)):
            start = number * self._step
            first, last = max(row, start), min(bottom, start + self._step)
            strip = self._begun(number)
            strip.values[:, first - start : last - start, columns] = cells[:, first - row : last - row]
            strip.written[first - start : last - start, columns] = True
            if strip.written.all():
                self._put(number)

    def flush(self) -> None:
        """Write all strips that are in memory.

        Raises
        ------
        OSError
            If one cannot be written.
        """
        for number in sorted(self._open):
            self._put(number)

    @contextmanager
    def reading(self) -> Iterator[Callable[[range, int, int], np.ndarray]]:
        """Give what reads ``count`` rows ``(D, count, w)`` from ``first`` on; of strips that are damaged, no-data."""
        array = open_array(self.path)

        def rows(_group: range, first: int, count: int) -> np.ndarray:
            found = np.full((self.shape[0], count, self.shape[2]), np.nan, dtype=np.float32)
            for number in range(first // self._step, -(-(first + count) // self._step)):
                own = slice(max(first, number * self._step), min(first + count, (number + 1) * self._step))
                try:
                    found[:, own.start - first : own.stop - first] = array[:, own]
                except _UNREADABLE:  # cells that are not there are made again
                    continue
            return found

        yield rows

    def blocks(self) -> Iterator[tuple[int, int, np.ndarray]]:
        """Yield first band, first row and cells of strips; of those that are damaged, no-data."""
        with self.reading() as rows:
            for first in range(0, self.shape[1], self._step):
                yield 0, first, rows(self.groups[0], first, min(self._step, self.shape[1] - first))

    def _begun(self, number: int) -> _Strip:
        """Return a strip in memory, with what of it was written before."""
        if number not in self._open:
            while len(self._open) >= _MOST_OPEN:
                self._put(next(iter(self._open)))
            first = number * self._step
            with self.reading() as rows:
                values = rows(self.groups[0], first, min(self._step, self.shape[1] - first))
            self._open[number] = _Strip(values, np.zeros(values.shape[1:], dtype=bool))
        return self._open[number]

    def _put(self, number: int) -> None:
        """Write a strip, and forget it."""
        import zarr  # noqa: PLC0415

        strip, first = self._open[number], number * self._step
        file = self.path / ARRAY / "c" / "0" / str(number) / "0"
        array: Any = zarr.open_group(self.path, mode="r+", zarr_format=3)[ARRAY]
        with file_named(self.path):
            remove_file_or_folder(file)  # a damaged one would be read before it is replaced
            array[:, first : first + strip.values.shape[1]] = strip.values
        del self._open[number]
