"""A grid for what has none of its own: pixels in the local UTM zone, or as the config states them."""

from __future__ import annotations

import math

import numpy as np
from affine import Affine
from pyproj import CRS, Transformer

from eo_data.catalog.sources import ImageSource
from eo_data.raster.georeference import PixelGrid
from eo_data.raster.local_crs import local_crs
from eo_data.readers.grids.regrid import wkt_of


def crs_around(longitudes: np.ndarray, latitudes: np.ndarray) -> str:
    """Return the UTM zone of the middle of some points, or UPS towards the poles, as ``EPSG:...``.

    Parameters
    ----------
    longitudes, latitudes : ndarray, (N,)
        Degrees on WGS 84.
    """
    # The mean of the directions is a place also where they lie on both sides of the date line.
    angles = np.radians(longitudes)
    middle = math.degrees(math.atan2(float(np.sin(angles).mean()), float(np.cos(angles).mean())))
    return f"EPSG:{local_crs(middle, float(np.mean(latitudes)))}"


def grid_over(
    longitudes: np.ndarray, latitudes: np.ndarray, pixel_size: float, source: ImageSource | None
) -> PixelGrid:
    """Return a grid over points.

    Its lines are multiples of the pixel size, so that the grids of two passes fit.

    Parameters
    ----------
    longitudes, latitudes : ndarray, (N,)
        Degrees on WGS 84, of centres of pixels that reach to the border.
    pixel_size : float
        Metres, where the source states none.
    source : ImageSource or None
        ``crs`` and ``resample_to`` of the grid, if it states them.

    Returns
    -------
    PixelGrid
        North up, with a pixel around the points.

    Raises
    ------
    ValueError
        If the stated CRS cannot be read or does not reach the points, or is in degrees and no size is stated.
    """
    stated = source.crs if source is not None else None
    wkt = wkt_of(stated or crs_around(longitudes, latitudes))
    crs = CRS.from_wkt(wkt)
    size = source.resample_to if source is not None else None
    if size is None and crs.is_geographic:
        msg = f"crs is {stated}, in degrees, and the size of its pixels is not stated. State resample_to, in degrees."
        raise ValueError(msg)
    size = size or pixel_size
    x, y = (
        np.asarray(axis) for axis in Transformer.from_crs(4326, crs, always_xy=True).transform(longitudes, latitudes)
    )
    spread = float(np.ptp(x)) if np.isfinite(x).all() and np.isfinite(y).all() else math.inf
    if not math.isfinite(spread) or (crs.is_geographic and spread > 180):
        msg = (
            f"crs is {stated}, which does not hold it in one piece: it reaches over the date line, or over the border "
            "of the projection. State another crs, or none for the local UTM zone."
        )
        raise ValueError(msg)
    left, right = (math.floor(float(x.min()) / size) - 1) * size, (math.ceil(float(x.max()) / size) + 1) * size
    bottom, top = (math.floor(float(y.min()) / size) - 1) * size, (math.ceil(float(y.max()) / size) + 1) * size
    transform = Affine(size, 0.0, left, 0.0, -size, top)
    return PixelGrid(round((top - bottom) / size), round((right - left) / size), transform, wkt)
