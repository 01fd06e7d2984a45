"""Grids as xarray data sets with named axes (d, y, x): Zarr for cubes, NetCDF for small jobs. Both keep float32."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from pyproj import CRS

from eo_core.files import write_file, write_folder, write_text
from eo_embed.writers.embedding import Cells, Embedding, StoredGrid
from eo_embed.writers.layout import (
    GRIDS,
    MANIFEST,
    attributes_of,
    band_names,
    cell_centres,
    grid_of,
    item_path,
)

if TYPE_CHECKING:
    import xarray as xr
    from zarr.core.buffer import Buffer

NETCDF_SUFFIX, ZARR_SUFFIX = ".nc", ".zarr"
#: What the Zarr group of an item holds, and no group between the store and the items.
ZARR_MARK = "embedding/zarr.json"
#: Rows and columns of a Zarr chunk; all bands lie together, as a place is read with all of them.
_CHUNK = 64
_ZARR_NODE = "zarr.json"


@dataclass(frozen=True)
class NetcdfWriter:
    """Writes grids to ``<folder>/grids/<layer or nothing>/<id>.nc``, NetCDF 4 with the conventions of CF 1.11.

    Parameters
    ----------
    folder : Path
        Folder of the export.
    manifest : str
        Path of the manifest, relative to ``folder``.
    """

    folder: Path
    manifest: str = MANIFEST

    def write(self, embedding: Embedding) -> Path:
        """Write the grid of an embedding, whole or not at all, and return the file.

        Raises
        ------
        ValueError
            If there is no grid, or the id cannot name a file.
        """
        path = item_path(self.folder / GRIDS, embedding.id, embedding.layer, NETCDF_SUFFIX)
        data = as_dataset(embedding, path, self.folder / self.manifest)
        compression = {"zlib": True, "complevel": 4, "shuffle": True}
        write_file(path, lambda file: data.to_netcdf(file, engine="h5netcdf", encoding={"embedding": compression}))
        return path


@dataclass(frozen=True)
class ZarrWriter:
    """Writes grids to ``<folder>/grids.zarr/<layer or nothing>/<id>``, one Zarr v3 store with a group for each item.

    Parameters
    ----------
    folder : Path
        Folder of the export.
    manifest : str
        Path of the manifest, relative to ``folder``.

    Raises
    ------
    ImportError
        Without zarr.
    """

    folder: Path
    manifest: str = MANIFEST

    def __post_init__(self) -> None:
        need_zarr()

    def write(self, embedding: Embedding) -> Path:
        """Write the grid of an embedding, whole or not at all, and return the folder of its group.

        Raises
        ------
        ValueError
            If there is no grid, the id cannot name a group, or one item would lie inside another.
        """
        path = item_path(self.folder / f"{GRIDS}{ZARR_SUFFIX}", embedding.id, embedding.layer, "")
        data = as_dataset(embedding, path, self.folder / self.manifest)
        make_room(path, embedding.id)
        depth, height, width = data["embedding"].shape
        chunks = (depth, min(height, _CHUNK), min(width, _CHUNK))
        write_folder(path, _as_zarr(data, chunks))
        return path


def make_room(path: Path, embedding_id: str) -> None:
    """Make the groups between a store and the group of an item.

    Raises
    ------
    ValueError
        If the id cannot name a group, or one item would lie inside another.
    """
    store = next(parent for parent in path.parents if parent.suffix == ZARR_SUFFIX and parent.stem == GRIDS)
    if any(part.startswith("__") for part in path.relative_to(store).parts):
        msg = f"The id {embedding_id!r} cannot name a Zarr group: names that begin with '__' are reserved."
        raise ValueError(msg)
    between = [parent for parent in path.parents if parent.is_relative_to(store)]
    inside = next((parent for parent in between if is_item(parent)), None)
    if inside is not None or (path.is_dir() and not is_item(path)):
        msg = (
            f"The id {embedding_id!r} and another one would lie inside each other in {store.name}. "
            "Use grid_format: geotiff, netcdf or npz, where they are two files."
        )
        raise ValueError(msg)
    for group in between:
        if not (group / _ZARR_NODE).is_file():
            node = {"zarr_format": 3, "node_type": "group", "attributes": {}}
            write_text(group / _ZARR_NODE, json.dumps(node, indent=2))


def _as_zarr(data: xr.Dataset, chunks: tuple[int, int, int]) -> dict[str, bytes]:
    """Return the files of a Zarr v3 group by their paths in it."""
    from zarr.storage import MemoryStore  # noqa: PLC0415

    made: dict[str, Buffer] = {}
    data.to_zarr(
        MemoryStore(made), mode="w", zarr_format=3, consolidated=False, encoding={"embedding": {"chunks": chunks}}
    )
    return {name: content.to_bytes() for name, content in made.items()}


def need_zarr() -> None:
    """Check that Zarr can be read and written.

    Raises
    ------
    ImportError
        If the package is not installed.
    """
    if importlib.util.find_spec("zarr") is None:
        msg = (
            "Zarr needs the package zarr >= 3: pip install 'thor-anysat-terratorch[zarr]'. Or use grid_format: geotiff."
        )
        raise ImportError(msg)


def is_item(group: Path) -> bool:
    """Tell whether a folder is the Zarr group of an item, not one between the store and the items."""
    return (group / ZARR_MARK).is_file()


def read_netcdf(path: Path, cells: Cells | None = None) -> StoredGrid:
    """Read a grid that :class:`NetcdfWriter` wrote, or some cells of it."""
    import xarray as xr  # noqa: PLC0415

    with xr.open_dataset(path, engine="h5netcdf") as data:
        return _of_dataset(data, cells)


def read_zarr(path: Path, cells: Cells | None = None) -> StoredGrid:
    """Read a grid that :class:`ZarrWriter` wrote, or some cells of it.

    Raises
    ------
    ImportError
        Without zarr.
    """
    need_zarr()
    import xarray as xr  # noqa: PLC0415

    with xr.open_zarr(path, consolidated=False, chunks=None) as data:
        return _of_dataset(data, cells)


def _of_dataset(data: xr.Dataset, cells: Cells | None) -> StoredGrid:
    if "embedding" not in data:
        return StoredGrid.of_somebody_else()
    mapping = data["spatial_ref"].attrs if "spatial_ref" in data.variables else {}
    numbers = str(mapping.get("GeoTransform", "")).split()
    transform = Affine.from_gdal(*map(float, numbers)) if numbers else None
    names = tuple(json.loads(data.attrs.get("names", "[]")))
    grid = data["embedding"]
    stored = (grid if cells is None else grid[:, *cells.slices]).values
    shape = grid.sizes["y"], grid.sizes["x"]
    return StoredGrid(stored, shape, None, transform, mapping.get("crs_wkt"), names, data.attrs)


def as_dataset(embedding: Embedding, path: Path, manifest: Path) -> xr.Dataset:
    """Return the grid of an embedding with coordinates and CF grid mapping, as it is stored at ``path``.

    Raises
    ------
    ValueError
        If there is no grid.
    """
    import xarray as xr  # noqa: PLC0415  (half a second that exports of GeoTIFF need not wait)

    grid = grid_of(embedding)
    crs = CRS.from_user_input(embedding.crs) if embedding.crs else None
    mapped: dict[str, Any] = {"_FillValue": np.float32(np.nan)}
    variables: dict[str, Any] = {"embedding": (("d", "y", "x"), grid, mapped)}
    if embedding.valid is not None:
        share = {"long_name": "share of observed pixels", "units": "1"}
        variables["valid"] = (("y", "x"), embedding.valid.astype(np.float32), share)
    coordinates: dict[str, Any] = {}
    if embedding.transform is not None:
        axes = _axis_attributes(crs)
        for name, values in cell_centres(embedding.transform, embedding.shape).items():
            coordinates[name] = ((name,) if values.ndim == 1 else ("y", "x"), values, axes[name[0]])
    if crs is not None or embedding.transform is not None:
        coordinates["spatial_ref"] = ((), np.int32(0), _grid_mapping(embedding, crs))
        mapped["grid_mapping"] = "spatial_ref"
    attributes = attributes_of(embedding, path, manifest, "float32")
    attributes |= {"names": json.dumps(band_names(embedding, len(grid)), ensure_ascii=False), "Conventions": "CF-1.11"}
    return xr.Dataset(variables, coordinates, attributes)


def _axis_attributes(crs: CRS | None) -> dict[str, dict[str, str]]:
    if crs is None:
        return {"x": {}, "y": {}}
    if crs.is_geographic:
        return {
            "x": {"standard_name": "longitude", "units": "degrees_east", "axis": "X"},
            "y": {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"},
        }
    unit = crs.axis_info[0].unit_name.replace("metre", "m") if crs.axis_info else "m"
    return {
        name: {"standard_name": f"projection_{name}_coordinate", "units": unit, "axis": name.upper()}
        for name in ("x", "y")
    }


def _grid_mapping(embedding: Embedding, crs: CRS | None) -> dict[str, Any]:
    """Return CF's description of the CRS, and GDAL's: its transform keeps every digit, coordinates need not."""
    described = {} if crs is None else {k: v for k, v in crs.to_cf().items() if not isinstance(v, dict)}
    if crs is not None:
        # The very text that came in, and its name in GDAL and rioxarray.
        described |= {"crs_wkt": str(embedding.crs), "spatial_ref": str(embedding.crs)}
    if embedding.transform is not None:
        t = embedding.transform
        described["GeoTransform"] = " ".join(repr(float(v)) for v in (t.c, t.a, t.b, t.f, t.d, t.e))
    return described
