"""What reading rasters by tiles would take, before a pixel is read: windows, cores, output grids, bytes and seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from eo_data.catalog.records import Record
from eo_data.catalog.tiles import Tiling
from eo_data.raster.footprint import crs_name
from eo_data.raster.georeference import PixelGrid
from eo_data.raster.raster import scaled

#: How many rasters are printed.
_SHOWN = 10


@dataclass(frozen=True)
class TiledRaster:
    """A raster that would be read by tiles.

    Parameters
    ----------
    id : str
        Of the raster.
    grid : PixelGrid
        Its pixels.
    windows : int
        How many windows would be encoded, as far as they hold data.
    """

    id: str
    grid: PixelGrid
    windows: int

    def output(self, cell: int) -> PixelGrid:
        """Return the grid of cells of ``cell`` x ``cell`` pixels; the last ones may reach over the raster's end.

        With 0, which stands for what is not known, that of the pixels.
        """
        cell = cell or 1
        transform = scaled(self.grid.transform, cell, cell)
        return PixelGrid(-(-self.grid.height // cell), -(-self.grid.width // cell), transform, self.grid.crs)


@dataclass(frozen=True)
class TilePlan:
    """Rasters by tiles. ``str()`` of it is a table.

    Parameters
    ----------
    tiling : Tiling
        Windows and cores.
    rasters : tuple of TiledRaster
        In their order.
    cell : int
        Side in pixels of an output cell: 1 for label maps, 0 if nobody says.
    dimensions : int
        Numbers in a cell; 0 if nobody says.
    itemsize : int
        Bytes of a number.
    seconds_per_window : float or None
        Measured or stated; ``None`` if it is not known.
    """

    tiling: Tiling
    rasters: tuple[TiledRaster, ...]
    cell: int = 0
    dimensions: int = 0
    itemsize: int = 4
    seconds_per_window: float | None = None

    @property
    def windows(self) -> int:
        """Windows of all rasters."""
        return sum(raster.windows for raster in self.rasters)

    @property
    def bytes(self) -> int:
        """Bytes of all output grids, not compressed; 0 without `dimensions`."""
        grids = [raster.output(self.cell) for raster in self.rasters]
        return sum(grid.height * grid.width for grid in grids) * self.dimensions * self.itemsize

    @property
    def seconds(self) -> float | None:
        """Seconds for all windows."""
        return None if self.seconds_per_window is None else self.windows * self.seconds_per_window

    @property
    def read_share(self) -> float:
        """Pixels that are encoded over those of the rasters: what halos and shifted windows cost."""
        pixels = sum(raster.grid.height * raster.grid.width for raster in self.rasters)
        return self.windows * self.tiling.tile**2 / pixels if pixels else 0.0

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        own = self.tiling
        if not self.rasters:
            yield f"tiles       none: no raster is larger than {own.tile} px, so that each is encoded as one image"
            return
        halo = f"halo {own.halo} px" + (", blended" if own.blend == "feather" else "")
        yield (
            f"tiles       {self.windows:,} windows of {own.tile} px with cores of {own.step} px ({halo}, "
            f"aligned to {own.align} px): {self.read_share:.2f} pixels encoded for each of the rasters'"
        )
        for raster in self.rasters[:_SHOWN]:
            grid = raster.output(self.cell)
            place = "no place on the map"
            if grid.transform is not None:
                corner = f"({grid.transform.c:.10g}, {grid.transform.f:.10g})"
                place = f"{crs_name(grid.crs) if grid.crs else 'no CRS'}, from {corner}, {grid.transform.a:g} each"
            size = f"output of {grid.height} x {grid.width} cells" if self.cell else f"{grid.height} x {grid.width} px"
            yield f"  {raster.id}: {raster.windows:,} windows; {size}, {place}"
        if len(self.rasters) > _SHOWN:
            yield f"  ... {len(self.rasters):,} rasters in all"
        if self.bytes:
            yield f"  {self.bytes / 1e6:,.1f} MB of output, not compressed"
        if self.seconds is not None:
            yield f"  about {self.seconds:,.0f} s at {self.seconds_per_window:.3g} s a window"


def plan_of_tiles(
    records: Iterable[Record],
    tiling: Tiling,
    grid_of: Callable[[Record], PixelGrid],
    cell: int = 0,
    dimensions: int = 0,
    itemsize: int = 4,
    seconds_per_window: float | None = None,
) -> TilePlan:
    """Return what reading records by tiles would take.

    Parameters
    ----------
    records : iterable of Record
        Tiles; those that are none are left out.
    tiling : Tiling
        How they were cut.
    grid_of : callable
        Grid of what is read of a record, such as `eo_data.dataset.sample_reader.SampleReader.grid`; one call a raster.
    cell, dimensions, itemsize, seconds_per_window
        As of `TilePlan`.

    Raises
    ------
    SampleError
        If a file cannot be opened.
    """
    first: dict[str, Record] = {}
    counts: dict[str, int] = {}
    for record in records:
        if record.window is not None:
            first.setdefault(record.raster_id, record)
            counts[record.raster_id] = counts.get(record.raster_id, 0) + 1
    rasters = tuple(TiledRaster(name, grid_of(record), counts[name]) for name, record in first.items())
    return TilePlan(tiling, rasters, cell, dimensions, itemsize, seconds_per_window)
