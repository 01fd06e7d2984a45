"""NetCDF and Zarr cubes: axes and bands are found by name, whatever their order."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from affine import Affine

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import TileWindow
from eo_data.catalog.sources import ImageSource
from eo_data.readers.formats.file_raster import FileRaster, choose_bands, cut
from eo_data.sensors.bands import band_order
from eo_data.temporal.dates import dates_from_time_axis

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

#: Names that the dimensions of a cube may have, in lower case.
_DIMENSIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "time": ("t", "time"),
        "band": ("band", "bands", "variable"),
        "y": ("y", "lat", "latitude", "northing"),
        "x": ("x", "lon", "longitude", "easting"),
    }
)
#: Dimension along which the wanted bands lie once they are chosen.
_BAND = "eo_band"


def read_cube(href: Href, source: ImageSource, window: TileWindow | None = None) -> FileRaster:
    """Read the wanted bands of a cube, as ``(C, H, W)`` or, with a time axis, ``(T, C, H, W)``.

    Parameters
    ----------
    href : Href
        A path to a NetCDF file or a Zarr folder.
    source : ImageSource
        Bands, and the names of their variables (``variables``) or of the one that holds them all (``dataset``).
    window : TileWindow, optional
        The part to keep.

    Returns
    -------
    FileRaster
        Rows from north to south. The transform follows from the coordinates of the pixels' centres, the dates from the
        time axis.

    Raises
    ------
    ValueError
        If there is no y or x axis, a band is missing, coordinates are not evenly spaced, or times cannot be read.
    OSError
        If the file cannot be opened.
    """
    import xarray  # noqa: PLC0415

    with xarray.open_dataset(href.path, engine="zarr" if href.suffix == ".zarr" else None) as cube:
        bands = _wanted_bands(cube, source)
        time, y, x = (_dimension(bands, axis) for axis in ("time", "y", "x"))
        if y is None or x is None:
            msg = f"the cube has the dimensions {bands.dims}; expected y and x."
            raise ValueError(msg)
        order = [name for name in (time, _BAND, y, x) if name is not None]
        pixels = np.array(bands.transpose(*order).values, dtype=np.float32)
        if source.nodata is not None:
            pixels[pixels == np.float32(source.nodata)] = np.nan
        pixels, transform = _north_up(pixels, _transform(cube, y, x))
        tags = {str(key): str(value) for key, value in cube.attrs.items()}
        return cut(FileRaster(pixels, transform, _crs(cube), tags, frame_dates=_dates(cube, time)), window)


def _dates(cube: Dataset, time: str | None) -> tuple[date, ...]:
    if time is None:
        return ()
    return tuple(dates_from_time_axis(cube[time].values, cube[time].attrs.get("units")))


def _north_up(pixels: np.ndarray, transform: Affine | None) -> tuple[np.ndarray, Affine | None]:
    """Reverse rows that run from south to north, as in many cubes: images and labels begin in the north."""
    if transform is None or transform.e < 0:
        return pixels, transform
    t = transform
    top = t.f + t.e * pixels.shape[-2]
    return np.ascontiguousarray(pixels[..., ::-1, :]), Affine(t.a, t.b, t.c, t.d, -t.e, top)


def _dimension(array: DataArray, axis: str) -> str | None:
    return next((str(name) for name in array.dims if str(name).lower() in _DIMENSIONS[axis]), None)


def _wanted_bands(cube: Dataset, source: ImageSource) -> DataArray:
    """Choose the bands of a source along the dimension `_BAND`."""
    stacked = {str(name): variable for name, variable in cube.data_vars.items() if _dimension(variable, "band")}
    if stacked and source.variables is None:
        return _along_band_axis(cube, stacked, source)
    return _by_variable(cube, source)


def _along_band_axis(cube: Dataset, stacked: Mapping[str, DataArray], source: ImageSource) -> DataArray:
    """Choose bands of a variable that has them along an axis."""
    if source.dataset is None and len(stacked) > 1:
        msg = f"the variables {list(stacked)} all have bands; name the one to read in dataset."
        raise ValueError(msg)
    name = source.dataset or next(iter(stacked))
    if name not in stacked:
        msg = f"it has no variable {name!r} with bands (dataset); it has {list(stacked)}."
        raise ValueError(msg)
    variable = stacked[name]
    axis = str(_dimension(variable, "band"))
    count = variable.sizes[axis]
    named = [str(value) for value in cube[axis].values] if axis in cube.coords else [None] * count
    names = band_order(count, named, source.file_bands, name, source.table)
    return _unsigned(variable).isel({axis: choose_bands(names, source)}).rename({axis: _BAND})


def _by_variable(cube: Dataset, source: ImageSource) -> DataArray:
    """Stack variables of which each is a band."""
    import xarray  # noqa: PLC0415

    before, _, after = (source.variables or "{band}").partition("{band}")
    found = [
        str(name).removeprefix(before).removesuffix(after)
        for name in cube.data_vars
        if str(name).startswith(before) and str(name).endswith(after)
    ]
    chosen = [found[i] for i in choose_bands(found, source)]
    planes = [_unsigned(cube[f"{before}{name}{after}"]) for name in chosen]
    return xarray.concat(planes, dim=_BAND, coords="minimal", compat="override", join="exact")


def _unsigned(variable: DataArray) -> DataArray:
    """Read integers as unsigned where an attribute says so, as NetCDF 3 has no other way to.

    xarray heeds the attribute only beside a fill value.
    """
    if str(variable.attrs.get("_Unsigned", "")).lower() == "true" and variable.dtype.kind == "i":
        return variable.astype(variable.dtype.str.replace("i", "u"))
    return variable


def _transform(cube: Dataset, y: str, x: str) -> Affine | None:
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


def _crs(cube: Dataset) -> str | None:
    for variable in cube.variables.values():
        for key in ("crs_wkt", "spatial_ref"):
            if key in variable.attrs:
                return str(variable.attrs[key])
    return None
