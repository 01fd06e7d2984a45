"""Grids as cloud-optimised GeoTIFF."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import rasterio
from rasterio.dtypes import check_dtype
from rasterio.io import DatasetReader, DatasetWriter
from rasterio.windows import Window

from eo_core.arguments import one_of
from eo_data.raster.geotiff_output import write_geotiff
from eo_embed.writers.embedding import Cells, Embedding, StoredGrid
from eo_embed.writers.layout import GRIDS, MANIFEST, attributes_of, band_names, grid_of, item_path
from eo_embed.writers.quantise import Encoded, Encoding

SUFFIX = ".tif"
Compression = Literal["deflate", "zstd", "lzw", "none"]
COMPRESSIONS: tuple[Compression, ...] = get_args(Compression)
#: Sides of the internal tiles. Small grids get small ones: each band of each tile is unpacked whole, and a 36 x 36 grid
#: of 768 bands in tiles of 512 is 800 MB (2.6 s instead of 0.15 s). GDAL warns below 128.
_TILES = (128, 256, 512)


@dataclass(frozen=True)
class GridWriter:
    """Writes grids to ``<folder>/grids/<layer or nothing>/<id>.tif``.

    The files carry the exact transform and CRS, no-data, a description and (for ``int8``) a scale per band, and as
    tags: id, layer, dates, sources, share of observed pixels, encoding, and the relative path of the manifest.

    Parameters
    ----------
    folder : Path
        Folder of the export.
    encoding : Encoding
        How values are stored.
    manifest : str
        Path of the manifest, relative to ``folder``.
    compress : {'deflate', 'zstd', 'lzw', 'none'}
        How the tiles are compressed; all are lossless.
    overviews : bool
        Whether grids of more than one tile (512 x 512) get overviews.

    Raises
    ------
    ValueError
        For another compression, or if the installed GDAL cannot store the encoding.
    """

    folder: Path
    encoding: Encoding
    manifest: str = MANIFEST
    compress: Compression = "deflate"
    overviews: bool = True

    def __post_init__(self) -> None:
        one_of("compress", self.compress, COMPRESSIONS)
        if not check_dtype(self.encoding.storage):
            msg = (
                f"GeoTIFF of dtype {self.encoding.storage} needs a newer rasterio than {rasterio.__version__}. "
                "Update it, or use dtype float32."
            )
            raise ValueError(msg)

    def path(self, embedding: Embedding) -> Path:
        """Return where the grid of an embedding goes.

        Raises
        ------
        ValueError
            If the id cannot name a file.
        """
        return item_path(self.folder / GRIDS, embedding.id, embedding.layer, SUFFIX)

    def write(self, embedding: Embedding) -> Path:
        """Write the grid of an embedding, whole or not at all, and return the file.

        Raises
        ------
        ValueError
            If there is no grid, the id cannot name a file, or the encoding cannot hold the values.
        OSError
            If the file cannot be written.
        """
        path = self.path(embedding)
        encoded = self.encoding.encode(grid_of(embedding))
        tags = attributes_of(embedding, path, self.folder / self.manifest, self.encoding.dtype)
        names = band_names(embedding, len(encoded.array))

        def fill(file: DatasetWriter) -> None:
            file.write(encoded.array)
            file.descriptions = names
            if encoded.scale is not None:
                file.scales = encoded.scale
                file.offsets = np.zeros(len(names))
            file.update_tags(**tags)

        write_geotiff(path, self._profile(embedding, encoded), fill)
        return path

    def _profile(self, embedding: Embedding, encoded: Encoded) -> dict[str, Any]:
        count, height, width = encoded.array.shape
        options: dict[str, Any] = {
            "driver": "COG",
            "count": count,
            "height": height,
            "width": width,
            "dtype": self.encoding.storage,
            "nodata": encoded.nodata,
            "crs": embedding.crs,
            "transform": embedding.transform,
            "blocksize": next((side for side in _TILES if side >= max(height, width)), _TILES[-1]),
            # All bands of a tile lie together, and one band can still be read alone. GDAL before 3.11 ignores it.
            "interleave": "tile",
            "compress": self.compress,
            "bigtiff": "if_safer",
            "overviews": "auto" if self.overviews else "none",
            # A mean of AlphaEarth's numbers is not the number of the mean.
            "overview_resampling": "nearest" if self.encoding.dtype == "int8_alphaearth" else "average",
        }
        if self.compress != "none":
            options["predictor"] = 3 if self.encoding.dtype == "float32" else 2
        return options


def read_geotiff(path: Path, cells: Cells | None = None) -> StoredGrid:
    """Read a grid that :class:`GridWriter` wrote, or some cells of it."""
    with rasterio.open(path) as file:
        placed = file.crs is not None or not file.transform.is_identity
        return StoredGrid(
            _read(file, cells),
            file.shape,
            np.array(file.scales) if file.dtypes[0] == "int8" else None,
            file.transform if placed else None,
            file.crs.to_wkt() if file.crs else None,
            tuple(str(name) for name in file.descriptions),
            file.tags(),
        )


def _read(file: DatasetReader, cells: Cells | None) -> np.ndarray:
    if cells is not None and not cells.height * cells.width:
        return np.empty((file.count, 0, 0), file.dtypes[0])
    found: np.ndarray = file.read(
        window=None if cells is None else Window(cells.left, cells.top, cells.width, cells.height)
    )
    return found
