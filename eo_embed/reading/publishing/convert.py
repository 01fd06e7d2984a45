"""A finished export in another form: ``eo convert EXPORT OUT --to zarr``."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np

from eo_core.arguments import one_of
from eo_core.files import make_folder, remove_partials
from eo_core.fingerprint import fingerprint
from eo_embed.export.opening import Export, open_embeddings
from eo_embed.reading.publishing.change import Basis, Change, fit_basis
from eo_embed.reading.publishing.grids import ExportedGrid, grids_of
from eo_embed.reading.publishing.told import Told
from eo_embed.reading.vectors import Vectors, chosen_layer, rows_of_layer
from eo_embed.writers.layout import PARTS, POOLED
from eo_embed.writers.quantise import DType, Encoding

if TYPE_CHECKING:
    import geopandas as gpd

Form = Literal["cog", "parquet", "zarr"]
FORMS: tuple[Form, ...] = get_args(Form)
#: File of the principal components.
BASIS = "pca.npz"
#: Dtype of each form if none is stated.
_DTYPE = {"cog": "float32", "parquet": "float32", "zarr": "int8"}


@dataclass(frozen=True)
class Conversion:
    """What is made of an export.

    Parameters
    ----------
    to : {'cog', 'parquet', 'zarr'}
        Cloud-optimised GeoTIFFs and vectors; one GeoParquet file in the order of a Hilbert curve; one Zarr store of the
        embeddings convention for each CRS.
    dtype : str
        How numbers are stored; empty for that of the form (int8 in Zarr, else float32).
    unit_length : bool
        Whether vectors are scaled to length one.
    components : int
        Principal components that vectors are reduced to; 0 leaves them.
    seed : int
        Of the cells that the components are fitted on.
    layer : str
        One of the export's; may be empty where there is only one.
    ids : str
        Pattern of the items that are taken, such as ``2024/*``; empty for all.
    overlap : {'refuse', 'first'}
        In Zarr: what happens to cells that several items of one year have.
    shards : bool
        In Zarr: whether many chunks lie in one file.
    group : int
        In GeoParquet: rows of a row group; 0 for about 128 MB.
    model : str
        Address of the encoder.
    sources : tuple of str
        Addresses of the data sets.

    Raises
    ------
    ValueError
        For another form, or a negative number.
    """

    to: Form
    dtype: str = ""
    unit_length: bool = False
    components: int = 0
    seed: int = 0
    layer: str = ""
    ids: str = ""
    overlap: str = field(default="refuse")
    shards: bool = True
    group: int = 0
    model: str = ""
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        one_of("to", self.to, FORMS)
        if self.components < 0 or self.seed < 0:
            msg = f"components and seed must be at least 0, got {self.components} and {self.seed}."
            raise ValueError(msg)

    @property
    def stored(self) -> str:
        """How numbers are stored."""
        return self.dtype or _DTYPE[self.to]

    def facts(self) -> dict[str, Any]:
        """Return what changes the numbers."""
        names = ("to", "unit_length", "components", "seed", "layer", "ids")
        return {"dtype": self.stored} | {name: value for name, value in asdict(self).items() if name in names}


@dataclass(frozen=True, eq=False)
class Source:
    """What of an export is converted.

    Parameters
    ----------
    export : Export
        The whole.
    layer : str
        Of grids and rows.
    grids : list of ExportedGrid
        May be empty.
    rows : GeoDataFrame or None
        Pooled vectors.
    change : Change
        What is done to the vectors.
    """

    export: Export
    layer: str
    grids: list[ExportedGrid]
    rows: gpd.GeoDataFrame | None
    change: Change


def convert(folder: str | Path, out: str | Path, conversion: Conversion) -> list[tuple[Path, bool]]:
    """Write a finished export in another form.

    Parameters
    ----------
    folder : str or Path
        Of the export; it stays as it is.
    out : str or Path
        Another folder. What of it is there already, and was made the same way, stays.
    conversion : Conversion
        What is made.

    Returns
    -------
    list of (Path, bool)
        What lies in ``out``, and whether it was written now.

    Raises
    ------
    ValueError
        If there is no finished export, it holds nothing of the kind, or the form cannot hold it.
    OSError
        If something cannot be written.
    """
    export, target = open_embeddings(folder), Path(out)
    if not export.manifest:
        msg = f"{folder} is one file. Give the folder of the export, which says what it is."
        raise ValueError(msg)
    if target.resolve() == Path(folder).resolve():
        msg = f"{out} is the export itself. Give another folder."
        raise ValueError(msg)
    make_folder(target)
    remove_partials(target)
    source = _source(export, conversion)
    made_of = fingerprint({"export": export.manifest["fingerprint"], **conversion.facts()})
    told = Told.of(export.manifest, conversion.model, conversion.sources)
    if conversion.to == "zarr":
        return _to_zarr(source, target, conversion, told, made_of)
    if conversion.to == "parquet":
        return _to_parquet(source, target, conversion, told, made_of)
    return _to_cogs(source, target, conversion, told, made_of)


def _source(export: Export, conversion: Conversion) -> Source:
    layer = chosen_layer(export.layers, conversion.layer)
    grids = [grid for grid in grids_of(export, layer) if _wanted(grid.id, conversion)]
    rows = None if export.pooled is None else rows_of_layer(export.pooled, layer, export.path)
    if rows is not None:
        rows = rows[[_wanted(name, conversion) for name in rows["id"]]].reset_index(drop=True)
    if not grids and (rows is None or not len(rows)):
        msg = f"No item of {export.path} matches ids {conversion.ids!r}; it has {len(export.ids)}: {export.ids[:3]} ..."
        raise ValueError(msg)
    basis = _basis(grids, rows, conversion) if conversion.components else None
    return Source(export, layer, grids, rows, Change(basis, conversion.unit_length))


def _wanted(name: str, conversion: Conversion) -> bool:
    return not conversion.ids or fnmatchcase(name, conversion.ids)


def _basis(grids: Sequence[ExportedGrid], rows: gpd.GeoDataFrame | None, conversion: Conversion) -> Basis:
    vectors = None if grids or rows is None else Vectors.of(rows).rows(slice(None))
    return fit_basis(grids, None if vectors is None else np.asarray(vectors), conversion.components, conversion.seed)


def _to_zarr(source: Source, target: Path, conversion: Conversion, told: Told, made_of: str) -> list[tuple[Path, bool]]:
    from eo_embed.reading.publishing.geoemb import StoreSettings, write_store  # noqa: PLC0415
    from eo_embed.reading.publishing.lattice import lattices_of  # noqa: PLC0415

    if not source.grids:
        msg = f"{source.export.path} holds no grids. Export output: grid or both, or convert to parquet."
        raise ValueError(msg)
    settings = StoreSettings(conversion.stored, conversion.overlap, conversion.shards)  # type: ignore[arg-type]
    beside, basis = _write_basis(source, target)
    lattices = lattices_of(source.grids)
    return [
        write_store(target, one, settings, source.change, told, {"made_of": made_of, **basis}) for one in lattices
    ] + beside


def _to_parquet(
    source: Source, target: Path, conversion: Conversion, told: Told, made_of: str
) -> list[tuple[Path, bool]]:
    from eo_embed.reading.publishing.vectors import TableSettings, write_table  # noqa: PLC0415

    table = source.export.path / POOLED
    if source.rows is None or not table.is_file():
        msg = f"{source.export.path} holds no vectors. Export output: pooled or both, or convert to cog or zarr."
        raise ValueError(msg)
    settings = TableSettings(conversion.stored, group=conversion.group)  # type: ignore[arg-type]
    beside, basis = _write_basis(source, target)
    says = {"made_of": fingerprint({"made_of": made_of, "group": conversion.group}), **asdict(told), **basis}
    out = target / POOLED
    return [write_table(table, out, source.layer, conversion.ids, settings, source.change, says), *beside]


def _to_cogs(source: Source, target: Path, conversion: Conversion, told: Told, made_of: str) -> list[tuple[Path, bool]]:
    from eo_embed.reading.publishing import cogs  # noqa: PLC0415
    from eo_embed.reading.publishing.vectors import TableSettings, write_table  # noqa: PLC0415

    encoding = Encoding(cast("DType", conversion.stored))
    depth = source.change.depth(source.grids[0].depth if source.grids else Vectors.of(_needed(source)).width)
    manifest = cogs.manifest_of(target, source.export, conversion.facts(), cogs.stac_of(encoding, depth))
    beside, basis = _write_basis(source, target)
    try:
        made = [cogs.write_cog(grid, target, encoding, source.change, made_of) for grid in source.grids]
    finally:
        shutil.rmtree(target / PARTS, ignore_errors=True)
    table = source.export.path / POOLED
    if source.rows is not None and table.is_file():
        settings, says = TableSettings(order="id"), {"made_of": made_of, **asdict(told), **basis}
        out = target / POOLED
        made.append(write_table(table, out, source.layer, conversion.ids, settings, source.change, says))
    if not manifest.is_complete:
        manifest.content |= basis
        files = cogs.files_of(target, source.grids)
        cogs.complete(manifest, source.export, files, source.layer, POOLED if (target / POOLED).is_file() else "")
    return [*made, *beside]


def _needed(source: Source) -> gpd.GeoDataFrame:
    if source.rows is None:
        msg = f"{source.export.path} holds no grids and no vectors."
        raise ValueError(msg)
    return source.rows


def _write_basis(source: Source, target: Path) -> tuple[list[tuple[Path, bool]], dict[str, Any]]:
    """Write the components beside what is made with them; return the file, and what is told of it."""
    if source.change.basis is None:
        return [], {}
    path = target / BASIS
    before = path.read_bytes() if path.is_file() else b""
    source.change.basis.write(path)
    return [(path, path.read_bytes() != before)], {"pca": source.change.basis.told(path)}
