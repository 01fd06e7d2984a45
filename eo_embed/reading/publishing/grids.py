"""The grids of a finished export, read by windows, so that memory does not grow with a raster."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.errors import NotGeoreferencedWarning

from eo_data.raster.georeference import PixelGrid
from eo_embed.export.opening import Export
from eo_embed.export.record.manifest import Manifest
from eo_embed.reading.vectors import chosen_layer
from eo_embed.writers.embedding import NO_CELLS, Cells
from eo_embed.writers.formats import Format
from eo_embed.writers.layout import MANIFEST, parsed_attributes
from eo_embed.writers.quantise import Encoding

#: Numbers that are read at once: 64 MB of float32.
BLOCK_VALUES = 1 << 24


@dataclass(frozen=True, eq=False)
class ExportedGrid:
    """One grid of an export; the numbers stay in their file until they are asked for.

    Parameters
    ----------
    id, layer : str
        Of the sample, and of the encoder.
    path : Path
        Its file, or its folder in a store.
    form : Format
        Of the file.
    place : PixelGrid
        Its cells on the map.
    depth : int
        Numbers in a vector.
    names : tuple of str
        What they are.
    encoding : Encoding
        How they are stored.
    scales : ndarray or None
        Float64 ``(depth,)`` where each band has a scale.
    dates, sources : tuple of str
        ISO dates, and files of the input.
    valid_fraction : float
        Share of observed pixels, 0..1.
    """

    id: str
    layer: str
    path: Path
    form: Format
    place: PixelGrid
    depth: int
    names: tuple[str, ...]
    encoding: Encoding
    scales: np.ndarray | None
    dates: tuple[str, ...]
    sources: tuple[str, ...]
    valid_fraction: float

    def read(self, cells: Cells | None = None) -> np.ndarray:
        """Return float32 ``(depth, height, width)`` of a window, NaN is no-data."""
        return self.encoding.decode(self.form.reader(self.path, cells).array, self.scales)

    def blocks(self, side: int = 0) -> Iterator[Cells]:
        """Yield windows that cover the grid once: bands of rows that fit the memory, or squares of a side."""
        rows = side or max(1, BLOCK_VALUES // (self.depth * self.place.width))
        columns = side or self.place.width
        for top in range(0, self.place.height, rows):
            for left in range(0, self.place.width, columns):
                yield Cells(top, left, min(rows, self.place.height - top), min(columns, self.place.width - left))


def grids_of(export: Export, layer: str = "", *, placed: bool = True) -> list[ExportedGrid]:
    """Return the grids of one layer, sorted by id; of a raster that was put together, the whole and not its tiles.

    Parameters
    ----------
    export : Export
        A finished one.
    layer : str
        One of its layers; may be empty where there is only one.
    placed : bool
        Whether all must have a place on the map.

    Raises
    ------
    ValueError
        If there is no such layer, a file cannot be read, or a grid has no place.
    """
    chosen = chosen_layer(export.layers, layer)
    known = {name: found for (name, own), found in export.grid_files.items() if own == chosen}
    tiles = _tiles_of_wholes(export, known.keys())
    grids = [_opened(name, chosen, *known[name]) for name in sorted(known.keys() - tiles)]
    for grid in grids if placed else ():
        if grid.place.transform is None or grid.place.crs is None:
            msg = f"{grid.path} has no transform or no CRS, so it has no place on a map. Georeference the files."
            raise ValueError(msg)
    return grids


def _tiles_of_wholes(export: Export, ids: set[str] | Any) -> set[str]:  # noqa: ANN401
    """Return the ids of tiles whose raster has a grid of its own."""
    if not export.manifest.get("inputs"):
        return set()
    items = Manifest(export.path, export.manifest).items()
    return {str(item["id"]) for item in items if item.get("raster_id") in ids and item["raster_id"] != item["id"]}


def _opened(name: str, layer: str, form: Format, path: Path) -> ExportedGrid:
    """Return a grid by what its file says, without its numbers where the format allows it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        stored = form.reader(path, NO_CELLS)
    if not stored.attributes:
        msg = f"{path} holds no variable embedding, so eo_embed has not written it ({MANIFEST} is beside ours)."
        raise ValueError(msg)
    known = parsed_attributes(stored.attributes)
    return ExportedGrid(
        name, layer, path, form, PixelGrid(*stored.shape, stored.transform, stored.crs), len(stored.array),
        stored.names, Encoding.named(str(known["quantisation"])), stored.scale,
        tuple(known["dates"]), tuple(known["sources"]), float(str(known["valid_fraction"])),  # type: ignore[arg-type]
    )  # fmt: skip
