"""From the features of a batch to the items of an export: one for each sample and layer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from eo_data.catalog.hrefs import Href
from eo_data.dataset.sample_grid import SampleGrid
from eo_data.raster.georeference import ROUNDING
from eo_embed.export.flow.transfer import OwnCells
from eo_embed.export.record.failures import NOTHING_OBSERVED
from eo_embed.export.settings import ExportSettings
from eo_embed.writers.embedding import Embedding
from eo_embed.writers.layout import band_names
from eo_embed.writers.quantise import of_length_one
from eo_embed.writers.rasters.work import PLANES, Part, Whole


class RasterPlace(NamedTuple):
    """Where the cells of a tile lie: first row and column, rows and columns of the raster, and its transform."""

    row: int
    column: int
    shape: tuple[int, int]
    transform: tuple[float, ...]


class Around(NamedTuple):
    """The cells of a tile and those around it that are blended, ``(D, h, w)`` with NaN where there is nothing to blend.

    ``row`` and ``column`` are the first in the raster.
    """

    values: np.ndarray
    row: int
    column: int
    plane: int


@dataclass(frozen=True, eq=False)
class Item:
    """One sample and layer on its way to its files.

    Parameters
    ----------
    embedding : Embedding
        The values and their place, as they are written.
    sample : SampleGrid
        Where the sample lies, and which of its pixels were observed.
    dimensions : int
        Numbers in a vector.
    gsd : float
        Side of a grid cell in metres; 0 if unknown.
    place : RasterPlace or None
        Of a tile that has a grid: where its cells lie in that of its raster.
    around : Around or None
        Of a tile that is blended with those around it.
    """

    embedding: Embedding
    sample: SampleGrid
    dimensions: int
    gsd: float
    place: RasterPlace | None = None
    around: Around | None = None

    @property
    def cells(self) -> int:
        """Number of grid cells that are written."""
        return 0 if self.embedding.grid is None else int(np.prod(self.embedding.shape))

    @property
    def fault(self) -> str:
        """Why the values cannot be written; empty if they can. Cells in which nothing was observed have none."""
        own = self.embedding
        if not own.valid_fraction:
            return NOTHING_OBSERVED
        cells = None if own.grid is None or own.valid is None else own.grid[:, own.valid > 0]
        for values, what in ((own.pooled, "vector"), (cells, "grid")):
            if values is not None and not np.isfinite(values).all():
                layer = f" of {own.layer}" if own.layer else ""
                return (
                    f"the encoder's {what}{layer} is not finite ({int((~np.isfinite(values)).sum())} of {values.size} "
                    "numbers are NaN or infinite). Check the weights and the pixels, and run with precision: 32-true."
                )
        return ""

    def whole(self, settings: ExportSettings) -> Whole | None:
        """Return the grid of the raster that a tile is of, where it is to be stored; ``None`` without a place."""
        own, place = self.embedding, self.place
        if place is None or own.grid is None or own.crs is None:
            return None
        shape = (len(own.grid), *place.shape)
        names = band_names(own, len(own.grid))
        whole = Whole(self.sample.raster_id, own.layer, shape, settings.dtype, place.transform, own.crs, names)
        return whole if self.around is None else replace(whole, planes=PLANES, unit=settings.l2_normalise)

    def entry(self, files: Sequence[str], part: Part | None = None) -> dict[str, Any]:
        """Return what the ledger and the manifest hold of the item, with its files relative to the export's folder."""
        own = self.embedding
        return {
            "id": own.id,
            "layer": own.layer,
            "files": list(files),
            **_made_of(self.sample, own),
            "dates": [day.isoformat() for day in own.dates],
            "valid_fraction": own.valid_fraction,
            "raster_id": self.sample.raster_id,
            "image_hw": list(self.sample.valid.shape),
            "grid_hw": list(own.shape),
            "area_m2": round(self.sample.area, 1),
            **({} if part is None or self.place is None else self._stored(part, self.place)),
            **({"notes": list(self.sample.notes)} if self.sample.notes else {}),
        }

    def _stored(self, part: Part, place: RasterPlace) -> dict[str, Any]:
        cells = [place.row, place.column, *self.embedding.shape]
        return {"cells": cells, **part.entry(), "dimensions": self.dimensions}


def _made_of(sample: SampleGrid, own: Embedding) -> dict[str, Any]:
    """Return the state of the files that a sample was made of, or their names if the data module does not tell."""
    return {"sources": list(own.sources)} if sample.inputs is None else {"inputs": sample.inputs}


def items_of(layer: str, features: OwnCells, samples: Sequence[SampleGrid], settings: ExportSettings) -> Iterator[Item]:
    """Yield the items of one layer of a batch.

    Parameters
    ----------
    layer : str
        Name of the layer.
    features : OwnCells
        What that layer gave for the samples, on the CPU.
    samples : sequence of SampleGrid
        The samples of the batch, in order.
    settings : ExportSettings
        What is exported.

    Raises
    ------
    ValueError
        If grids are wanted of tokens that form none.
    """
    tokens, shape = features.tokens, features.shape
    if settings.writes_grids and shape is None:
        msg = (
            f"The backbone's tokens {tuple(tokens.tokens.shape)} form no grid. Export output: pooled, or use "
            "an input whose size its patches divide."
        )
        raise ValueError(msg)
    vectors = _as_numpy(tokens.pooled(settings.pooling)) if settings.writes_vectors else None
    grids = features.grids
    for i, sample in enumerate(samples):
        vector, grid = None if vectors is None else vectors[i], None if shape is None else _as_numpy(grids[i])
        dimensions = tokens.tokens.shape[-1] if grid is None else len(grid)
        own = None if grid is None or shape is None else grid[:, *_inside(sample, shape)]
        embedding = _embedding(sample, layer, vector, own, shape or (1, 1), settings)
        gsd = 0.0 if grid is None else (sample.area / int(np.prod(embedding.shape))) ** 0.5
        place = None if embedding.grid is None or shape is None else _place(sample, shape, embedding.shape)
        around = None
        if sample.blended is not None and place is not None and grid is not None and shape is not None:
            around = _around(sample, grid, shape, place, settings)
        yield Item(embedding, sample, dimensions, gsd, place, around)


def _inside(sample: SampleGrid, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Return which of the cells that are kept a sample stands for."""
    rows, columns = (
        slice(own.start - kept.start, own.stop - kept.start)
        for own, kept in zip(sample.cells(shape), sample.kept_cells(shape), strict=True)
    )
    return rows, columns


def _around(
    sample: SampleGrid, grid: np.ndarray, whole: tuple[int, int], place: RasterPlace, settings: ExportSettings
) -> Around:
    """Return what of a tile is blended."""
    kept = sample.kept_cells(whole)
    covered = sample.covered_share(whole, kept)
    shown = np.isfinite(grid).all(axis=0) & (sample.valid_share(whole)[kept] > 0)
    if covered is not None:
        shown &= covered[kept] > 0
    values = of_length_one(grid) if settings.l2_normalise else grid
    blended = np.where(shown, values, np.float32(np.nan)).astype(np.float32)
    rows, columns = _inside(sample, whole)
    return Around(blended, place.row - rows.start, place.column - columns.start, sample.plane)


def with_names(sample: SampleGrid, root: Path | None, *, absolute: bool) -> SampleGrid:
    """Return a sample whose files are named as manifest, tables and tags shall name them.

    Parameters
    ----------
    sample : SampleGrid
        The sample.
    root : Path or None
        Folder of the data set.
    absolute : bool
        Whether names tell where they are, not only from the root on.
    """
    if not absolute:
        sources = tuple(Href(source).relative(root) for source in sample.sources)
        return sample if sources == sample.sources else replace(sample, sources=sources)
    if root is None or sample.inputs is None:
        return sample
    places = {file["path"]: root.absolute() / file["path"] for file in sample.inputs["files"]}
    files = [
        file | ({"path": places[file["path"]].as_posix()} if places[file["path"]].exists() else {})
        for file in sample.inputs["files"]
    ]
    return replace(sample, inputs={**sample.inputs, "files": files})


def _place(sample: SampleGrid, cells: tuple[int, int], shape: tuple[int, int]) -> RasterPlace | None:
    """Return where the cells of a tile lie in its raster.

    Raises
    ------
    ValueError
        If they lie on no cells of the raster.
    """
    if sample.raster is None or sample.raster_core is None or sample.raster.transform is None:
        return None
    top, left, bottom, right = sample.raster_core
    sides = (bottom - top, right - left)
    pixels = [side / ((sample.core[axis + 2] - sample.core[axis]) * cells[axis]) for axis, side in enumerate(sides)]
    first = [start / side for start, side in zip((top, left), pixels, strict=True)]
    row, column = map(round, first)
    if max(abs(first[0] - row), abs(first[1] - column)) > ROUNDING:
        msg = (
            f"{sample.id}: the cells of this tile, of {pixels[0]:g} x {pixels[1]:g} pixels, begin at pixel ({top}, "
            f"{left}) of {sample.raster_id}, between the cells of other tiles, so that they make no raster. Choose a "
            "tile and a tile_align that are multiples of a cell, or grid_format: npz, which has a file for each tile."
        )
        raise ValueError(msg)
    whole = sample.raster.height, sample.raster.width
    rows, columns = (math.ceil(size / side - ROUNDING) for size, side in zip(whole, pixels, strict=True))
    t = sample.raster.transform
    numbers = (t.a * pixels[1], t.b * pixels[0], t.c, t.d * pixels[1], t.e * pixels[0], t.f)
    # Each tile tells it from its own corner, to the last digit but one or two.
    rounded = tuple(float(f"{value:.14g}") for value in numbers)
    return RasterPlace(row, column, (max(rows, row + shape[0]), max(columns, column + shape[1])), rounded)


def _embedding(
    sample: SampleGrid,
    layer: str,
    pooled: np.ndarray | None,
    grid: np.ndarray | None,
    whole: tuple[int, int],
    settings: ExportSettings,
) -> Embedding:
    """Return the part of a sample that it stands for, of a grid of ``whole`` cells; no values where nothing was seen.

    ``grid`` is that part.
    """
    covered = sample.covered_share(whole)
    rows, columns = sample.cells(whole)
    share = sample.valid_share(whole)[rows, columns]
    if settings.pooling != "cls":
        if covered is not None:
            pooled = pooled_over(_needed(sample, grid), covered[rows, columns], share, settings.pooling)
        elif _is_of_core(sample, grid) and pooled is not None:
            pooled = pooled_over(_needed(sample, grid), share, share, settings.pooling)
    if covered is not None and not sample.raster_id:  # what the region touches; a tile keeps its place in its raster
        rows, columns = _window(covered)
        share, grid = share[rows, columns], None if grid is None else grid[:, rows, columns]
    if settings.l2_normalise:
        pooled = None if pooled is None else of_length_one(pooled)
        grid = None if grid is None else of_length_one(grid)
    wanted = grid if settings.writes_grids else None
    if wanted is not None and settings.format.needs_place:
        _check_place(sample, settings.grid_format)
    if wanted is not None:
        shown = share > 0 if covered is None else (share > 0) & (covered[rows, columns] > 0)
        wanted = np.where(shown, wanted, np.float32(np.nan)).astype(np.float32)
    return Embedding(
        sample.id,
        layer,
        None if pooled is None or not settings.writes_vectors else pooled.astype(np.float32),
        wanted,
        share if covered is None else np.where(covered[rows, columns] > 0, share, 0).astype(np.float32),
        sample.of_cells(whole, (rows.start, columns.start)),
        sample.crs,
        share.shape,
        sample.dates,
        sample.sources,
        float(sample.valid[sample.cells(sample.valid.shape)].mean())
        if covered is None
        else _weighted(sample.valid_share(whole), covered),
    )


def _is_of_core(sample: SampleGrid, grid: np.ndarray | None) -> bool:
    """Whether the vector of a sample is over the cells that it stands for: of tiles, so that their parts agree."""
    return bool(sample.raster_id) and (grid is not None or sample.core != (0.0, 0.0, 1.0, 1.0))


def pooled_over(grid: np.ndarray, covered: np.ndarray, observed: np.ndarray, how: str) -> np.ndarray:
    """Return the vector of a region: over its cells in which something was observed.

    Parameters
    ----------
    grid : ndarray, (D, h, w)
        The cells.
    covered : ndarray, (h, w)
        Share of each cell that the region covers.
    observed : ndarray, (h, w)
        Share of each cell's pixels that were observed.
    how : {'mean', 'max'}
        The mean is weighted by the covered area.

    Returns
    -------
    ndarray
        ``(D,)``; NaN if nothing of the region was observed.
    """
    weights = np.where(observed > 0, covered, 0.0)
    if not weights.any():
        return np.full(len(grid), np.nan, dtype=np.float32)
    cells = grid[:, weights > 0].astype(np.float64)
    return cells.max(axis=1) if how == "max" else np.average(cells, axis=1, weights=weights[weights > 0])


def _weighted(observed: np.ndarray, covered: np.ndarray) -> float:
    return float(np.average(observed, weights=covered)) if covered.any() else 0.0


def _window(covered: np.ndarray) -> tuple[slice, slice]:
    """Return the rows and columns that a region touches."""
    rows, columns = (np.flatnonzero(covered.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return slice(0, covered.shape[0]), slice(0, covered.shape[1])
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _needed(sample: SampleGrid, grid: np.ndarray | None) -> np.ndarray:
    if grid is None:
        msg = (
            f"The vector of {sample.id} is over the cells of a region or tile, but the backbone's tokens form no "
            "grid. Use pooling: cls, an input whose size its patches divide, or a square around a point."
        )
        raise ValueError(msg)
    return grid


def _check_place(sample: SampleGrid, grid_format: str) -> None:
    """Refuse a grid that could not be put on a map.

    Raises
    ------
    ValueError
        With what is missing, and what to do.
    """
    if sample.transform is not None and sample.crs is not None:
        return
    if sample.transform is None:
        fault = "no affine transform"
        remedy = "Georeference the files"
    else:
        fault = "an affine transform but no CRS"
        remedy = "State crs in the source of the modality"
    msg = (
        f"{sample.id} has {fault}, so that its grid of embeddings has no place on a map, as {grid_format} needs. "
        f"{remedy}; or export output: pooled, or grids in grid_format: npz, which holds arrays only."
    )
    raise ValueError(msg)


def _as_numpy(values: torch.Tensor) -> np.ndarray:
    return values.detach().float().cpu().numpy()
