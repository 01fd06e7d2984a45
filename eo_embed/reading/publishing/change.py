"""What may be done to vectors on their way out: fewer numbers, and length one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eo_core.files import write_file
from eo_core.fingerprint import sha256_of_file
from eo_embed.pictures.projection import fit_projection
from eo_embed.reading.publishing.grids import ExportedGrid

#: Numbers that the sample for the analysis may hold: 256 MB of float32.
SAMPLE_VALUES = 1 << 26
#: Vectors that are shorter stay as they are.
_SHORTEST = 1e-12


@dataclass(frozen=True, eq=False)
class Basis:
    """Principal components of an export's vectors: ``stored = axes @ (vector - mean)``.

    Parameters
    ----------
    mean : ndarray
        Float64 ``(D,)``.
    axes : ndarray
        Float64 ``(k, D)``, rows of length one; of each the entry of largest magnitude is positive.
    explained : ndarray
        Float64 ``(k,)``: share of the variance.
    vectors : int
        How many it was fitted on.
    """

    mean: np.ndarray
    axes: np.ndarray
    explained: np.ndarray
    vectors: int

    def write(self, path: Path) -> None:
        """Write mean, axes and explained variance to an npz file."""
        write_file(path, lambda file: np.savez(file, mean=self.mean, axes=self.axes, explained=self.explained))

    def told(self, path: Path) -> dict[str, Any]:
        """Return what a manifest tells of the file."""
        return {
            "file": path.name,
            "sha256": sha256_of_file(path),
            "components": len(self.axes),
            "vectors": self.vectors,
            "explained_variance": round(float(self.explained.sum()), 6),
            "formula": "stored = axes @ (vector - mean)",
        }


@dataclass(frozen=True, eq=False)
class Change:
    """What is done to each vector, in this order: components, then length one.

    Parameters
    ----------
    basis : Basis or None
        Principal components; ``None`` leaves the numbers as they are.
    unit_length : bool
        Whether what comes out has length one.
    """

    basis: Basis | None = None
    unit_length: bool = False

    def depth(self, depth: int) -> int:
        """Return how many numbers come out of vectors of ``depth`` numbers."""
        return depth if self.basis is None else len(self.basis.axes)

    def names(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return what the numbers are that come out."""
        if self.basis is None:
            return tuple(names)
        return tuple(f"pc{i:03d}" for i in range(len(self.basis.axes)))

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """Return float32 ``(k, ...)`` of float32 ``(D, ...)``; NaN stays."""
        if self.basis is not None:
            flat = vectors.reshape(len(vectors), -1) - self.basis.mean[:, None]
            vectors = (self.basis.axes @ flat).astype(np.float32).reshape(-1, *vectors.shape[1:])
        if self.unit_length:
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=0), _SHORTEST)
        return vectors.astype(np.float32, copy=False)


def fit_basis(grids: Sequence[ExportedGrid], vectors: np.ndarray | None, components: int, seed: int = 0) -> Basis:
    """Return the principal components of a sample of cells, or of vectors where there are no grids.

    Parameters
    ----------
    grids : sequence of ExportedGrid
        All of one width.
    vectors : ndarray or None
        Float32 ``(n, D)``, used without grids.
    components : int
        How many.
    seed : int
        Of the sample; the same one gives the same basis.

    Raises
    ------
    ValueError
        If vectors differ in width, or there are fewer numbers or vectors than components.
    """
    depths = sorted({grid.depth for grid in grids}) or ([vectors.shape[1]] if vectors is not None else [])
    if len(depths) != 1 or not 1 <= components <= depths[0]:
        widths = " and ".join(map(str, depths)) or "no"
        msg = f"{components} components need vectors of one width of at least {components}; there are {widths} numbers."
        raise ValueError(msg)
    rng = np.random.default_rng(seed)
    if grids:
        sample = np.concatenate(list(_sampled(grids, max(SAMPLE_VALUES // depths[0], components + 1), rng)))
    else:
        known = np.empty((0, depths[0]), np.float32) if vectors is None else vectors
        sample = known[np.isfinite(known).all(axis=1)]
    if len(sample) <= components:
        msg = f"{components} components need more than {components} vectors with data, got {len(sample)}."
        raise ValueError(msg)
    found = fit_projection(sample, components)
    return Basis(found.mean, found.axes, found.explained, len(sample))


def _sampled(grids: Iterable[ExportedGrid], most: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield vectors ``(n, D)`` with data of cells that are drawn without regard to their values."""
    listed = list(grids)
    count = sum(grid.place.height * grid.place.width for grid in listed)
    share = min(1.0, most / count)
    for grid in listed:
        for cells in grid.blocks():
            chosen = rng.random(cells.height * cells.width) < share
            if chosen.any():
                flat = grid.read(cells).reshape(grid.depth, -1)[:, chosen]
                yield flat[:, np.isfinite(flat).all(axis=0)].T
