"""Grids as NumPy archives, for small jobs. They keep float32."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine

from eo_core.files import write_file
from eo_embed.writers.embedding import Cells, Embedding, StoredGrid
from eo_embed.writers.layout import GRIDS, MANIFEST, attributes_of, band_names, cell_centres, grid_of, item_path

SUFFIX = ".npz"


@dataclass(frozen=True)
class NpzWriter:
    """Writes grids to ``<folder>/grids/<layer or nothing>/<id>.npz``.

    Arrays: ``embedding`` float32 (d, y, x) with NaN as no-data; with a transform also ``transform`` (a, b, c, d, e,
    f), and ``x`` and ``y`` of the cell centres (``xc`` and ``yc`` of two axes if rotated); ``crs`` (WKT); ``valid``
    (y, x), the observed share of each cell; ``names`` of the bands; and as texts what the other formats have as
    attributes.

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
        path = item_path(self.folder / GRIDS, embedding.id, embedding.layer, SUFFIX)
        grid = grid_of(embedding)
        arrays: dict[str, Any] = {"embedding": grid, "names": np.array(band_names(embedding, len(grid)))}
        if embedding.transform is not None:
            arrays["transform"] = np.array(embedding.transform[:6], np.float64)
            arrays |= cell_centres(embedding.transform, embedding.shape)
        if embedding.crs:
            arrays["crs"] = embedding.crs
        if embedding.valid is not None:
            arrays["valid"] = embedding.valid
        arrays |= attributes_of(embedding, path, self.folder / self.manifest, "float32")
        write_file(path, lambda file: np.savez_compressed(file, **arrays))
        return path


def read_npz(path: Path, cells: Cells | None = None) -> StoredGrid:
    """Read a grid that :class:`NpzWriter` wrote, or some cells of it; the whole array is unpacked in any case."""
    with np.load(path) as file:
        if "embedding" not in file:
            return StoredGrid.of_somebody_else()
        texts = {name: str(file[name]) for name in file.files if file[name].dtype.kind == "U" and not file[name].ndim}
        transform = Affine(*file["transform"]) if "transform" in file else None
        grid, names = file["embedding"], tuple(file["names"].tolist())
        stored = grid if cells is None else grid[:, *cells.slices]
        return StoredGrid(stored, grid.shape[1:], None, transform, texts.get("crs"), names, texts)
