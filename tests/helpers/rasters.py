"""Rasters with a place, and where their pixels lie on the map."""

from __future__ import annotations

import numpy as np
from affine import Affine

from eo_data.raster.raster import Raster


def plain_raster(pixels: np.ndarray, transform: Affine | None = None) -> Raster:
    pixels = pixels.astype(np.float32)
    return Raster(pixels, np.ones(pixels.shape[-2:], bool), transform, None)


def located(transform: Affine, columns: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    t = transform
    return t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f
