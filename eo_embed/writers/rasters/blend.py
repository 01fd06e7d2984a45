"""Tiles that overlap become one raster: means by weights that fall towards the ends of each tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np

from eo_embed.writers.quantise import of_length_one
from eo_embed.writers.rasters.raw_cells import RawCells
from eo_embed.writers.rasters.work import PLANES, Part, WorkFile

#: Bytes of cells that are blended at a time, of all bands, so that memory does not grow with the raster.
_AT_ONCE = 64_000_000


@dataclass(frozen=True)
class _Tile:
    """Where the cells of a tile lie, and those of its core: first and end along each axis."""

    plane: int
    kept: tuple[tuple[int, int], tuple[int, int]]
    core: tuple[tuple[int, int], tuple[int, int]]

    @classmethod
    def of_entry(cls, entry: Mapping[str, Any]) -> _Tile:
        kept = Part.of_entry(entry)
        row, column, rows, columns = map(int, entry["cells"])
        core = ((row, row + rows), (column, column + columns))
        ends = ((kept.row, kept.row + kept.rows), (kept.column, kept.column + kept.columns))
        return cls(kept.plane or 0, ends, core)

    def reach(self, axis: int) -> int:
        """Cells that it has around its core, at most: fewer where the raster ends."""
        (first, end), (core_first, core_end) = self.kept[axis], self.core[axis]
        return max(core_first - first, end - core_end)


def blended(work: WorkFile, onto: WorkFile, entries: Sequence[Mapping[str, Any]]) -> None:
    """Blend the tiles of a work file.

    Where two tiles meet, the weight of each falls linearly from one to zero, from as far inside its core as it reaches
    beyond it; the two add up to one. At a corner, the weights along both axes are multiplied. Where tiles have no value
    they do not count, and the others' weights are scaled up.

    Parameters
    ----------
    work : WorkFile
        With a plane for each of four kinds of tiles, none of which overlap.
    onto : WorkFile
        Is made anew, with one plane.
    entries : sequence of mapping
        Of the finished tiles, as the ledger holds them; cells of no tile become no-data.

    Raises
    ------
    ValueError
        If the encoding cannot hold the values.
    OSError
        If cells cannot be read or written.
    """
    whole = work.whole
    planes, (depth, height, width) = work.raw, whole.shape
    onto.remove()
    onto.begin(replace(whole, planes=1, unit=False))
    cells, held = onto.raw, onto.whole.held
    weights_of = _weights([_Tile.of_entry(entry) for entry in entries], height, width)
    step = max(1, _AT_ONCE // (depth * width * 4))
    with work.path.open("rb") as file:
        for first in range(0, height, step):
            weights = weights_of(first, min(step, height - first))
            values = np.concatenate([_bands(planes, file, group, first, weights) for group in cells.groups])
            cells.write(held.encode(of_length_one(values) if whole.unit else values).array, first, 0)


def _bands(planes: RawCells, file: BinaryIO, group: range, first: int, weights: np.ndarray) -> np.ndarray:
    """Return some rows of a group of bands, float32 ``(d, rows, w)``, of the bands that hold it in each plane."""
    depth, shape = planes.shape[0] // len(weights), (len(group), *weights.shape[1:])
    total, share = np.zeros(shape), np.zeros(shape)
    for plane, own in enumerate(weights):
        if own.any():
            bands = range(plane * depth + group.start, plane * depth + group.stop)
            rows = planes.rows(file.fileno(), bands, first, len(own))
            known = (own > 0) & ~np.isnan(rows)
            total += np.where(known, own * rows, 0)
            share += np.where(known, own, 0)
    return np.divide(total, share, out=np.full_like(total, np.nan), where=share > 0).astype(np.float32)


def _weights(tiles: Sequence[_Tile], height: int, width: int) -> Callable[[int, int], np.ndarray]:
    """Return what gives the weights of some rows, float64 ``(4, rows, w)``, from the first and their number on."""
    reach = [max((tile.reach(axis) for tile in tiles), default=0) for axis in (0, 1)]

    def of_rows(first: int, count: int) -> np.ndarray:
        found = np.zeros((PLANES, count, width))
        for tile, top, bottom in _touching(tiles, first, first + count):
            (row, _), (column, last) = tile.kept
            down, across = (ramp(tile.kept[axis], tile.core[axis], reach[axis]) for axis in (0, 1))
            own = down[top - row : bottom - row, None] * across
            found[tile.plane, top - first : bottom - first, column:last] = own
        return found

    return of_rows


def _touching(tiles: Sequence[_Tile], first: int, end: int) -> Iterator[tuple[_Tile, int, int]]:
    """Yield the tiles that have some of these rows, with the first and the end of what they have."""
    for tile in tiles:
        top, bottom = max(first, tile.kept[0][0]), min(end, tile.kept[0][1])
        if top < bottom:
            yield tile, top, bottom


def ramp(kept: tuple[int, int], core: tuple[int, int], reach: int) -> np.ndarray:
    """Return the weights of the cells of a tile along an axis, each at its centre; one where no tile follows.

    Parameters
    ----------
    kept : tuple of int
        First cell of the tile, and the end of its cells.
    core : tuple of int
        The same of its core, at whose ends the weight is a half.
    reach : int
        Cells over which it falls to zero from there.
    """
    centres = np.arange(*kept) + 0.5
    weights = np.ones(len(centres))
    if kept[0] < core[0]:
        weights = np.minimum(weights, (centres - core[0] + reach) / (2 * reach))
    if core[1] < kept[1]:
        weights = np.minimum(weights, (core[1] + reach - centres) / (2 * reach))
    return weights
