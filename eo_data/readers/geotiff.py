"""Rasters that GDAL reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
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
from eo_data.raster.georeference import ONE_PIXEL, PixelGrid, compare_grids
from eo_data.raster.sample import SampleError
from eo_data.readers.file_raster import FileRaster, choose_bands, cut
from eo_data.sensors.bands import band_order


def _read_raster(path: Path, source: ImageSource, window: TileWindow | None) -> FileRaster:
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
            return FileRaster(pixels, transform if georeferenced else None, crs, tags)
        transform, height, width = _grid(file, source.resample_to)
        pixels = _warped(file, indexes, source, transform, height, width)
        return cut(FileRaster(pixels, transform, crs, tags), window)


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


def read_bands(paths: Sequence[Path], names: Sequence[str], source: ImageSource) -> FileRaster:
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
    planes = []
    path = paths[0]
    try:
        chosen = [paths[i] for i in choose_bands(names, source)]
        for path in chosen:
            with rasterio.open(path) as file:
                if file.count != 1:
                    msg = f"{path} has {file.count} bands, expected one, as the pattern has {{band}}."
                    raise SampleError(msg)
                own = PixelGrid(file.height, file.width, file.transform, file.crs.to_wkt() if file.crs else None)
                if not planes:
                    first, tags = own, file.tags()
                    if source.resample_to:
                        transform, height, width = _grid(file, source.resample_to)
                        first = PixelGrid(height, width, transform, own.crs)
                found = compare_grids(first, own)
                if source.resample_to and found.same_knowledge and found.same_ground(ONE_PIXEL):
                    planes.append(_warped(file, [1], source, transform, height, width))
                    continue
                if not (found.same_knowledge and found.same_grid()):
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
    georeferenced = first.crs is not None or first.transform != Affine.identity()
    return FileRaster(np.concatenate(planes), first.transform if georeferenced else None, first.crs, tags)
