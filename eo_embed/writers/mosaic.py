"""The grids of a raster's tiles put together again, tile by tile, so that memory does not grow with the raster."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import rasterio
from rasterio.io import DatasetWriter
from rasterio.windows import Window

from eo_data.raster.georeference import PixelGrid, place_of_tile
from eo_data.raster.geotiff_output import GeotiffInParts
from eo_data.raster.raster import shifted


def merge_geotiffs(tiles: Sequence[Path], out: Path, raster_id: str) -> bool:
    """Write one GeoTIFF of the grids of a raster's tiles; return whether they can be put together.

    Tiles stand for disjoint cells of one grid, so that nothing is blended and nothing is lost. Tiles of dtype ``int8``
    have each a scale of their own and are not put together, nor are tiles that do not say where they lie.

    Parameters
    ----------
    tiles : sequence of Path
        GeoTIFF files, at least one.
    out : Path
        The file to write.
    raster_id : str
        Id of the raster, for the tags.

    Raises
    ------
    ValueError
        If the tiles do not lie on one grid.
    """
    if not _can_be_merged(tiles[0]):
        return False
    _merge(tiles, out, raster_id)
    return True


def _can_be_merged(path: Path) -> bool:
    """Whether a tile has no scale of its own and says where it lies (GDAL gives the identity for no transform)."""
    with rasterio.open(path) as tile:
        located = tile.crs is not None or not tile.transform.is_identity
        return located and all(scale == 1 for scale in tile.scales)


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

    def fill(file: DatasetWriter) -> None:
        file.descriptions = descriptions
        file.update_tags(**{key: value for key, value in tags.items() if key.islower()} | {"id": raster})

    with GeotiffInParts(out, profile, fill) as target:
        for path, (row, column, height, width) in zip(paths, places, strict=True):
            with rasterio.open(path) as tile:
                target.write(tile.read(), Window(column - left, row - top, width, height))


def _place(path: Path, common: PixelGrid) -> tuple[int, int, int, int]:
    """Row, column, height and width of a tile in cells of the common grid."""
    with rasterio.open(path) as tile:
        own = _grid(tile)
    place = place_of_tile(own, common)
    if place is None or (own.crs is None) != (common.crs is None):
        msg = f"{path} lies on another grid than the other tiles of its raster, so they make no mosaic."
        raise ValueError(msg)
    return *place, own.height, own.width


def _grid(file: rasterio.DatasetReader) -> PixelGrid:
    return PixelGrid(file.height, file.width, file.transform, file.crs.to_wkt() if file.crs else None)
