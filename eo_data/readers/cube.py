"""NetCDF and Zarr."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from affine import Affine

from eo_data.catalog.sources import ImageSource
from eo_data.readers.file_raster import FileRaster, choose_bands
from eo_data.sensors.bands import band_order

_DIMENSIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "time": ("t", "time"),
        "band": ("band", "bands", "variable"),
        "y": ("y", "lat", "latitude", "northing"),
        "x": ("x", "lon", "longitude", "easting"),
    }
)


def _read_cube(path: Path, source: ImageSource) -> FileRaster:
    import xarray  # noqa: PLC0415

    with xarray.open_dataset(path, engine="zarr" if path.suffix == ".zarr" else None) as cube:
        array = _cube_array(cube, source)
        time, y, x = (_dimension(array, axis) for axis in ("time", "y", "x"))
        if y is None or x is None:
            msg = f"the cube has the dimensions {array.dims}; expected y and x."
            raise ValueError(msg)
        order = [name for name in (time, "eo_band", y, x) if name is not None]
        pixels = np.array(array.transpose(*order).values, dtype=np.float32)
        if source.nodata is not None:
            pixels[pixels == np.float32(source.nodata)] = np.nan
        dates: tuple[date, ...] = ()
        if time is not None:
            from eo_data.temporal.dates import dates_from_time_axis  # noqa: PLC0415

            dates = tuple(dates_from_time_axis(cube[time].values, cube[time].attrs.get("units")))
        tags = {str(key): str(value) for key, value in cube.attrs.items()}
        pixels, transform = _north_up(pixels, _cube_transform(cube, y, x))
        return FileRaster(pixels, transform, _cube_crs(cube), tags, frame_dates=dates)


def _north_up(pixels: np.ndarray, transform: Affine | None) -> tuple[np.ndarray, Affine | None]:
    """Turn rows that run from south to north round, as those of many cubes do: images and labels begin in the north."""
    if transform is None or transform.e < 0:
        return pixels, transform
    t = transform
    top = t.f + t.e * pixels.shape[-2]
    return np.ascontiguousarray(pixels[..., ::-1, :]), Affine(t.a, t.b, t.c, t.d, -t.e, top)


def _dimension(array: Any, axis: str) -> str | None:  # noqa: ANN401
    return next((name for name in array.dims if str(name).lower() in _DIMENSIONS[axis]), None)


def _cube_array(cube: Any, source: ImageSource) -> Any:  # noqa: ANN401
    """The wanted bands of a data set along a dimension ``eo_band``."""
    import xarray  # noqa: PLC0415

    stacked = {str(name): variable for name, variable in cube.data_vars.items() if _dimension(variable, "band")}
    if stacked and source.variables is None:
        if source.dataset is None and len(stacked) > 1:
            msg = f"the variables {list(stacked)} all have bands; name the one to read in dataset."
            raise ValueError(msg)
        name = source.dataset or next(iter(stacked))
        if name not in stacked:
            msg = f"it has no variable {name!r} with bands (dataset); it has {list(stacked)}."
            raise ValueError(msg)
        variable = stacked[name]
        axis = str(_dimension(variable, "band"))
        named = [str(value) for value in cube[axis].values] if axis in cube.coords else [None] * variable.sizes[axis]
        names = band_order(variable.sizes[axis], named, source.file_bands, name, source.table)
        return _unsigned(variable).isel({axis: choose_bands(names, source)}).rename({axis: "eo_band"})
    pattern = source.variables or "{band}"
    before, _, after = pattern.partition("{band}")
    found = [
        str(name).removeprefix(before).removesuffix(after)
        for name in cube.data_vars
        if str(name).startswith(before) and str(name).endswith(after)
    ]
    chosen_names = [found[i] for i in choose_bands(found, source)]
    planes = [_unsigned(cube[f"{before}{name}{after}"]) for name in chosen_names]
    return xarray.concat(planes, dim="eo_band", coords="minimal", compat="override", join="exact")


def _unsigned(variable: Any) -> Any:  # noqa: ANN401
    """NetCDF 3 has no unsigned integers; files mark them by an attribute that xarray heeds only with a fill value."""
    if str(variable.attrs.get("_Unsigned", "")).lower() == "true" and variable.dtype.kind == "i":
        return variable.astype(variable.dtype.str.replace("i", "u"))
    return variable


def _cube_transform(cube: Any, y: str, x: str) -> Affine | None:  # noqa: ANN401
    """Affine transform from the coordinates of pixel centres."""
    if y not in cube.coords or x not in cube.coords:
        return None
    ys, xs = (np.asarray(cube[name].values, dtype=np.float64) for name in (y, x))
    if len(ys) < 2 or len(xs) < 2:
        return None
    steps = (np.diff(xs), np.diff(ys))
    for name, step in zip((x, y), steps, strict=True):
        if np.abs(step - step.mean()).max() > 0.01 * abs(step.mean()):
            msg = f"the coordinate {name!r} is not evenly spaced, so there is no affine transform. Regrid the cube."
            raise ValueError(msg)
    dx, dy = (float(step.mean()) for step in steps)
    return Affine(dx, 0.0, float(xs[0]) - dx / 2, 0.0, dy, float(ys[0]) - dy / 2)


def _cube_crs(cube: Any) -> str | None:  # noqa: ANN401
    for variable in cube.variables.values():
        for key in ("crs_wkt", "spatial_ref"):
            if key in variable.attrs:
                return str(variable.attrs[key])
    return None
