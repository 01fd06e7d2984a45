"""An export as an export of COGs in another dtype, of other length or of fewer numbers; `open_embeddings` opens it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import rasterio

from eo_core.fingerprint import fingerprint
from eo_embed.export.opening import Export
from eo_embed.export.record.manifest import STAC_FIELDS, Manifest, read_manifest
from eo_embed.reading.publishing.change import Change
from eo_embed.reading.publishing.grids import BLOCK_VALUES, ExportedGrid
from eo_embed.writers.formats import FORMATS
from eo_embed.writers.layout import MANIFEST, tags_of
from eo_embed.writers.quantise import Encoding
from eo_embed.writers.rasters import cog
from eo_embed.writers.rasters.work import Whole, WorkFile

#: Sides of the squares that are read and written at once, in cells.
_SIDES = (256, 128, 64, 32, 16)
#: ZSTD's level: what is published is written once and loaded often.
_LEVEL = 9
_MADE_OF = "made_of"


def manifest_of(target: Path, export: Export, facts: Mapping[str, Any], stac: Mapping[str, Any]) -> Manifest:
    """Begin the manifest of a converted export, or go on with the one that is there.

    Parameters
    ----------
    target : Path
        Its folder.
    export : Export
        The one that is converted.
    facts : mapping
        How it is converted.
    stac : mapping
        Fields of the STAC embedding extension that differ from those of the export.

    Raises
    ------
    ValueError
        If the folder holds another export, or files that are none of ours.
    """
    told = export.manifest
    own = {**told["facts"], "conversion": {"of": told["fingerprint"], **facts}}
    if (target / MANIFEST).is_file():
        there = read_manifest(target)
        if there.fingerprint == fingerprint(own):
            return there
        msg = f"{target} holds another export. Give another folder."
        raise ValueError(msg)
    if others := sorted(path.name for path in target.iterdir()):
        msg = f"{target} holds other files: {', '.join(others[:5])}. Give a new or empty folder."
        raise ValueError(msg)
    fields = {name: told[name] for name in STAC_FIELDS if name in told and name != "emb:quantization"}
    provenance = {name: value for name, value in told["provenance"].items() if name not in ("software", "start", "end")}
    provenance["export"] = {name: told["provenance"].get(name) for name in ("software", "start", "end")}
    return Manifest.create(target, own, provenance, {**fields, **stac}, told.get("data_set"))


def complete(manifest: Manifest, export: Export, files: Mapping[str, str], layer: str, table: str) -> None:
    """Write the manifest of a converted export whose files are all there.

    Parameters
    ----------
    manifest : Manifest
        From `manifest_of`.
    export : Export
        The one that was converted.
    files : mapping
        File of each grid, relative to the folder, by the id of its item.
    layer : str
        Which entries are taken.
    table : str
        Name of the table of vectors; empty if there is none.
    """
    entries = list(_entries(export, files, layer, table))
    told = export.manifest
    manifest.complete({**told.get("counts", {}), "done": len(entries)}, entries, told.get("failures", []))


def _entries(export: Export, files: Mapping[str, str], layer: str, table: str) -> Iterator[dict[str, Any]]:
    """Yield what a manifest holds of each item, with the files that it has now."""
    rows = set() if not table or export.pooled is None else set(export.pooled["id"])
    for entry in Manifest(export.path, export.manifest).items():
        grid = files.get(entry["id"]) or files.get(entry.get("raster_id", ""))
        own = [*([grid] if grid else []), *([table] if entry["id"] in rows else [])]
        if own and entry["layer"] == layer:
            kept = {name: value for name, value in entry.items() if name not in ("written", "files")}
            yield {**kept, "files": own}


def path_of(target: Path, grid: ExportedGrid) -> Path:
    """Return where the COG of a grid goes."""
    return FORMATS["geotiff"].path(target, grid.id, grid.layer)


def write_cog(grid: ExportedGrid, target: Path, encoding: Encoding, change: Change, made_of: str) -> tuple[Path, bool]:
    """Write a grid as a COG, whole or not at all, part by part; one that is there and was made the same way stays.

    Parameters
    ----------
    grid : ExportedGrid
        The grid.
    target : Path
        Folder of the converted export.
    encoding : Encoding
        How numbers are stored; ``int8`` has a scale for each band, over the whole grid.
    change : Change
        What is done to the vectors.
    made_of : str
        Fingerprint of all that the file is made of.

    Returns
    -------
    Path, bool
        The file, and whether it was written now.

    Raises
    ------
    ValueError
        If the encoding cannot hold the values.
    OSError
        If the file cannot be written, or does not hold afterwards what was written.
    """
    out = path_of(target, grid)
    if out.is_file():
        with rasterio.open(out) as file:
            if file.tags().get(_MADE_OF) == made_of:
                return out, False
    tags = tags_of(
        id=grid.id,
        layer=grid.layer,
        dates=grid.dates,
        sources=grid.sources,
        valid_fraction=grid.valid_fraction,
        dtype=encoding.dtype,
        manifest=target / MANIFEST,
        path=out,
    )
    work = WorkFile(target, grid.id, grid.layer)
    work.remove()
    try:
        work.begin(_whole(grid, encoding, change))
        for cells in grid.blocks(_side(grid.depth)):
            work.write(change.apply(grid.read(cells)), cells.top, cells.left)
        cog.write_cog(work, out, {**tags, _MADE_OF: made_of}, level=_LEVEL)
    finally:
        work.remove()
    return out, True


def _whole(grid: ExportedGrid, encoding: Encoding, change: Change) -> Whole:
    place, names = grid.place, change.names(grid.names)
    if place.transform is None or place.crs is None:
        msg = f"{grid.path} has no transform or no CRS, so it has no place on a map. Georeference the files."
        raise ValueError(msg)
    shape = (len(names), place.height, place.width)
    return Whole(grid.id, grid.layer, shape, encoding.dtype, tuple(place.transform[:6]), place.crs, names)


def _side(depth: int) -> int:
    """Return the side of the squares that are read at once: that of a file's tiles, or less where vectors are long."""
    return next((side for side in _SIDES if depth * side**2 <= BLOCK_VALUES), _SIDES[-1])


def stac_of(encoding: Encoding, depth: int) -> dict[str, Any]:
    """Return the fields of the STAC embedding extension that an encoding changes."""
    method = encoding.quantization_method
    told: dict[str, Any] = {"data_type": encoding.storage, "emb:dimensions": depth}
    if method:
        told["emb:quantization"] = {
            "method": method, "original_dtype": "float32", "quantized_dtype": encoding.storage,
        }  # fmt: skip
    return told


def files_of(target: Path, grids: Sequence[ExportedGrid]) -> dict[str, str]:
    """Return the file of each grid, relative to the folder."""
    return {grid.id: path_of(target, grid).relative_to(target).as_posix() for grid in grids}
