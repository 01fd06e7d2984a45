"""Read an export back: pooled vectors as a table, grids as arrays on the map."""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from affine import Affine
from pyproj import CRS

from eo_core.files import PARTIAL
from eo_embed.writers.cubes import is_item, need_zarr
from eo_embed.writers.geoparquet import part_files
from eo_embed.writers.layout import GRIDS, MANIFEST, PARTS, POOLED, ZARR_STORE, cell_centres, parsed_attributes
from eo_embed.writers.quantise import Encoding

if TYPE_CHECKING:
    import geopandas as gpd
    import xarray as xr

_COMPLETE = "complete"


@dataclass(frozen=True)
class _Stored:
    """One grid as its file holds it."""

    array: np.ndarray
    scale: np.ndarray | None
    transform: Affine | None
    crs: str | None
    names: tuple[str, ...]
    attributes: Mapping[str, object]


@dataclass(frozen=True, eq=False)
class Export:
    """An export, or one file of it. Nothing but the manifest is read before it is asked for.

    Parameters
    ----------
    path : Path
        Folder of the export, or the file.
    manifest : dict
        Content of ``manifest.json``; empty for a file that has lost it.
    """

    path: Path
    manifest: dict[str, Any]

    @functools.cached_property
    def pooled(self) -> gpd.GeoDataFrame | None:
        """Pooled vectors, one row for each id and layer, in EPSG:4326; ``None`` if only grids were exported.

        Of an export that was broken off, the rows of the finished batches.

        Raises
        ------
        ValueError
            If a table is of another kind.
        """
        import geopandas as gpd  # noqa: PLC0415  (a second that readers of grids need not wait)
        import pandas as pd  # noqa: PLC0415

        files = [self.path] if self.path.is_file() else [self.path / POOLED, *part_files(self.path)]
        tables = [gpd.read_parquet(file) for file in files if file.suffix == ".parquet" and file.is_file()]
        if not tables:
            return None
        rows = pd.concat(tables)
        if lacking := [name for name in ("id", "layer") if name not in rows]:
            msg = (
                f"{self.path} is no export of embeddings: a table with the columns id, layer, embedding and geometry "
                f"is expected, {' and '.join(lacking)} is not there (columns: {', '.join(map(str, rows.columns))})."
            )
            raise ValueError(msg)
        rows = rows.drop_duplicates(["id", "layer"], keep="last")
        return rows.sort_values(["id", "layer"], ignore_index=True)

    @functools.cached_property
    def _grids(self) -> dict[tuple[str, str], Path]:
        """Files of the grids by id and layer, by their names: reading them all would take minutes."""
        if self.path.is_file() or is_item(self.path):
            if self.path.suffix == ".parquet":
                return {}
            own = parsed_attributes(_read(self.path).attributes)
            return {(str(own["id"]), str(own["layer"])): self.path}
        found: dict[tuple[str, str], Path] = {}
        store = self.path if self.path.suffix == ".zarr" else self.path / ZARR_STORE
        for root, files in ((self.path / GRIDS, _grid_files(self.path / GRIDS)), (store, _zarr_items(store))):
            if not files:
                continue
            # Either all files of an export lie in folders of layers, or none.
            layered = bool(parsed_attributes(_read(files[0]).attributes)["layer"])
            for file in files:
                parts = file.relative_to(root).parts
                name = "/".join(parts[1:] if layered else parts)
                suffix = file.suffix if file.is_file() else ""
                found[name.removesuffix(suffix), parts[0] if layered else ""] = file
        return found

    @functools.cached_property
    def ids(self) -> tuple[str, ...]:
        """Ids of all samples, sorted."""
        pooled = [] if self.pooled is None else self.pooled["id"].tolist()
        return tuple(sorted({*pooled, *(key[0] for key in self._grids)}))

    @functools.cached_property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, sorted; one empty name if there was only one."""
        pooled = [] if self.pooled is None else self.pooled["layer"].tolist()
        return tuple(sorted({*pooled, *(key[1] for key in self._grids)}))

    def grid(self, id: str, layer: str = "") -> xr.DataArray:  # noqa: A002  (the word of every export's column)
        """Return a grid, de-quantised.

        Parameters
        ----------
        id : str
            One of ``ids``.
        layer : str
            One of ``layers``; may be left out where there is only one.

        Returns
        -------
        xarray.DataArray
            Float32 ``(d, y, x)``, NaN is no-data. Coordinates: ``band`` (names), and with a georeference ``x`` and
            ``y``, map coordinates of the cell centres (``xc`` and ``yc`` on both axes if rotated). Attributes:
            ``crs`` (WKT or ``None``), ``transform`` (affine.Affine or ``None``), ``id``, ``layer``, ``dates``,
            ``sources``, ``valid_fraction``, ``quantisation``.

        Raises
        ------
        ValueError
            If there is no such grid.
        """
        layers = sorted({known for _, known in self._grids})
        wanted = layers[0] if not layer and len(layers) == 1 else layer
        file = self._grids.get((id, wanted))
        if file is None:
            known = [name for name, _ in self._grids]
            nearest = ", ".join(difflib.get_close_matches(id, known, 3)) or ", ".join(sorted(known)[:3]) or "none"
            msg = (
                f"{self.path} has no grid of id {id!r} and layer {layer!r}. It has {len(self._grids)} grids; nearest "
                f"ids: {nearest}; layers: {', '.join(map(repr, layers)) or 'none'}."
            )
            raise ValueError(msg)
        return _as_array(_read(file))


def open_embeddings(path: str | Path, *, allow_incomplete: bool = False) -> Export:
    """Open an export folder, its Zarr store, or one file of it (GeoTIFF, GeoParquet, NetCDF, npz, Zarr group).

    Parameters
    ----------
    path : str or Path
        Folder or file.
    allow_incomplete : bool
        Whether a folder may be opened whose export runs or was broken off.

    Raises
    ------
    ValueError
        If there is no export at ``path``, or it is incomplete.
    """
    path = Path(path)
    if path.is_file() or path.suffix == ".zarr" or is_item(path):
        return _open_single(path)
    manifest = _manifest(path)
    if manifest is None:
        what = "is no folder or file" if not path.exists() else f"holds no {MANIFEST}"
        msg = f"Expected the folder of an export or one of its files; {path} {what}."
        raise ValueError(msg)
    state = manifest.get("state")
    if state != _COMPLETE and not allow_incomplete:
        msg = (
            f"The export in {path} is incomplete (state {state!r}): it still runs, or was broken off. Run the same "
            "command again to finish it, or pass allow_incomplete=True."
        )
        raise ValueError(msg)
    return Export(path, manifest)


def _open_single(path: Path) -> Export:
    known = path.is_dir() or path.suffix in {".parquet", *_READERS}
    if not known:
        msg = f"Expected {', '.join(_READERS)}, .parquet or Zarr, got {path}. Open the folder that holds {MANIFEST}."
        raise ValueError(msg)
    path = path.absolute()
    inside = (folder.parent for folder in (path, *path.parents) if folder.name in {GRIDS, ZARR_STORE, PARTS})
    manifests = (_manifest(folder) for folder in (path.parent, *inside))
    return Export(path, next((found for found in manifests if found is not None), {}))


def _manifest(folder: Path) -> dict[str, Any] | None:
    file = folder / MANIFEST
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        msg = f"{file} is no JSON ({error}). Export again with overwrite: true."
        raise ValueError(msg) from error
    return dict(content)


def _grid_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix in _READERS and not p.name.startswith(PARTIAL))


def _zarr_items(store: Path) -> list[Path]:
    items = (node.parent.parent for node in store.rglob("embedding/zarr.json"))
    return sorted(p for p in items if not any(part.startswith(PARTIAL) for part in p.parts))


def _read(path: Path) -> _Stored:
    return _read_zarr(path) if path.is_dir() else _READERS[path.suffix](path)


def _read_tiff(path: Path) -> _Stored:
    with rasterio.open(path) as file:
        placed = file.crs is not None or not file.transform.is_identity
        return _Stored(
            file.read(),
            np.array(file.scales) if file.dtypes[0] == "int8" else None,
            file.transform if placed else None,
            file.crs.to_wkt() if file.crs else None,
            tuple(str(name) for name in file.descriptions),
            file.tags(),
        )


def _read_npz(path: Path) -> _Stored:
    with np.load(path) as file:
        if "embedding" not in file:
            return _Stored(np.empty(0), None, None, None, (), {})
        texts = {name: str(file[name]) for name in file.files if file[name].dtype.kind == "U" and not file[name].ndim}
        transform = Affine(*file["transform"]) if "transform" in file else None
        names = tuple(file["names"].tolist())
        return _Stored(file["embedding"], None, transform, texts.get("crs"), names, texts)


def _read_netcdf(path: Path) -> _Stored:
    import xarray as xr  # noqa: PLC0415

    with xr.open_dataset(path, engine="h5netcdf") as data:
        return _of_dataset(data)


def _read_zarr(path: Path) -> _Stored:
    need_zarr()
    import xarray as xr  # noqa: PLC0415

    with xr.open_zarr(path, consolidated=False, chunks=None) as data:
        return _of_dataset(data)


def _of_dataset(data: xr.Dataset) -> _Stored:
    if "embedding" not in data:
        return _Stored(np.empty(0), None, None, None, (), {})
    mapping = data["spatial_ref"].attrs if "spatial_ref" in data.variables else {}
    numbers = str(mapping.get("GeoTransform", "")).split()
    transform = Affine.from_gdal(*map(float, numbers)) if numbers else None
    names = tuple(json.loads(data.attrs.get("names", "[]")))
    return _Stored(data["embedding"].values, None, transform, mapping.get("crs_wkt"), names, data.attrs)


_READERS: dict[str, Callable[[Path], _Stored]] = {".tif": _read_tiff, ".npz": _read_npz, ".nc": _read_netcdf}


def _as_array(stored: _Stored) -> xr.DataArray:
    import xarray as xr  # noqa: PLC0415

    attributes = parsed_attributes(stored.attributes)
    values = Encoding(str(attributes["quantisation"])).decode(stored.array, stored.scale)
    coordinates: dict[str, Any] = {"band": ("d", list(stored.names))}
    if stored.transform is not None:
        for name, places in cell_centres(stored.transform, (values.shape[1], values.shape[2])).items():
            coordinates[name] = ((name,) if places.ndim == 1 else ("y", "x"), places)
    crs = CRS.from_user_input(stored.crs).to_wkt() if stored.crs else None
    attributes |= {"crs": crs, "transform": stored.transform}
    return xr.DataArray(values, coordinates, ("d", "y", "x"), "embedding", attributes)
