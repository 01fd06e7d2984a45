"""The grids of a finished export, read by windows, so that memory does not grow with a raster."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from eo_data.raster.georeference import PixelGrid
from eo_embed.export.opening import Export
from eo_embed.export.record.manifest import Manifest
from eo_embed.reading.vectors import chosen_layer
from eo_embed.writers.formats import Format
from eo_embed.writers.layout import MANIFEST, parsed_attributes
from eo_embed.writers.quantise import Encoding

#: Numbers that are read at once: 64 MB of float32.
BLOCK_VALUES = 1 << 24
#: Of formats that xarray opens without reading the numbers, its engine and what that needs to know.
_LAZY: dict[str, dict[str, Any]] = {
    "zarr": {"engine": "zarr", "consolidated": False},
    "netcdf": {"engine": "h5netcdf"},
}


class Cells(NamedTuple):
    """A window of a grid: its first row and column, and how many there are."""

    top: int
    left: int
    height: int
    width: int


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

    @property
    def cells(self) -> Cells:
        """All of it."""
        return Cells(0, 0, self.place.height, self.place.width)

    def read(self, cells: Cells | None = None) -> np.ndarray:
        """Return float32 ``(depth, height, width)`` of a window, NaN is no-data."""
        top, left, height, width = cells or self.cells
        if self.form.name == "geotiff":
            with rasterio.open(self.path) as file:
                stored = file.read(window=Window(left, top, width, height))
        elif self.form.name in _LAZY:
            import xarray as xr  # noqa: PLC0415

            with xr.open_dataset(self.path, **_LAZY[self.form.name]) as data:
                stored = data["embedding"][:, top : top + height, left : left + width].values
        else:
            stored = self.form.reader(self.path).array[:, top : top + height, left : left + width]
        return self.encoding.decode(stored, self.scales)

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
    scales: np.ndarray | None = None
    if form.name == "geotiff":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as file:
                placed = file.crs is not None or not file.transform.is_identity
                place = PixelGrid(
                    file.height, file.width, file.transform if placed else None, file.crs and file.crs.to_wkt()
                )
                depth, names, said = file.count, tuple(str(text) for text in file.descriptions), file.tags()
                scales = np.array(file.scales) if file.dtypes[0] == "int8" else None
    elif form.name in _LAZY:
        place, depth, names, said = _header(form.name, path)
    else:
        stored = form.reader(path)
        depth, height, width = stored.array.shape
        place, names, said = PixelGrid(height, width, stored.transform, stored.crs), stored.names, stored.attributes
    known = parsed_attributes(said)
    return ExportedGrid(
        name, layer, path, form, place, depth, names, Encoding.named(str(known["quantisation"])), scales,
        tuple(known["dates"]), tuple(known["sources"]), float(str(known["valid_fraction"])),  # type: ignore[arg-type]
    )  # fmt: skip


def _header(name: str, path: Path) -> tuple[PixelGrid, int, tuple[str, ...], dict[str, Any]]:
    """Return place, number and names of the bands, and attributes of a file of xarray's."""
    import json  # noqa: PLC0415

    import xarray as xr  # noqa: PLC0415

    with xr.open_dataset(path, **_LAZY[name]) as data:
        if "embedding" not in data:
            msg = f"{path} holds no variable embedding, so eo_embed has not written it ({MANIFEST} is beside ours)."
            raise ValueError(msg)
        mapping = data["spatial_ref"].attrs if "spatial_ref" in data.variables else {}
        numbers = [float(text) for text in str(mapping.get("GeoTransform", "")).split()]
        depth, height, width = data["embedding"].shape
        transform = Affine.from_gdal(*numbers) if numbers else None
        names = tuple(json.loads(data.attrs.get("names", "[]"))) or tuple(f"e{i:03d}" for i in range(depth))
        return PixelGrid(height, width, transform, mapping.get("crs_wkt")), depth, names, dict(data.attrs)
