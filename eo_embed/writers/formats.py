"""The file formats of grids: all that the rest of the package knows of a format stands here.

A new format is a module with a writer and a reader, its name in :data:`GridFormat` and its entry in :data:`FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Protocol, cast, get_args

from eo_core.arguments import one_of
from eo_core.files import PARTIAL
from eo_embed.writers import cubes, geotiff, npz
from eo_embed.writers.embedding import Cells, Embedding, StoredGrid
from eo_embed.writers.layout import GRIDS, item_path
from eo_embed.writers.quantise import DTYPES, DType, Encoding

GridFormat = Literal["geotiff", "zarr", "netcdf", "npz"]
GRID_FORMATS: tuple[GridFormat, ...] = get_args(GridFormat)


class Reader(Protocol):
    """Reads one grid, or some cells of it."""

    def __call__(self, path: Path, cells: Cells | None = None, /) -> StoredGrid:
        """Return what was asked for; without cells, all of the grid."""
        ...


class Writer(Protocol):
    """Writes one grid, whole or not at all."""

    def write(self, embedding: Embedding) -> Path:
        """Return the file, or the folder in a store, that was written."""
        ...


@dataclass(frozen=True)
class Format:
    """One file format of grids.

    Parameters
    ----------
    name : str
        What ``grid_format`` calls it.
    suffix : str
        End of the names of its files, such as ``.tif``, or of its store.
    dtypes : tuple of str
        Encodings that it can hold.
    writer : callable
        Makes the writer for the folder of an export and an encoding.
    reader : callable
        Reads one grid back, or some cells of it.
    item_mark : str
        For formats that keep all grids in one store: a file that only the folder of a grid holds, relative to that
        folder. Empty for formats with one file for each grid.
    needs_place : bool
        Whether its files are made to be put on a map.
    """

    name: GridFormat
    suffix: str
    dtypes: tuple[DType, ...]
    writer: Callable[[Path, Encoding], Writer]
    reader: Reader
    item_mark: str = ""
    needs_place: bool = True

    @property
    def in_store(self) -> bool:
        """Whether all grids of an export lie in one store."""
        return bool(self.item_mark)

    @property
    def root(self) -> str:
        """Folder below that of the export that holds its grids: ``grids``, or a store such as ``grids.zarr``."""
        return f"{GRIDS}{self.suffix}" if self.in_store else GRIDS

    def path(self, folder: Path, embedding_id: str, layer: str) -> Path:
        """Return where the grid of an item lies in the export ``folder``.

        Raises
        ------
        ValueError
            If the id cannot name a file.
        """
        return item_path(folder / self.root, embedding_id, layer, "" if self.in_store else self.suffix)

    def is_grid(self, path: Path) -> bool:
        """Tell whether a path is one grid of this format, by its name and place; its content may be anything."""
        if self.in_store:
            return (path / self.item_mark).is_file()
        return path.suffix == self.suffix and path.is_file()

    def is_store(self, path: Path) -> bool:
        """Tell whether a path is a store of this format."""
        return self.in_store and path.suffix == self.suffix and path.is_dir()

    def grids_below(self, root: Path) -> list[Path]:
        """Return all finished grids of this format below a folder, sorted; not what a crash left."""
        if self.in_store:
            depth = len(Path(self.item_mark).parts)
            found = (mark.parents[depth - 1] for mark in root.rglob(self.item_mark))
        else:
            found = (path for path in root.rglob(f"*{self.suffix}") if path.is_file())
        return sorted(p for p in found if not any(part.startswith(PARTIAL) for part in p.relative_to(root).parts))

    def id_and_layer(self, path: Path, root: Path, *, layered: bool) -> tuple[str, str]:
        """Return id and layer of a grid below ``root`` by its path; ``layered`` if the first folder is the layer."""
        parts = path.relative_to(root).parts
        name = "/".join(parts[1:] if layered else parts)
        return name if self.in_store else name.removesuffix(self.suffix), parts[0] if layered else ""


def _float32(writer: Callable[[Path], Writer]) -> Callable[[Path, Encoding], Writer]:
    """Make a writer of formats that know no other encoding."""
    return lambda folder, _: writer(folder)


_FLOAT32: tuple[DType, ...] = ("float32",)
_ALL = (
    Format("geotiff", geotiff.SUFFIX, DTYPES, geotiff.GridWriter, geotiff.read_geotiff),
    Format("zarr", cubes.ZARR_SUFFIX, _FLOAT32, _float32(cubes.ZarrWriter), cubes.read_zarr, item_mark=cubes.ZARR_MARK),
    Format("netcdf", cubes.NETCDF_SUFFIX, _FLOAT32, _float32(cubes.NetcdfWriter), cubes.read_netcdf),
    Format("npz", npz.SUFFIX, _FLOAT32, _float32(npz.NpzWriter), npz.read_npz, needs_place=False),
)
#: All formats by name.
FORMATS: Mapping[GridFormat, Format] = MappingProxyType({one.name: one for one in _ALL})


def grid_format(name: str, dtype: str) -> Format:
    """Return a format by name, once it is clear that it can hold the encoding.

    Raises
    ------
    ValueError
        For an unknown format or encoding, or one that the format cannot hold; the message names what can.
    """
    chosen = FORMATS[cast("GridFormat", one_of("grid_format", name, GRID_FORMATS))]
    one_of("dtype", dtype, DTYPES)
    if dtype not in chosen.dtypes:
        able = " or ".join(one.name for one in FORMATS.values() if dtype in one.dtypes)
        msg = (
            f"grid_format {name} holds dtype {' or '.join(chosen.dtypes)}, got dtype {dtype}. Use grid_format: {able}, "
            f"or dtype: {chosen.dtypes[0]}."
        )
        raise ValueError(msg)
    return chosen


def format_of(path: Path) -> Format | None:
    """Return the format of the one grid at a path, by its name and place; ``None`` if it is no grid."""
    return next((one for one in FORMATS.values() if one.is_grid(path)), None)
