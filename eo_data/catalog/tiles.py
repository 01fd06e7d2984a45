"""Large rasters as tiles that are read by window: memory does not grow with the raster.

Tiles start at multiples of their size; the last one of a row or column starts as late as a common grid allows, so that
it sees real neighbours instead of padding. Where tiles overlap, the core of each reaches to the middle of the overlap,
so that the cores cover the raster without gap or overlap, on one grid of patches.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from eo_data.catalog.records import Record, TileWindow
from eo_data.raster.sample import SampleError

#: Tiles of one raster: the whole land of the earth at 10 m in tiles of 256 pixels has fewer.
_MOST_TILES = 50_000_000


def aligned_starts(length: int, tile: int, align: int) -> list[int]:
    """Start of each tile along an axis, in pixels.

    Parameters
    ----------
    length : int
        Length of the axis in pixels.
    tile : int
        Side of a tile, a multiple of ``align``.
    align : int
        Starts are multiples of this: the side of a patch of the coarsest bands.

    Returns
    -------
    list of int
        The last tile may reach over the end by less than ``align``, or, if there is only one, by more.
    """
    if length <= tile:
        return [0]
    last = -(-(length - tile) // align) * align
    return [*range(0, last, tile), last]


def spans(starts: Sequence[int], tile: int, length: int, align: int) -> list[tuple[int, int]]:
    """Return start and end of the core of each tile: cuts are half-way in an overlap, on the grid of ``align``."""
    cuts = [0]
    for left, right in itertools.pairwise(starts):
        middle = (left + tile + right) // 2
        cuts.append(max(right, middle // align * align))
    return list(zip(cuts, [*cuts[1:], length], strict=True))


def tile_windows(height: int, width: int, tile: int, align: int) -> Iterator[TileWindow]:
    """Yield the tiles of a raster, row by row.

    Raises
    ------
    ValueError
        If ``tile`` is no positive multiple of ``align``.
    """
    if align < 1 or tile < 1 or tile % align:
        msg = f"tile must be a positive multiple of tile_align, got {tile} and {align}."
        raise ValueError(msg)
    rows, columns = aligned_starts(height, tile, align), aligned_starts(width, tile, align)
    core_rows, core_columns = spans(rows, tile, height, align), spans(columns, tile, width, align)
    for top, (first_row, end_row) in zip(rows, core_rows, strict=True):
        for left, (first_column, end_column) in zip(columns, core_columns, strict=True):
            core = (first_row - top, first_column - left, end_row - top, end_column - left)
            yield TileWindow(top, left, tile, core, (height, width))


def tiled(
    records: Sequence[Record], tile: int, align: int, size_of: Callable[[Record], tuple[int, int]]
) -> list[Record]:
    """Cut samples into tiles; ids get the row and column where a tile starts: ``id/r0_c288``.

    Parameters
    ----------
    records : sequence of Record
        The samples.
    tile, align : int
        As in `tile_windows`.
    size_of : callable
        Height and width in pixels of what is read of a sample.

    Raises
    ------
    SampleError
        If a size cannot be read, or is that of more tiles than anybody has.
    """
    cut = []
    for record in records:
        height, width = size_of(record)
        count = -(-height // tile) * -(-width // tile)
        if count > _MOST_TILES:
            msg = (
                f"{record.id}: {height} x {width} pixels are {count} tiles of {tile}. Look at the file, or raise tile."
            )
            raise SampleError(msg)
        cut += [
            replace(record, id=f"{record.id}/r{window.top}_c{window.left}", window=window, raster_id=record.id)
            for window in tile_windows(height, width, tile, align)
        ]
    return cut
