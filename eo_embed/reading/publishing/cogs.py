"""An export as an export of COGs in another dtype, of other length or of fewer numbers; `open_embeddings` opens it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.errors import RasterioError
from rasterio.io import DatasetWriter
from rasterio.windows import Window

from eo_core.files import atomic_path, partial_path, remove_partial
from eo_core.fingerprint import fingerprint
from eo_data.raster.geotiff_output import GeotiffInParts
from eo_embed.export.opening import Export
from eo_embed.export.record.manifest import STAC_FIELDS, Manifest, read_manifest
from eo_embed.reading.publishing.change import Change
from eo_embed.reading.publishing.grids import ExportedGrid
from eo_embed.writers.embedding import Embedding
from eo_embed.writers.formats import FORMATS
from eo_embed.writers.layout import MANIFEST, attributes_of
from eo_embed.writers.quantise import Encoding, band_scale, largest_of_bands

#: Side of the squares that are read and written at once, in cells; and sides of the internal tiles, small ones of small
#: grids, as each band of each tile is unpacked whole.
_SIDE, _TILES = 256, (128, 256, 512)
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
    scale = _scale(grid, change) if encoding.dtype == "int8" else None
    names = change.names(grid.names)
    tags = {**_tags(grid, out, target, encoding), _MADE_OF: made_of}

    def fill(file: DatasetWriter) -> None:
        file.descriptions = names
        if scale is not None:
            file.scales, file.offsets = scale, np.zeros(len(names))
        file.update_tags(**tags)

    work = partial_path(out)
    try:
        with GeotiffInParts(work, _profile(grid, encoding, len(names)), fill) as parts:
            for cells in grid.blocks(_SIDE):
                values = change.apply(grid.read(cells))
                window = Window(cells.left, cells.top, cells.width, cells.height)
                parts.write(encoding.encode(values, scale).array, window)
        with atomic_path(out, lambda partial: _expect_same(work, partial, out)) as partial:
            _copy(work, partial, _options(grid, encoding))
    finally:
        remove_partial(work)
    return out, True


def _scale(grid: ExportedGrid, change: Change) -> np.ndarray:
    """Return the scale of each band over all of a grid."""
    largest = [largest_of_bands(change.apply(grid.read(cells))) for cells in grid.blocks(_SIDE)]
    return band_scale(np.max(largest, axis=0))


def _tags(grid: ExportedGrid, out: Path, target: Path, encoding: Encoding) -> dict[str, str]:
    said = Embedding(
        grid.id, grid.layer, np.zeros(1, np.float32), dates=tuple(date.fromisoformat(day) for day in grid.dates),
        sources=grid.sources, valid_fraction=grid.valid_fraction,
    )  # fmt: skip
    return attributes_of(said, out, target / MANIFEST, encoding.dtype)


def _profile(grid: ExportedGrid, encoding: Encoding, depth: int) -> dict[str, Any]:
    return {
        "driver": "GTiff",
        "count": depth,
        "height": grid.place.height,
        "width": grid.place.width,
        "dtype": encoding.storage,
        "nodata": encoding.nodata,
        "crs": grid.place.crs,
        "transform": grid.place.transform,
        "tiled": True,
        "blockxsize": _SIDE,
        "blockysize": _SIDE,
        "interleave": "band",
        "BIGTIFF": "IF_SAFER",
    }


def _options(grid: ExportedGrid, encoding: Encoding) -> dict[str, Any]:
    side = max(grid.place.height, grid.place.width)
    return {
        "BLOCKSIZE": next((tile for tile in _TILES if tile >= side), _TILES[-1]),
        "INTERLEAVE": "TILE",
        "COMPRESS": "ZSTD",
        "PREDICTOR": 3 if encoding.dtype == "float32" else 2,
        "BIGTIFF": "IF_SAFER",
        "OVERVIEWS": "AUTO",
        # A mean of AlphaEarth's numbers is not the number of the mean.
        "OVERVIEW_RESAMPLING": "NEAREST" if encoding.dtype == "int8_alphaearth" else "AVERAGE",
    }


def _copy(work: Path, partial: Path, options: Mapping[str, Any]) -> None:
    try:
        rasterio.shutil.copy(work, partial, driver="COG", **options)
    except RasterioError as error:
        msg = f"GDAL could not make a COG of {work}: {error}. Is the disk full?"
        raise OSError(msg) from error


def _expect_same(work: Path, partial: Path, out: Path) -> None:
    """Compare a COG with the file that it was made of."""
    with rasterio.open(work) as expected, rasterio.open(partial) as found:
        for top in range(0, expected.height, _SIDE):
            for left in range(0, expected.width, _SIDE):
                size = min(_SIDE, expected.width - left), min(_SIDE, expected.height - top)
                sums = {zlib.crc32(file.read(window=Window(left, top, *size))) for file in (expected, found)}
                if len(sums) > 1:
                    msg = f"{out} does not hold what was written, from row {top}, column {left} on. Is the disk full?"
                    raise OSError(msg)


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
