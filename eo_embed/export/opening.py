"""Read an export back: pooled vectors as a table, grids as arrays on the map."""

from __future__ import annotations

import difflib
import functools
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyproj import CRS
from rasterio.errors import RasterioError

from eo_data.catalog.shards import SHARDS
from eo_data.raster.raster import shifted
from eo_embed.export.record.manifest import COMPLETE, Manifest
from eo_embed.reading.questions import Questions
from eo_embed.reading.vectors import chosen_layer
from eo_embed.writers.embedding import NO_CELLS, Cells, StoredGrid
from eo_embed.writers.formats import FORMATS, Format, format_of
from eo_embed.writers.geoparquet import part_files
from eo_embed.writers.layout import MANIFEST, PARTS, POOLED, cell_centres, parsed_attributes
from eo_embed.writers.quantise import Encoding

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    import xarray as xr

#: Suffix of tables of pooled vectors.
_TABLE = Path(POOLED).suffix
#: What the libraries of our formats raise for a damaged file; that of pyarrow is a ValueError.
_DAMAGED = (OSError, ValueError, KeyError, EOFError, RuntimeError, RasterioError, zipfile.BadZipFile, zlib.error)
#: What its `repr` counts.
_COUNTED = ("done", "skipped", "failed")
_AGAIN = "Run the export again: damaged files are made again."


@dataclass(frozen=True, eq=False)
class Export(Questions):
    """An export, or one file of it. Nothing but the manifest is read before it is asked for.

    Parameters
    ----------
    path : Path
        Folder of the export, or the file.
    manifest : dict
        Content of ``manifest.json``; empty for a file that lies in no export.
    """

    path: Path
    manifest: dict[str, Any]

    def __repr__(self) -> str:
        """Return where it is and what its manifest counts, which is as long as the export."""
        counts = [f"{count} {name}" for name, count in self.manifest.get("counts", {}).items() if name in _COUNTED]
        return f"Export({', '.join([repr(str(self.path)), *counts])})"

    @functools.cached_property
    def pooled(self) -> gpd.GeoDataFrame | None:
        """Pooled vectors, one row for each id and layer, in EPSG:4326; ``None`` if only grids were exported.

        Of an interrupted export, the rows of the finished batches.

        Raises
        ------
        ValueError
            If a table is of another kind, damaged, or has other rows than the manifest tells of.
        """
        import geopandas as gpd  # noqa: PLC0415  (a second that readers of grids need not wait)
        import pandas as pd  # noqa: PLC0415

        files = [self.path] if self.path.is_file() else [self.path / POOLED, *part_files(self.path)]
        tables = []
        for file in files:
            if file.suffix == _TABLE and file.is_file():
                with _damage_named(file):
                    tables.append(gpd.read_parquet(file))
        if not tables:
            return None
        rows = pd.concat(tables)
        if missing := [name for name in ("id", "layer") if name not in rows]:
            msg = (
                f"{self.path} is no export of embeddings: a table with the columns id, layer, embedding and geometry "
                f"is expected, {' and '.join(missing)} is not there (columns: {', '.join(map(str, rows.columns))})."
            )
            raise ValueError(msg)
        rows = rows.drop_duplicates(["id", "layer"], keep="last")
        self._refuse_other_rows(rows)
        return rows.sort_values(["id", "layer"], ignore_index=True)

    def _refuse_other_rows(self, rows: pd.DataFrame) -> None:
        """Raise an error if the table of a complete export has other rows than the manifest tells of."""
        file = self.path if self.path.is_file() else self.path / POOLED
        expected = self.manifest.get("written", {}).get(POOLED, {}).get("size")  # version 0.1 recorded none
        recorded = expected is not None and self.manifest.get("state") == COMPLETE and file.name == POOLED
        if not recorded or not file.is_file() or file.stat().st_size == expected:
            return
        found = set(zip(rows["id"], rows["layer"], strict=True))
        items = Manifest(file.parent, self.manifest).items()
        listed = {(item["id"], item["layer"]) for item in items if POOLED in item["files"]}
        if found != listed:
            msg = (
                f"{file} was changed: it has {len(found)} vectors, {MANIFEST} tells of {len(listed)}; "
                f"{len(listed - found)} are lost and {len(found - listed)} unknown. {_AGAIN}"
            )
            raise ValueError(msg)

    @functools.cached_property
    def grid_files(self) -> dict[tuple[str, str], tuple[Format, Path]]:
        """Format and file of each grid by id and layer, by their names: reading them all would take minutes."""
        single = format_of(self.path)
        if single is not None:
            return {_own_key(single, self.path): (single, self.path)}
        if self.path.is_file():
            return {}
        found: dict[tuple[str, str], tuple[Format, Path]] = {}
        for form in FORMATS.values():
            root = self.path if form.is_store(self.path) else self.path / form.root
            files = form.grids_below(root)
            # Either all files of an export lie in folders of layers, or none.
            layered = bool(files and _own_key(form, files[0])[1])
            found |= {form.id_and_layer(file, root, layered=layered): (form, file) for file in files}
        return found

    @functools.cached_property
    def ids(self) -> tuple[str, ...]:
        """Ids of all samples, sorted."""
        pooled = [] if self.pooled is None else self.pooled["id"].tolist()
        return tuple(sorted({*pooled, *(key[0] for key in self.grid_files)}))

    @functools.cached_property
    def failures(self) -> dict[str, str]:
        """Reason by id of the samples that could not be exported."""
        return {entry["id"]: entry["reason"] for entry in self.manifest["failures"]}

    @functools.cached_property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, sorted; one empty name if there was only one."""
        pooled = [] if self.pooled is None else self.pooled["layer"].tolist()
        return tuple(sorted({*pooled, *(key[1] for key in self.grid_files)}))

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
            If there is no such grid, or its file is damaged.
        """
        layers = sorted({known for _, known in self.grid_files})
        wanted = layers[0] if not layer and len(layers) == 1 else layer
        if (id, wanted) not in self.grid_files and (tile := self._tiles.get((id, wanted))) is not None:
            return self._cut_out(tile, wanted)
        return _as_array(_read(*self._file_of(id, wanted)))

    def _file_of(self, id: str, layer: str) -> tuple[Format, Path]:  # noqa: A002
        """Return format and file of a grid, or raise an error that names those that are there."""
        found = self.grid_files.get((id, layer))
        if found is None:
            layers = sorted({known for _, known in self.grid_files})
            known = [name for name, _ in self.grid_files]
            nearest = ", ".join(difflib.get_close_matches(id, known, 3)) or ", ".join(sorted(known)[:3]) or "none"
            msg = (
                f"{self.path} has no grid of id {id!r} and layer {layer!r}. It has {len(self.grid_files)} grids; "
                f"nearest ids: {nearest}; layers: {', '.join(map(repr, layers)) or 'none'}."
            )
            raise ValueError(msg)
        return found

    @functools.cached_property
    def _tiles(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Entries of the tiles whose cells lie in the grid of their raster, by id and layer."""
        items = Manifest(self.path, self.manifest).items() if self.manifest.get("inputs") else iter(())
        return {(item["id"], item["layer"]): item for item in items if "cells" in item}

    def _cut_out(self, tile: dict[str, Any], layer: str) -> xr.DataArray:
        """Return the cells of a tile out of the grid of its raster, of which no more is read than the format must."""
        cells = Cells(*tile["cells"])
        stored = _read(*self._file_of(tile["raster_id"], layer), cells)
        place = None if stored.transform is None else shifted(stored.transform, cells.left, cells.top)
        own = _as_array(replace(stored, transform=place))
        own.attrs |= {"id": tile["id"], "dates": tuple(tile["dates"]), "valid_fraction": tile["valid_fraction"]}
        return own

    def grids_of(self, layer: str = "") -> dict[str, Callable[[], xr.DataArray]]:
        """Return by id what reads the grids of a layer, sorted; the layer may be left out where there is only one."""
        wanted = chosen_layer(self.layers, layer)
        names = (name for name, known in sorted(self.grid_files) if known == wanted)
        return {name: functools.partial(self.grid, name, wanted) for name in names}


def open_embeddings(path: str | Path, *, allow_incomplete: bool = False) -> Export:
    """Open an export folder, its Zarr store, or one file of it (GeoTIFF, GeoParquet, NetCDF, npz, Zarr group).

    Parameters
    ----------
    path : str or Path
        Folder or file.
    allow_incomplete : bool
        Whether a folder may be opened whose export is still running or was interrupted.

    Raises
    ------
    ValueError
        If there is no export at ``path``, or it is incomplete.
    """
    path = Path(path)
    if path.is_file() or format_of(path) or any(form.is_store(path) for form in FORMATS.values()):
        return _open_single(path)
    manifest = _manifest(path)
    if manifest is None:
        what = "is no folder or file" if not path.exists() else f"holds no {MANIFEST}"
        if (path / SHARDS).is_dir():
            what = f"holds shards only. Make the whole of them: python -m eo_embed.merge {path}"
        msg = f"Expected the folder of an export or one of its files; {path} {what}."
        raise ValueError(msg)
    state = manifest.get("state")
    if state != COMPLETE and not allow_incomplete:
        msg = (
            f"The export in {path} is incomplete (state {state!r}): it is still running, or was interrupted. Run the "
            "same command again to finish it, or pass allow_incomplete=True."
        )
        raise ValueError(msg)
    return Export(path, manifest)


def _open_single(path: Path) -> Export:
    """Open one file or store with the manifest of the export that it lies in, if there is one."""
    if path.is_file() and path.suffix != _TABLE and format_of(path) is None:
        files = ", ".join(form.suffix for form in FORMATS.values() if not form.in_store)
        stores = " or ".join(f"a {form.name} store" for form in FORMATS.values() if form.in_store)
        msg = f"Expected {files}, {_TABLE} or {stores}, got {path}. Open the folder that holds {MANIFEST}."
        raise ValueError(msg)
    path = path.absolute()
    parts_of_exports = {PARTS, *(form.root for form in FORMATS.values())}
    inside = (folder.parent for folder in (path, *path.parents) if folder.name in parts_of_exports)
    manifests = (_manifest(folder) for folder in (path.parent, *inside))
    return Export(path, next((found for found in manifests if found is not None), {}))


def _manifest(folder: Path) -> dict[str, Any] | None:
    """Content of the manifest in a folder; ``None`` if there is none."""
    file = folder / MANIFEST
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        msg = f"{file} is no JSON ({error}). Export again with overwrite: true."
        raise ValueError(msg) from error
    return dict(content)


def _own_key(form: Format, file: Path) -> tuple[str, str]:
    """Id and layer that a grid states itself."""
    own = parsed_attributes(_read(form, file, NO_CELLS).attributes)
    return str(own["id"]), str(own["layer"])


def _read(form: Format, file: Path, cells: Cells | None = None) -> StoredGrid:
    with _damage_named(file):
        return form.reader(file, cells)


@contextmanager
def _damage_named(file: Path) -> Iterator[None]:
    """Say of errors of the libraries which file they are about, and what to do."""
    try:
        yield
    except _DAMAGED as error:
        msg = f"{file} cannot be read, as it is damaged or of another kind ({error or type(error).__name__}). {_AGAIN}"
        raise ValueError(msg) from error


def _as_array(stored: StoredGrid) -> xr.DataArray:
    import xarray as xr  # noqa: PLC0415

    attributes = parsed_attributes(stored.attributes)
    values = Encoding.named(str(attributes["quantisation"])).decode(stored.array, stored.scale)
    coordinates: dict[str, Any] = {"band": ("d", list(stored.names))}
    if stored.transform is not None:
        for name, places in cell_centres(stored.transform, (values.shape[1], values.shape[2])).items():
            coordinates[name] = ((name,) if places.ndim == 1 else ("y", "x"), places)
    crs = CRS.from_user_input(stored.crs).to_wkt() if stored.crs else None
    attributes |= {"crs": crs, "transform": stored.transform}
    return xr.DataArray(values, coordinates, ("d", "y", "x"), "embedding", attributes)
