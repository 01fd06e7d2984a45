"""Files to arrays: GeoTIFF and what else GDAL reads, one file per band, NetCDF and Zarr cubes, HDF5 and NumPy series.

Nothing is converted here: values are those of the file, NaN where the file says that there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from eo_data.catalog.records import TileWindow
from eo_data.catalog.sources import ImageSource
from eo_data.raster.sample import SampleError
from eo_data.readers.npy import NPY, read_npy
from eo_data.readers.reading import Reading, choose_bands, cut
from eo_data.sensors.bands import band_order

_CUBES = (".nc", ".zarr")
_HDF5 = (".h5", ".hdf5")


def read_file(path: Path, source: ImageSource, window: TileWindow | None = None) -> Reading:
    """Read the wanted bands of one file.

    Parameters
    ----------
    path : Path
        A raster that GDAL reads, ``.nc``, ``.zarr``, ``.h5`` or ``.npy``.
    source : ImageSource
        Which bands, and how the file is to be understood.
    window : TileWindow, optional
        The part to read. Rasters are read by window, other files are read whole and cut.

    Raises
    ------
    SampleError
        If the file cannot be read, has other bands, or is empty.
    """
    if not path.exists():
        msg = f"There is no file {path}."
        raise SampleError(msg)
    suffix = path.suffix.lower()
    try:
        if suffix in _CUBES:
            reading = cut(_read_cube(path, source), window)
        elif suffix in _HDF5:
            reading = cut(_read_hdf5(path, source), window)
        elif suffix == NPY:
            reading = cut(read_npy(path, source), window)
        else:
            reading = _read_raster(path, source, window)
    except (RasterioError, OSError) as error:
        msg = (
            f"{path} cannot be read: {error.__cause__ or error}. The file may be truncated or no raster; copy it again."
        )
        raise SampleError(msg) from error
    except ValueError as error:
        if isinstance(error, SampleError):
            raise
        msg = f"{path}: {error}"
        raise SampleError(msg) from error
    if 0 in reading.pixels.shape:
        msg = f"{path} holds no pixels: shape {reading.pixels.shape}."
        raise SampleError(msg)
    return reading


def _read_raster(path: Path, source: ImageSource, window: TileWindow | None) -> Reading:
    with rasterio.open(path) as file:
        names = band_order(file.count, file.descriptions, source.file_bands, str(path), source.table)
        indexes = [i + 1 for i in choose_bands(names, source)]
        georeferenced = file.crs is not None or file.transform != Affine.identity()
        crs = file.crs.to_wkt() if file.crs else None
        tags = file.tags()
        if source.resample_to is None:
            if window is not None and file.shape != window.of:
                msg = f"{path} has {file.shape} pixels, the first modality {window.of}. Tiles need one grid."
                raise SampleError(msg)
            part = None if window is None else Window(window.left, window.top, *window.inside[:1:-1])
            transform = file.transform if part is None else file.window_transform(part)
            pixels = _pixels(file, indexes, source.nodata, part)
            return Reading(pixels, transform if georeferenced else None, crs, tags)
        transform, height, width = _grid(file, source.resample_to)
        pixels = _warped(file, indexes, source, transform, height, width)
        return cut(Reading(pixels, transform, crs, tags), window)


def _pixels(
    file: Any,  # noqa: ANN401
    indexes: Sequence[int],
    nodata: float | None,
    window: Window | None = None,
) -> np.ndarray:
    """Read bands as float32 with NaN where a band has no data."""
    stored = file.read(list(indexes), window=window)
    with np.errstate(over="ignore"):  # no-data such as -1.8e308 of float64 files is -inf in float32
        pixels = stored.astype(np.float32, copy=False)
    # In integers where they are ones: quicker, and exact.
    declared = file.nodatavals
    for i, index in enumerate(indexes):
        missing = declared[index - 1] if nodata is None else nodata
        if missing is not None and not np.isnan(missing):
            exact = np.issubdtype(stored.dtype, np.integer) and float(missing).is_integer()
            found = stored[i] == (int(missing) if exact else missing)
            if found.any():
                pixels[i][found] = np.nan
    flags = file.mask_flag_enums[indexes[0] - 1]
    if MaskFlags.per_dataset in flags:
        pixels[:, file.dataset_mask(window=window) == 0] = np.nan
    return pixels


def _grid(file: Any, size: float) -> tuple[Affine, int, int]:  # noqa: ANN401
    """Pixels of ``size`` over the ground of a file, from its upper left corner."""
    if file.transform.b or file.transform.d:
        msg = "resample_to needs a raster that is not rotated."
        raise ValueError(msg)
    left, bottom, right, top = file.bounds
    height, width = (round(abs(side) / size) for side in (top - bottom, right - left))
    if min(height, width) < 1:
        msg = (
            f"resample_to is in the unit of the CRS and must not exceed the image, which covers {right - left:g} x "
            f"{top - bottom:g}; got {size:g}. In a geographic CRS it is in degrees."
        )
        raise ValueError(msg)
    return Affine(size, 0.0, left, 0.0, -size, top), height, width


def _warped(
    file: Any,  # noqa: ANN401
    indexes: Sequence[int],
    source: ImageSource,
    transform: Affine,
    height: int,
    width: int,
) -> np.ndarray:
    options: dict[str, Any] = {"transform": transform, "height": height, "width": width, "dtype": "float32"}
    missing = file.nodata if source.nodata is None else source.nodata
    # Else GDAL takes a pixel's no-data for a value as long as another band has data there.
    options["UNIFIED_SRC_NODATA"] = "NO"
    with WarpedVRT(
        file, crs=file.crs, resampling=Resampling[source.resampling], src_nodata=missing, nodata=np.nan, **options
    ) as grid:
        return np.asarray(grid.read(list(indexes)), dtype=np.float32)


def read_bands(paths: Sequence[Path], names: Sequence[str], source: ImageSource) -> Reading:
    """Read an image of which every band has its own file.

    Parameters
    ----------
    paths, names : sequences
        The files and the band of each.
    source : ImageSource
        Which bands to read. With ``resample_to`` all come to one grid; else they must be on one.

    Raises
    ------
    SampleError
        If a file cannot be read, a band is missing, or the grids differ.
    """
    first: Any = None
    planes = []
    path = paths[0]
    try:
        chosen = [paths[i] for i in choose_bands(names, source)]
        for path in chosen:
            with rasterio.open(path) as file:
                if file.count != 1:
                    msg = f"{path} has {file.count} bands, expected one, as the pattern has {{band}}."
                    raise SampleError(msg)
                crs = file.crs.to_wkt() if file.crs else None
                if first is None:
                    grid = (file.transform, file.height, file.width)
                    first = (*(_grid(file, source.resample_to) if source.resample_to else grid), crs, file.tags())
                if source.resample_to and crs == first[3] and _covers_same(file, first):
                    planes.append(_warped(file, [1], source, *first[:3]))
                    continue
                if (file.transform, file.height, file.width, crs) != first[:4]:
                    msg = (
                        f"{path} has {file.height} x {file.width} pixels of {file.res}, but {chosen[0]} has another "
                        "grid (size, transform or CRS). For bands of different pixel size over one ground, set "
                        "resample_to to the pixel size that all shall have."
                    )
                    raise SampleError(msg)
                planes.append(_pixels(file, [1], source.nodata))
    except (RasterioError, OSError) as error:
        msg = (
            f"{path} cannot be read: {error.__cause__ or error}. The file may be truncated or no raster; copy it again."
        )
        raise SampleError(msg) from error
    except ValueError as error:
        if isinstance(error, SampleError):
            raise
        msg = f"{path}: {error}"
        raise SampleError(msg) from error
    transform, _, _, wkt, tags = first
    georeferenced = wkt is not None or transform != Affine.identity()
    return Reading(np.concatenate(planes), transform if georeferenced else None, wkt, tags)


def _covers_same(file: Any, first: tuple[Affine, int, int, str | None, Mapping[str, str]]) -> bool:  # noqa: ANN401
    """Whether a file shows the ground of the first band's grid, up to one of the coarser pixels."""
    transform, height, width = first[:3]
    left, top = transform.c, transform.f
    ground = (left, top + height * transform.e, left + width * transform.a, top)
    tolerance = max(*file.res, abs(transform.a), abs(transform.e))
    return max(abs(a - b) for a, b in zip(file.bounds, ground, strict=True)) <= tolerance


_DIMENSIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "time": ("t", "time"),
        "band": ("band", "bands", "variable"),
        "y": ("y", "lat", "latitude", "northing"),
        "x": ("x", "lon", "longitude", "easting"),
    }
)


def _read_cube(path: Path, source: ImageSource) -> Reading:
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
        return Reading(pixels, transform, _cube_crs(cube), tags, frame_dates=dates)


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


def _read_hdf5(path: Path, source: ImageSource) -> Reading:
    import h5py  # noqa: PLC0415

    with h5py.File(path) as file:
        arrays = [name for name, item in file.items() if isinstance(item, h5py.Dataset)]
        lacking = [name for name in (source.dataset, source.products) if name and name not in arrays]
        if not source.dataset or lacking:
            msg = f"it has the arrays {arrays}; name the one to read in dataset (and in products), got {lacking}."
            raise ValueError(msg)
        item = file[source.dataset]
        if item.ndim not in (3, 4):
            msg = f"{source.dataset!r} has shape {item.shape}; expected (T, C, H, W) or (C, H, W)."
            raise ValueError(msg)
        names = band_order(item.shape[-3], [None] * item.shape[-3], source.file_bands, str(path), source.table)
        pixels = np.asarray(item[()], dtype=np.float32)[..., choose_bands(names, source), :, :]
        products = file[source.products][()] if source.products else ()
        frames = tuple(name.decode() if isinstance(name, bytes) else str(name) for name in products)
    if source.nodata is not None:
        pixels[pixels == np.float32(source.nodata)] = np.nan
    return Reading(pixels, None, None, frame_names=frames)
