"""The writer of grids by the name of its format."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from eo_embed.writers.cubes import NetcdfWriter, NpzWriter, ZarrWriter
from eo_embed.writers.embedding import Embedding
from eo_embed.writers.geotiff import GridWriter
from eo_embed.writers.quantise import Encoding

GRID_FORMATS = ("geotiff", "zarr", "netcdf", "npz")


class Writer(Protocol):
    """Writes one grid, whole or not at all."""

    def write(self, embedding: Embedding) -> Path:
        """Return the file that was written."""
        ...


def grid_writer(name: str, folder: Path, encoding: Encoding) -> Writer:
    """Return the writer of a format; the encoding is for GeoTIFF, the others keep float32.

    Raises
    ------
    ValueError
        For another encoding than float32 where a format has none, or an unknown format.
    """
    if name == "geotiff":
        return GridWriter(folder, encoding)
    writers: dict[str, type[ZarrWriter | NetcdfWriter | NpzWriter]] = {
        "zarr": ZarrWriter,
        "netcdf": NetcdfWriter,
        "npz": NpzWriter,
    }
    if name not in writers:
        msg = f"grid_format must be one of {', '.join(GRID_FORMATS)}, got {name!r}."
        raise ValueError(msg)
    if encoding.dtype != "float32":
        msg = f"dtype {encoding.dtype} is for grid_format: geotiff; {name} keeps float32."
        raise ValueError(msg)
    return writers[name](folder)
