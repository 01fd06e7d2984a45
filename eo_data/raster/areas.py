"""How much of each cell of a grid a geometry covers."""

from __future__ import annotations

import math

import numpy as np
import shapely
from affine import Affine
from shapely.affinity import affine_transform
from shapely.geometry.base import BaseGeometry


def covered_area(geometry: BaseGeometry, transform: Affine, shape: tuple[int, int]) -> np.ndarray:
    """Return the share of each cell that a geometry covers, by exact intersection.

    Parameters
    ----------
    geometry : shapely geometry
        Polygons in the CRS of the grid; of lines and points, which have no area, the shares are 0.
    transform : affine.Affine
        From (column, row) of the cells to map coordinates; it may be rotated.
    shape : tuple of int
        Rows and columns.

    Returns
    -------
    ndarray, (h, w), float64
        0 to 1. The sum, times the area of a cell, is the area of the geometry within the grid.

    Raises
    ------
    ValueError
        If the geometry is not valid or cells have no area.
    """
    if not shapely.is_valid(geometry):
        msg = f"The geometry is not valid: {shapely.is_valid_reason(geometry)}. Repair it first (shapely.make_valid)."
        raise ValueError(msg)
    if not transform.determinant:
        msg = f"Cells of the transform {tuple(transform)[:6]} have no area."
        raise ValueError(msg)
    height, width = shape
    shares = np.zeros(shape, dtype=np.float64)
    # Counted in cells, in which an affine map keeps all shares of areas, every cell is a square of area 1.
    own = ~transform
    cells = affine_transform(geometry, [own.a, own.b, own.d, own.e, own.c, own.f])
    for row, strip in _strips(cells, height):
        west, _, east, _ = strip.bounds
        columns = np.arange(max(0, math.floor(west)), min(width, math.ceil(east)))
        boxes = shapely.box(columns, row, columns + 1, row + 1)
        shares[row, columns] = shapely.area(shapely.intersection(boxes, strip))
    return np.clip(shares, 0, 1)


def _strips(cells: BaseGeometry, height: int) -> list[tuple[int, BaseGeometry]]:
    """The part of a geometry in each row that it touches, so that a cell meets few of its corners."""
    if cells.is_empty:
        return []
    west, north, east, south = cells.bounds
    rows = np.arange(max(0, math.floor(north)), min(height, math.ceil(south)))
    strips = shapely.intersection(shapely.box(west - 1, rows, east + 1, rows + 1), cells)
    return [(int(row), strip) for row, strip in zip(rows, strips, strict=True) if not strip.is_empty]
