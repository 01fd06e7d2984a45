"""The grids of a raster's tiles put together again, tile by tile, so that memory does not grow with the raster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import rasterio
from rasterio.windows import Window

from eo_core.files import atomic_path
from eo_data.raster.georeference import PixelGrid, place_of_tile
from eo_data.raster.raster import shifted
from eo_embed.writers.layout import GRIDS, item_path


def mosaics(folder: Path, inputs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write one GeoTIFF per raster that was exported as tiles; return the files, relative to the folder.

    Tiles own disjoint cells of one grid, so that nothing is blended and nothing is lost. Tiled grids stay as they are.
    Tiles of dtype ``int8`` have each a scale of its own and are not put together.

    Parameters
    ----------
    folder : Path
        Of the export.
    inputs : sequence of mapping
        Entries of the ledger, with ``raster_id``, ``layer`` and ``files``.

    Raises
    ------
    ValueError
        If the tiles of a raster do not lie on one grid.
    """
    tiles: dict[tuple[str, str], list[Path]] = {}
    for entry in inputs:
        if entry.get("raster_id"):
            grids = [folder / file for file in entry["files"] if file.startswith(f"{GRIDS}/") and file.endswith(".tif")]
            tiles.setdefault((entry["raster_id"], entry["layer"]), []).extend(grids)
    made = []
    for (raster, layer), paths in sorted(tiles.items()):
        if paths and not _scaled(paths[0]):
            path = item_path(folder / GRIDS, raster, layer, ".tif")
            _merge(sorted(paths), path, raster)
            made.append(path.relative_to(folder).as_posix())
    return made


def _scaled(path: Path) -> bool:
    with rasterio.open(path) as tile:
        return any(scale != 1 for scale in tile.scales)


def _merge(paths: Sequence[Path], out: Path, raster: str) -> None:
    with rasterio.open(paths[0]) as first:
        profile = first.profile
        descriptions, tags = first.descriptions, first.tags()
        common = _grid(first)
    places = [_place(path, common) for path in paths]
    top, left = min(row for row, *_ in places), min(column for _, column, *_ in places)
    bottom = max(row + height for row, _, height, _ in places)
    right = max(column + width for _, column, _, width in places)
    origin = shifted(common.transform, left, top)
    profile |= {
        "driver": "GTiff",
        "height": bottom - top,
        "width": right - left,
        "transform": origin,
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "BIGTIFF": "IF_SAFER",
        "interleave": "band",
    }
    with atomic_path(out) as partial, rasterio.open(partial, "w", **profile) as target:
        target.descriptions = descriptions
        target.update_tags(**{key: value for key, value in tags.items() if key.islower()} | {"id": raster})
        for path, (row, column, height, width) in zip(paths, places, strict=True):
            with rasterio.open(path) as tile:
                target.write(tile.read(), window=Window(column - left, row - top, width, height))


def _place(path: Path, common: PixelGrid) -> tuple[int, int, int, int]:
    """Row, column, height and width of a tile in cells of the common grid."""
    with rasterio.open(path) as tile:
        own = _grid(tile)
    place = place_of_tile(own, common)
    if place is None or (own.crs is None) != (common.crs is None):
        msg = f"{path} lies on another grid than the other tiles of its raster, so they make no mosaic."
        raise ValueError(msg)
    return *place, own.height, own.width


def _grid(file: Any) -> PixelGrid:  # noqa: ANN401
    return PixelGrid(file.height, file.width, file.transform, file.crs.to_wkt() if file.crs else None)
