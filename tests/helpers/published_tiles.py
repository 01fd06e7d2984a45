"""Tiles whose vectors and places are known."""

from __future__ import annotations

import numpy as np

#: 10 m cells in UTM zone 33 N; the corner of the first tile.
LEFT, TOP, CELL = 399_960.0, 5_300_040.0, 10.0


def values(top: int, left: int, height: int = 20, width: int = 20, depth: int = 6) -> np.ndarray:
    """Vectors by the place of their cell, so that each place has its own; one band is large, one small."""
    rows, columns = np.mgrid[top : top + height, left : left + width].astype(np.float64)
    weights = np.array([1.0, 0.5, 5.0, 0.01, -2.0, 0.3])[:depth, None, None]
    bands = np.arange(depth)[:, None, None]
    grid = weights * (np.sin(rows / 7 + bands) + np.cos(columns / (5 + bands)) + bands / depth)
    return grid.astype(np.float32)
