"""One embedding on its way to a file, and one grid on its way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

import numpy as np
from affine import Affine


@dataclass(frozen=True, eq=False)
class Embedding:
    """What one sample, and one layer of the encoder, gave.

    Parameters
    ----------
    id : str
        Id of the sample; may hold ``/``, as it is the relative path of its files.
    layer : str
        Name of the layer such as ``layer_11``; empty if only one is exported.
    pooled : ndarray or None
        Float32 ``(D,)``.
    grid : ndarray or None
        Float32 ``(D, h, w)``, NaN in cells where the input had no data.
    valid : ndarray or None
        Float32 ``(h, w)``: share of each cell's pixels that were observed, 0..1.
    transform : affine.Affine or None
        From (column, row) of the grid's cells to map coordinates, exact.
    crs : str or None
        WKT.
    shape : tuple of int
        Rows and columns of the grid that ``transform`` belongs to, also where ``grid`` is ``None``.
    dates : tuple of date
        Acquisition dates of the input, may be empty.
    sources : tuple of str
        Files of the input.
    valid_fraction : float
        Share of observed pixels of the sample, 0..1.
    names : tuple of str
        What the D values are, for band descriptions; may be empty.
    """

    id: str
    layer: str = ""
    pooled: np.ndarray | None = None
    grid: np.ndarray | None = None
    valid: np.ndarray | None = None
    transform: Affine | None = None
    crs: str | None = None
    shape: tuple[int, int] = (1, 1)
    dates: tuple[date, ...] = ()
    sources: tuple[str, ...] = ()
    valid_fraction: float = 1.0
    names: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        """Check the shapes.

        Raises
        ------
        ValueError
            If there is nothing to write, or shapes do not fit together.
        """
        if self.pooled is None and self.grid is None:
            msg = f"{self.id}: an embedding needs a pooled vector or a grid."
            raise ValueError(msg)
        if self.pooled is not None and (self.pooled.ndim != 1 or self.pooled.dtype != np.float32):
            msg = f"{self.id}: pooled must be float32 (D,), got {self.pooled.dtype} {self.pooled.shape}."
            raise ValueError(msg)
        if self.grid is None:
            return
        if self.grid.ndim != 3 or self.grid.dtype != np.float32 or self.grid.shape[1:] != self.shape:
            msg = f"{self.id}: grid must be float32 (D, *{self.shape}), got {self.grid.dtype} {self.grid.shape}."
            raise ValueError(msg)
        if self.valid is not None and self.valid.shape != self.shape:
            msg = f"{self.id}: valid must have the shape of the grid, {self.shape}, got {self.valid.shape}."
            raise ValueError(msg)

    @property
    def corners(self) -> tuple[tuple[float, float], ...] | None:
        """Map coordinates of the four outer corners of the grid, from the upper left clockwise."""
        if self.transform is None:
            return None
        rows, columns = self.shape
        t = self.transform
        return tuple(
            (t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f)
            for x, y in ((0, 0), (columns, 0), (columns, rows), (0, rows))
        )


class Cells(NamedTuple):
    """A window of a grid: its first row and column, and how many there are."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


#: No cell: a reader returns all but the numbers.
NO_CELLS = Cells(0, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class StoredGrid:
    """One grid as its file holds it, or a window of it; without attributes the file is not one of ours.

    Parameters
    ----------
    array : ndarray
        ``(D, h, w)`` as stored, quantised or not: the cells that were asked for.
    shape : tuple of int
        Rows and columns of the whole grid.
    scale : ndarray or None
        Float64 ``(D,)`` where each band has a scale.
    transform : affine.Affine or None
        From (column, row) of the whole grid's cells to map coordinates.
    crs : str or None
        WKT.
    names : tuple of str
        What the D values are.
    attributes : mapping
        What the file says of itself, as `eo_embed.writers.layout.attributes_of` wrote it.
    """

    array: np.ndarray
    shape: tuple[int, int] = (0, 0)
    scale: np.ndarray | None = None
    transform: Affine | None = None
    crs: str | None = None
    names: tuple[str, ...] = ()
    attributes: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of_somebody_else(cls) -> StoredGrid:
        """Return what a file that holds no embedding amounts to."""
        return cls(np.empty(0))
