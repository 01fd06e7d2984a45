"""From the features of a batch to the files of its items."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eo_data.dataset.sample_grid import SampleGrid
from eo_embed.export.flow.transfer import OwnCells
from eo_embed.export.items import Item, items_of
from eo_embed.export.settings import ExportSettings
from eo_embed.writers.geoparquet import PartWriter
from eo_embed.writers.rasters.makers import MAKERS, RasterWriter
from eo_embed.writers.rasters.work import Part


@dataclass(frozen=True)
class Written:
    """What became of a batch.

    Parameters
    ----------
    entries : tuple of dict
        For each item and layer what the ledger records, once its files are in place.
    faults : tuple of (str, str)
        Id and reason of items whose values cannot be written.
    cells : int
        Grid cells that were written.
    """

    entries: tuple[dict[str, Any], ...]
    faults: tuple[tuple[str, str], ...]
    cells: int


class ItemWriter:
    """Writes the items of batches: their grids one by one, their vectors in one part for each batch.

    Parameters
    ----------
    folder : Path
        Folder of the export.
    settings : ExportSettings
        What is exported, and how it is stored.
    rank : int
        Number of this process among those that write to the folder.
    again : collection of (str, str)
        Id and layer of rasters whose tiles are all made again.
    alone : bool
        Whether no other process writes to the folder, and tiles are of no shard.

    Attributes
    ----------
    again : collection of (str, str)
        As given.
    dimensions : int
        Numbers in a vector of the last item; 0 before the first.
    gsd : float
        Side of its grid cells in metres; 0 if unknown.
    """

    def __init__(
        self,
        folder: Path,
        settings: ExportSettings,
        rank: int,
        again: Collection[tuple[str, str]] = (),
        *,
        alone: bool = False,
    ) -> None:
        self._folder, self._settings, self._rank, self.again = folder, settings, rank, again
        self._grids = settings.format.writer(folder, settings.encoding)
        takes_tiles = settings.format.name in MAKERS
        self._rasters = RasterWriter(folder, settings.format, again, alone=alone) if takes_tiles else None
        self._parts: PartWriter | None = None
        self.dimensions = 0
        self.gsd = 0.0

    def write(self, features: Sequence[OwnCells], samples: Sequence[SampleGrid]) -> Written:
        """Write a batch.

        Parameters
        ----------
        features : sequence of OwnCells
            What each layer gave, on the CPU, in the order of the settings.
        samples : sequence of SampleGrid
            The samples of the batch, in order.

        Raises
        ------
        ValueError
            If grids are wanted of tokens that form none, or have no place on the map.
        OSError
            If a file cannot be written.
        """
        written: list[tuple[Item, list[str], Part | None]] = []
        faults = []
        for name, feature in zip(self._settings.layer_names, features, strict=True):
            for item in items_of(name, feature, samples, self._settings):
                if fault := item.fault:
                    faults.append((item.embedding.id, fault))
                    continue
                files, cells = self._write_grid(item)
                self.dimensions, self.gsd = item.dimensions, item.gsd
                written.append((item, files, cells))
        table = self._write_vectors([item for item, _, _ in written])
        entries = tuple(item.entry([*files, *table], cells) for item, files, cells in written)
        return Written(entries, tuple(faults), sum(item.cells for item, _, _ in written))

    def flush(self) -> None:
        """Write what of rasters is still in memory.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        if self._rasters is not None:
            self._rasters.flush()

    def _write_grid(self, item: Item) -> tuple[list[str], Part | None]:
        """Write the grid of an item: that of a tile into its raster, if the format can do that; return its file."""
        own = item.embedding
        if own.grid is None or not self._settings.writes_grids:
            return [], None
        whole = None if self._rasters is None else item.whole(self._settings)
        if self._rasters is None or whole is None or item.place is None:
            if item.sample.blended is not None:
                msg = (
                    f"{own.id}: blend: feather makes one file of all tiles of a raster, for which it needs a place on "
                    f"the map and grid_format: {' or '.join(MAKERS)} (got {self._settings.grid_format}). Leave blend "
                    "out: cores are then kept as they are."
                )
                raise ValueError(msg)
            return [self._name(self._grids.write(own))], None
        cells = (own.grid, item.place.row, item.place.column) if item.around is None else item.around
        file, part = self._rasters.write(whole, *cells)
        return [self._name(file)], part

    def _write_vectors(self, items: Sequence[Item]) -> list[str]:
        vectors = [item.embedding.pooled for item in items if item.embedding.pooled is not None]
        if not vectors:
            return []
        if self._parts is None:
            self._parts = PartWriter(self._folder, self._rank, len(vectors[0]))
        part = self._parts.write([item.embedding for item in items if item.embedding.pooled is not None])
        return [self._name(part)]

    def _name(self, file: Path) -> str:
        """Return a file relative to the folder."""
        return file.relative_to(self._folder).as_posix()
