"""Shares of cells that an area covers, exact."""

from __future__ import annotations

import math

import numpy as np
import shapely
from affine import Affine
from shapely.geometry.base import BaseGeometry


def covered_area(geometry: BaseGeometry, transform: Affine, shape: tuple[int, int]) -> np.ndarray:
    """Return the share of each cell of a grid that an area covers, float64 ``(h, w)``, 0..1.

    Parameters
    ----------
    geometry : Polygon or MultiPolygon
        In the CRS of the grid.
    transform : affine.Affine
        From (column, row) to map coordinates.
    shape : tuple of int
        Rows and columns.
    """
    found = np.zeros(shape)
    in_cells = shapely.transform(geometry, lambda xy: _columns_and_rows(~transform, xy))
    left, top, right, bottom = in_cells.bounds
    rows = slice(max(0, math.floor(top)), min(shape[0], math.ceil(bottom)))
    columns = slice(max(0, math.floor(left)), min(shape[1], math.ceil(right)))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return found
    shapely.prepare(in_cells)
    y, x = np.mgrid[rows, columns]
    cells = shapely.box(x, y, x + 1, y + 1)
    shares = shapely.contains_properly(in_cells, cells).astype(np.float64)
    edge = shapely.intersects(in_cells, cells) & (shares == 0)
    shares[edge] = shapely.area(shapely.intersection(in_cells, cells[edge]))
    found[rows, columns] = shares
    return found


def outlines(transform: Affine, window: tuple[slice, slice]) -> np.ndarray:
    """Return the outlines of the cells of a window, as polygons ``(h, w)`` in map coordinates."""
    y, x = np.mgrid[window]
    corners = np.stack([np.stack([x + dx, y + dy], axis=-1) for dx, dy in ((0, 0), (1, 0), (1, 1), (0, 1))], axis=-2)
    return np.asarray(shapely.polygons(_columns_and_rows(transform, corners)))


def _columns_and_rows(transform: Affine, xy: np.ndarray) -> np.ndarray:
    x, y = xy[..., 0], xy[..., 1]
    t = transform
    return np.stack([t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f], axis=-1)
