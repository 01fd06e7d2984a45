"""Large rasters as tiles that are read by window: memory does not grow with the raster.

What an encoder makes of a pixel depends on the pixels around it, so that tiles side by side would leave seams. Windows
overlap: each sees a halo around its core, and only the core is kept. Cores lie on a regular lattice, so that they cover
the raster without gap or overlap. At the raster's edges, windows are shifted inwards instead of padded.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Literal, get_args

from eo_core.arguments import one_of
from eo_data.catalog.records import Record, TileWindow
from eo_data.raster.sample import SampleError

#: Tiles of one raster: the whole land of the earth at 10 m in tiles of 256 pixels has fewer.
_MOST_TILES = 50_000_000

Blend = Literal["core", "feather"]


@dataclass(frozen=True)
class Tiling:
    """How rasters are cut into tiles; all in pixels.

    Parameters
    ----------
    tile : int
        Side of a window, a positive multiple of ``align``.
    align : int
        Windows and cores start at multiples of this: the side of a patch of the coarsest bands.
    halo : int
        What a window sees on each side of its core, a multiple of ``align``; less than half of ``tile``.
    blend : {'core', 'feather'}
        Whether cores are put side by side, or windows blended where they overlap, by weights that fall linearly from
        ``halo`` inside the core to ``halo`` outside of it; ``halo`` is then at most a quarter of ``tile``, so that no
        more than two windows overlap along an axis.

    Raises
    ------
    ValueError
        If these do not fit together; the message has values that do.
    """

    tile: int
    align: int
    halo: int = 0
    blend: Blend = "core"

    def __post_init__(self) -> None:
        one_of("blend", self.blend, get_args(Blend))
        for name, value in (("tile", self.tile), ("tile_align", self.align), ("halo", self.halo)):
            if not isinstance(value, Integral):
                msg = f"{name} is a whole number of pixels, such as {name}: 48, got {value!r}."
                raise ValueError(msg)
        if self.align < 1 or self.tile < 1 or self.tile % self.align:
            msg = f"tile must be a positive multiple of tile_align, got {self.tile} and {self.align}."
            raise ValueError(msg)
        most = (self.tile - 1) // 2 // self.align * self.align
        if self.halo % self.align or not 0 <= self.halo <= most:
            near = min(max(self.halo, 0) // self.align * self.align, most)
            valid = list(dict.fromkeys((near, min(near + self.align, most))))
            msg = (
                f"halo must be a multiple of tile_align ({self.align} pixels) and less than half of tile "
                f"({self.tile}), at most {most}, got {self.halo}. Nearest: {' or '.join(map(str, valid))}."
            )
            raise ValueError(msg)
        if self.blend == "feather" and not 0 < 4 * self.halo <= self.tile:
            most = self.tile // 4 // self.align * self.align
            msg = (
                f"blend: feather needs a halo above 0 and of at most a quarter of tile ({self.tile}), got {self.halo}. "
                + (f"State {self.align} to {most}." if most else f"Raise tile to {4 * self.align} or more.")
            )
            raise ValueError(msg)

    @property
    def step(self) -> int:
        """Side of a cell of the lattice of cores."""
        return self.tile - 2 * self.halo

    def axis(self, length: int) -> list[tuple[int, int, int]]:
        """Return the windows along an axis: where each starts, and where its core starts and ends.

        Parameters
        ----------
        length : int
            Length of the axis.

        Returns
        -------
        list of (int, int, int)
            Cores begin at multiples of `step`. At an end of the raster, where one window sees several cells of the
            lattice whole, they are one core. The last window may reach over the end by less than ``align``, or, if
            there is only one, by more.
        """
        last = max(0, -(-(length - self.tile) // self.align) * self.align)
        starts = ((min(max(0, first - self.halo), last), first) for first in range(0, length, self.step))
        firsts = [(start, next(cells)[1]) for start, cells in itertools.groupby(starts, lambda own: own[0])]
        ends = [*(first for _, first in firsts[1:]), length]
        return [(start, first, end) for (start, first), end in zip(firsts, ends, strict=True)]

    def count(self, height: int, width: int) -> int:
        """Return the number of windows of a raster, at most: those at its ends may be fewer."""
        return -(-height // self.step) * -(-width // self.step)

    def windows(self, height: int, width: int) -> Iterator[TileWindow]:
        """Yield the tiles of a raster, row by row."""
        columns, reach = self.axis(width), self.halo if self.blend == "feather" else 0
        for row, (top, first_row, end_row) in enumerate(self.axis(height)):
            for column, (left, first_column, end_column) in enumerate(columns):
                core = (first_row - top, first_column - left, end_row - top, end_column - left)
                plane = 2 * (row % 2) + column % 2 if reach else 0
                yield TileWindow(top, left, self.tile, core, (height, width), reach, plane)


def usual_halo(tile: int, align: int) -> int:
    """Return the halo where none is stated: a sixth of the tile, as a multiple of ``align``."""
    return (tile + 3 * align) // (6 * align) * align if align > 0 else 0


def tiling_of(tile: int | None, align: int, halo: int | None, blend: Blend = "core") -> Tiling | None:
    """Return how rasters are cut, by the arguments of a data module; ``None`` for whole rasters.

    Raises
    ------
    ValueError
        As `Tiling`; or for a halo without tiles.
    """
    if tile is None:
        if halo is not None:
            msg = f"halo is of tiles, and there are none. State tile, such as tile: 288; or leave halo ({halo}) out."
            raise ValueError(msg)
        if blend != "core":
            msg = f"blend ({blend}) is of tiles, and there are none. State tile, such as tile: 288; or leave blend out."
            raise ValueError(msg)
        return None
    return Tiling(tile, align, usual_halo(tile, align) if halo is None else halo, blend)


def tiled(
    records: Sequence[Record], tiling: Tiling, size_of: Callable[[Record], tuple[int, int]], *, skip: bool = False
) -> list[Record]:
    """Cut samples into tiles; ids get the row and column where a tile starts: ``id/r0_c288``.

    Parameters
    ----------
    records : sequence of Record
        The samples.
    tiling : Tiling
        How.
    size_of : callable
        Height and width in pixels of what is read of a sample.
    skip : bool
        Whether samples whose size cannot be read stay whole, to be listed.

    Raises
    ------
    SampleError
        If a size cannot be read, or is that of more tiles than anybody has.
    """
    cut: list[Record] = []
    for record in records:
        try:
            height, width = size_of(record)
            _refuse_many(record, tiling, height, width)
        except SampleError:
            if not skip:
                raise
            cut.append(record)
            continue
        cut += [
            replace(record, id=f"{record.id}/r{window.top}_c{window.left}", window=window, raster_id=record.id)
            for window in tiling.windows(height, width)
        ]
    return cut


def _refuse_many(record: Record, tiling: Tiling, height: int, width: int) -> None:
    count = tiling.count(height, width)
    if count > _MOST_TILES:
        msg = (
            f"{record.id}: {height} x {width} pixels are {count} tiles of {tiling.tile}. Look at the file, or raise "
            "tile."
        )
        raise SampleError(msg)
