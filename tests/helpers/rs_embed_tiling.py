"""Squares of one size that cover a raster, and which part of the raster each of them answers for.

The rules are those of rs-embed 0.3.1's tiled mode.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from eo_data.raster.plan import at_least
from eo_data.raster.raster import Raster

#: A snap of more than half a tile would shrink an axis by more than a third.
_LARGEST_SNAP = 0.5


@dataclass(frozen=True)
class TilePlan:
    """Tiles of a raster.

    Parameters
    ----------
    input_hw : tuple of int
        Height and width in pixels of the raster.
    snapped_hw : tuple of int
        The same after the snap; where it differs, the raster is resampled first.
    tile : int
        Side of the square tiles in pixels.
    row_starts, column_starts : tuple of int
        First row of each row of tiles, and first column of each column of tiles, in snapped pixels.
    """

    input_hw: tuple[int, int]
    snapped_hw: tuple[int, int]
    tile: int
    row_starts: tuple[int, ...]
    column_starts: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of tiles."""
        return len(self.row_starts) * len(self.column_starts)

    @property
    def border(self) -> tuple[int, int]:
        """Rows and columns that tiles reach over the bottom and the right of a raster smaller than a tile."""
        return max(0, self.tile - self.snapped_hw[0]), max(0, self.tile - self.snapped_hw[1])


def snapped_length(length: int, tile: int, snap_frac: float = 0.1) -> int:
    """Return the length of an axis without a slight overhang past a multiple of the tile.

    A last tile that is shifted back by nearly a whole tile would repeat what its neighbour shows.

    Parameters
    ----------
    length, tile : int
        In pixels.
    snap_frac : float
        Overhangs of up to ``round(snap_frac * tile)`` pixels are dropped; 0 <= snap_frac <= 0.5.

    Raises
    ------
    ValueError
        For values out of range.
    """
    at_least("length", length, 1)
    at_least("tile", tile, 1)
    if not 0 <= snap_frac <= _LARGEST_SNAP:
        msg = f"snap_frac must be between 0 and {_LARGEST_SNAP} of a tile, got {snap_frac!r}."
        raise ValueError(msg)
    overhang = length % tile
    return length - overhang if length > tile and overhang <= round(snap_frac * tile) else length


def tile_starts(length: int, tile: int) -> tuple[int, ...]:
    """Return where tiles start on an axis: 0, tile, 2 tile, ... with the last one shifted back to end with the axis.

    Raises
    ------
    ValueError
        For a length or a tile below 1.
    """
    at_least("length", length, 1)
    at_least("tile", tile, 1)
    last = max(0, length - tile)
    return (*range(0, last, tile), last)


def plan_tiles(
    height: int,
    width: int,
    tile: int,
    snap_frac: float = 0.1,
    max_tiles: int = 64,
    max_tiles_hard: int = 1024,
) -> TilePlan:
    """Plan the tiles of a raster.

    Parameters
    ----------
    height, width, tile : int
        In pixels.
    snap_frac : float
        See :func:`snapped_length`; 0 switches the snap off.
    max_tiles, max_tiles_hard : int
        Numbers of tiles above which to warn and to refuse.

    Raises
    ------
    ValueError
        For values out of range, or more than ``max_tiles_hard`` tiles.
    """
    at_least("height", height, 1)
    at_least("width", width, 1)
    snapped = (snapped_length(height, tile, snap_frac), snapped_length(width, tile, snap_frac))
    plan = TilePlan((height, width), snapped, tile, tile_starts(snapped[0], tile), tile_starts(snapped[1], tile))
    what = f"{height} x {width} pixels make {plan.count} tiles of {tile} pixels"
    if plan.count > max_tiles_hard:
        msg = f"{what}, more than max_tiles_hard={max_tiles_hard}. Take a smaller area, or raise max_tiles_hard."
        raise ValueError(msg)
    if plan.count > max_tiles:
        warnings.warn(f"{what}, more than max_tiles={max_tiles}; this takes time and memory.", stacklevel=2)
    return plan


def cut_tiles(plan: TilePlan, raster: Raster) -> Iterator[Raster]:
    """Yield the tiles row by row: resampled if the plan snaps, short rasters filled up with their last row and column.

    Raises
    ------
    ValueError
        If the plan is for rasters of another size.
    """
    if (raster.height, raster.width) != plan.input_hw:
        msg = f"The plan is for rasters of {plan.input_hw} pixels, got {(raster.height, raster.width)}. Make another."
        raise ValueError(msg)
    if plan.snapped_hw != plan.input_hw:
        raster = raster.resize(*plan.snapped_hw)
    if plan.border != (0, 0):
        raster = raster.pad(0, 0, *plan.border, mode="edge")
    for top in plan.row_starts:
        for left in plan.column_starts:
            yield raster.crop(top, left, plan.tile, plan.tile)


def owned_spans(starts: Sequence[int], tile: int, length: int) -> list[tuple[int, int]]:
    """Split an axis among its tiles, so that each pixel has one owner: cuts are in the middle of overlaps.

    Parameters
    ----------
    starts : sequence of int
        Where the tiles start, ascending, see :func:`tile_starts`.
    tile, length : int
        In pixels, as given there.

    Returns
    -------
    list of tuple of int
        First pixel of each tile's span and the one after its last, counted on the axis.

    Raises
    ------
    ValueError
        If the tiles do not cover the axis or are not in order.
    """
    at_least("tile", tile, 1)
    at_least("length", length, 1)
    steps = [after - before for before, after in pairwise(starts)]
    if not starts or starts[0] != 0 or starts[-1] + tile < length or any(not 0 < step <= tile for step in steps):
        msg = f"Tiles of {tile} pixels at {list(starts)} do not cover {length} pixels in order. Use tile_starts."
        raise ValueError(msg)
    cuts = [0, *((before + tile + after) // 2 for before, after in pairwise(starts)), length]
    return list(pairwise(cuts))
