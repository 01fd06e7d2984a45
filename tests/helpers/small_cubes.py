"""Cubes as xarray holds them, on the grid of 10 m that `write_tif` uses, and how tools write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray
from pyproj import CRS

LEFT, TOP = 500000.0, 5000000.0
NAMES = ("B02", "B03", "B04")
UTM_33 = CRS.from_epsg(32633).to_wkt()
SIDE = 8


def numbers(bands: int = 3, side: int = SIDE, dtype: str = "int16", seed: int = 0) -> np.ndarray:
    """Return digital numbers ``(bands, side, side)`` of 300 and more."""
    return np.random.default_rng(seed).integers(300, 5000, (bands, side, side)).astype(dtype)


def places(side: int = SIDE, pixel: float = 10.0, shift: float = 0.0) -> dict[str, np.ndarray]:
    """Return the coordinates of centres, or of what lies a part of a pixel to the south-east."""
    steps = pixel * (np.arange(side) + 0.5 + shift)
    return {"y": TOP - steps, "x": LEFT + steps}


def stacked(
    pixels: np.ndarray, attributes: dict[str, Any] | None = None, *, axis: str = "band", **coordinates: Any
) -> xarray.Dataset:
    """Return a cube with an axis of bands, or of time and bands."""
    axes = (axis, "y", "x") if pixels.ndim == 3 else ("time", axis, "y", "x")
    own: dict[str, Any] = {axis: list(NAMES), **places(pixels.shape[-1])} | coordinates
    return xarray.Dataset({"s2": (axes, pixels, attributes or {})}, coords=own)


def by_variable(
    pixels: np.ndarray,
    attributes: dict[str, Any] | None = None,
    *,
    names: tuple[str, ...] = NAMES,
    pixel: float = 10.0,
) -> xarray.Dataset:
    """Return a cube with a variable for each band."""
    side = pixels.shape[-1]
    variables = {name: (("y", "x"), band, attributes or {}) for name, band in zip(names, pixels, strict=True)}
    return xarray.Dataset(variables, coords=places(side, pixel))


def in_utm(data: xarray.Dataset, **attributes: Any) -> xarray.Dataset:
    """Return a cube with its CRS as rioxarray writes it, and further attributes beside."""
    return data.assign_coords(spatial_ref=xarray.DataArray(0, attrs={"crs_wkt": UTM_33} | attributes))


def written(path: Path, data: xarray.Dataset, **options: Any) -> Path:
    """Write a cube by the ending of its name: Zarr, or NetCDF 4 unless an engine is named."""
    if path.suffix == ".zarr":
        data.to_zarr(path, **({"zarr_format": 2, "consolidated": False} | options))
    else:
        data.to_netcdf(path, **({"engine": "h5netcdf"} | options))
    return path
