"""One grid of cells that the grids of many items lie on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from affine import Affine

from eo_data.raster.footprint import crs_name
from eo_data.raster.georeference import PixelGrid, place_of_tile
from eo_data.raster.raster import shifted
from eo_embed.reading.publishing.grids import ExportedGrid
from eo_embed.writers.embedding import Cells

#: Side of the squares by which overlapping grids are found, in cells.
_SQUARE = 256


@dataclass(frozen=True, eq=False)
class Lattice:
    """The cells of all grids of one CRS, north up.

    Parameters
    ----------
    crs : str
        ``EPSG:32633`` or the like, else WKT.
    place : PixelGrid
        The whole.
    items : tuple of (ExportedGrid, Cells)
        Each grid, and which cells of the whole it fills.
    """

    crs: str
    place: PixelGrid
    items: tuple[tuple[ExportedGrid, Cells], ...]

    @property
    def transform(self) -> Affine:
        """From (column, row) of the whole to map coordinates."""
        if self.place.transform is None:
            msg = "A lattice has a transform."
            raise ValueError(msg)
        return self.place.transform


def lattices_of(grids: Sequence[ExportedGrid]) -> list[Lattice]:
    """Return one lattice for each CRS, sorted by its name.

    Raises
    ------
    ValueError
        If the grids of a CRS do not lie on one lattice, are turned, or differ in the width of their vectors.
    """
    by_crs: dict[str, list[ExportedGrid]] = {}
    for grid in grids:
        by_crs.setdefault(crs_name(str(grid.place.crs)), []).append(grid)
    return [_lattice(crs, own) for crs, own in sorted(by_crs.items())]


def _lattice(crs: str, grids: Sequence[ExportedGrid]) -> Lattice:
    first = grids[0]
    transform = first.place.transform
    if transform is None or transform.b or transform.d or transform.a <= 0 or transform.e >= 0:
        msg = f"{first.id}: the grid is not north up, as a store of many items needs it. Convert to cog."
        raise ValueError(msg)
    places = []
    for grid in grids:
        at = place_of_tile(grid.place, first.place)
        if at is None or grid.depth != first.depth:
            msg = (
                f"The cells of {grid.id} ({_told(grid)}) and {first.id} ({_told(first)}) do not lie on one lattice in "
                f"{crs}, and vectors are not resampled. Convert to cog, which keeps a file an item, or choose items "
                "that fit with ids."
            )
            raise ValueError(msg)
        places.append(Cells(*at, grid.place.height, grid.place.width))
    top, left = min(own.top for own in places), min(own.left for own in places)
    bottom, right = max(own.top + own.height for own in places), max(own.left + own.width for own in places)
    whole = PixelGrid(bottom - top, right - left, shifted(transform, left, top), first.place.crs)
    moved = [own._replace(top=own.top - top, left=own.left - left) for own in places]
    return Lattice(crs, whole, tuple(zip(grids, moved, strict=True)))


def _told(grid: ExportedGrid) -> str:
    t = grid.place.transform
    where = "no transform" if t is None else f"corner {t.c:.10g}, {t.f:.10g}, cells {t.a:g} x {-t.e:g}"
    return f"{where}, {grid.depth} numbers"


def overlaps(cells: Sequence[Cells]) -> Iterator[tuple[int, int]]:
    """Yield the numbers of two windows that have cells in common, each pair once."""
    squares: dict[tuple[int, int], list[int]] = {}
    for number, own in enumerate(cells):
        met: set[int] = set()
        for row in range(own.top // _SQUARE, (own.top + own.height - 1) // _SQUARE + 1):
            for column in range(own.left // _SQUARE, (own.left + own.width - 1) // _SQUARE + 1):
                near = squares.setdefault((row, column), [])
                met.update(other for other in near if common(cells[other], own) is not None)
                near.append(number)
        yield from ((other, number) for other in sorted(met))


def common(one: Cells, other: Cells) -> Cells | None:
    """Return the cells that two windows have in common; ``None`` if there are none."""
    top, left = max(one.top, other.top), max(one.left, other.left)
    bottom = min(one.top + one.height, other.top + other.height)
    right = min(one.left + one.width, other.left + other.width)
    return Cells(top, left, bottom - top, right - left) if bottom > top and right > left else None
