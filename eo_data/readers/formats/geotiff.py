"""Rasters that GDAL reads: GeoTIFF, JPEG 2000, VRT and many more, also behind URLs and within other files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import MaskFlags, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import TileWindow
from eo_data.catalog.sources import ImageSource
from eo_data.raster.georeference import ONE_PIXEL, PixelGrid, compare_grids
from eo_data.raster.sample import SampleError
from eo_data.readers.formats.file_raster import (
    FileRaster,
    LabelLayer,
    choose_bands,
    chosen_layer,
    cut,
    not_finite,
    reading_errors,
)
from eo_data.sensors.bands import band_order


def read_raster(href: Href, source: ImageSource, window: TileWindow | None = None) -> FileRaster:
    """Read the wanted bands of a raster.

    Parameters
    ----------
    href : Href
        Anything that GDAL opens.
    source : ImageSource
        Bands, and the pixel size to bring them to (``resample_to``).
    window : TileWindow, optional
        The part to read. With ``resample_to`` the raster is read whole and cut.

    Raises
    ------
    ValueError
        If a band is missing, or the raster does not go with the window or ``resample_to``.
    rasterio.errors.RasterioError
        If GDAL cannot read it.
    """
    with _opened(href) as file:
        names = band_order(file.count, file.descriptions, source.file_bands, str(href), source.table)
        indexes = [i + 1 for i in choose_bands(names, source)]
        own = _grid_of(file)
        if source.resample_to is not None:
            grid = _resampled_grid(own, source.resample_to)
            pixels = _warped(file, indexes, source, grid)
            return cut(FileRaster(pixels, grid.transform, grid.crs, file.tags()), window)
        if window is not None and file.shape != window.of:
            msg = f"{href} has {file.shape} pixels, the first modality {window.of}. Tiles need one grid."
            raise SampleError(msg)
        part = None if window is None else Window(window.left, window.top, *window.inside[:1:-1])
        transform = file.transform if part is None else file.window_transform(part)
        pixels = _pixels(file, indexes, source.nodata, part)
        return FileRaster(pixels, transform if _has_place(own) else None, own.crs, file.tags())


def read_raster_label(href: Href, layer: int | None) -> LabelLayer:
    """Read the band of a raster that holds a label.

    Parameters
    ----------
    href : Href
        Anything that GDAL opens.
    layer : int or None
        Number of the band, counted from 0; may be ``None`` where there is one.

    Returns
    -------
    LabelLayer
        Missing where the file has no data, NaN or infinity. Without a CRS it has no transform.

    Raises
    ------
    ValueError
        If the band is not there, or several are and none is chosen.
    rasterio.errors.RasterioError
        If GDAL cannot read it.
    """
    with _opened(href) as file:
        values = file.read(chosen_layer(file.count, layer) + 1)
        missing = not_finite(values)
        if file.nodata is not None and np.isfinite(file.nodata):
            missing |= values == file.nodata
        own = _grid_of(file)
        return LabelLayer(values, missing, own.transform if own.crs else None, own.crs)


def read_bands(hrefs: Sequence[Href], names: Sequence[str], source: ImageSource) -> FileRaster:
    """Read an image of which every band has its own file.

    Parameters
    ----------
    hrefs, names : sequences
        The files and the band of each.
    source : ImageSource
        Which bands to read. With ``resample_to`` all come to one grid; else they must be on one.

    Raises
    ------
    SampleError
        If a file cannot be read, a band is missing, or the grids differ.
    """
    with reading_errors(hrefs[0]):
        first, *others = [hrefs[i] for i in choose_bands(names, source)]
    with reading_errors(first), _opened_band(first) as file:
        own, tags = _grid_of(file), file.tags()
        grid = own if source.resample_to is None else _resampled_grid(own, source.resample_to)
        planes = [_on_grid(file, grid, source, first)]
    for href in others:
        with reading_errors(href), _opened_band(href) as file:
            planes.append(_on_grid(file, grid, source, first))
    return FileRaster(np.concatenate(planes), grid.transform if _has_place(grid) else None, grid.crs, tags)


@contextmanager
def _opened(href: Href) -> Iterator[Any]:
    # A path as a path: as text, one such as `zip:a.tif` would mean something else to rasterio.
    with rasterio.open(href.path if href.is_local else href.text) as file:
        yield file


@contextmanager
def _opened_band(href: Href) -> Iterator[Any]:
    """Open a file that must hold a single band."""
    with _opened(href) as file:
        if file.count != 1:
            msg = f"{href} has {file.count} bands, expected one, as the pattern has {{band}}."
            raise SampleError(msg)
        yield file


def _grid_of(file: Any) -> PixelGrid:  # noqa: ANN401  (rasterio is untyped)
    return PixelGrid(file.height, file.width, file.transform, file.crs.to_wkt() if file.crs else None)


def _has_place(grid: PixelGrid) -> bool:
    """Whether a raster is georeferenced: rasterio gives others the identity as their transform."""
    return grid.crs is not None or grid.transform != Affine.identity()


def _on_grid(file: Any, grid: PixelGrid, source: ImageSource, first: Href) -> np.ndarray:  # noqa: ANN401
    """Read the band of a file that lies on a grid, or that is to be resampled and shows its ground."""
    own = _grid_of(file)
    found = compare_grids(grid, own)
    if source.resample_to and found.same_knowledge and found.same_ground(ONE_PIXEL):
        return _warped(file, [1], source, grid)
    if found.same_knowledge and found.same_grid():
        return _pixels(file, [1], source.nodata)
    msg = (
        f"{file.name} has {own.height} x {own.width} pixels of {file.res}, but {first} has another grid (size, "
        "transform or CRS). For bands of different pixel size over one ground, set resample_to to the pixel size that "
        "all shall have."
    )
    raise SampleError(msg)


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


def _resampled_grid(grid: PixelGrid, size: float) -> PixelGrid:
    """Return pixels of ``size`` over the ground of a grid, from its upper left corner."""
    transform = grid.transform or Affine.identity()
    if transform.b or transform.d:
        msg = "resample_to needs a raster that is not rotated."
        raise ValueError(msg)
    left, right = sorted((transform.c, transform.c + grid.width * transform.a))
    bottom, top = sorted((transform.f, transform.f + grid.height * transform.e))
    height, width = (round(side / size) for side in (top - bottom, right - left))
    if min(height, width) < 1:
        msg = (
            f"resample_to is in the unit of the CRS and must not exceed the image, which covers {right - left:g} x "
            f"{top - bottom:g}; got {size:g}. In a geographic CRS it is in degrees."
        )
        raise ValueError(msg)
    return PixelGrid(height, width, Affine(size, 0.0, left, 0.0, -size, top), grid.crs)


def _warped(file: Any, indexes: Sequence[int], source: ImageSource, grid: PixelGrid) -> np.ndarray:  # noqa: ANN401
    """Read bands on a grid of other pixels, as float32 with NaN where a band has no data."""
    options: dict[str, Any] = {
        "transform": grid.transform,
        "height": grid.height,
        "width": grid.width,
        "dtype": "float32",
        "crs": file.crs,
        "resampling": Resampling[source.resampling],
        "src_nodata": file.nodata if source.nodata is None else source.nodata,
        "nodata": np.nan,
        # Else GDAL takes a pixel's no-data for a value as long as another band has data there.
        "UNIFIED_SRC_NODATA": "NO",
    }
    with WarpedVRT(file, **options) as warped:
        return np.asarray(warped.read(list(indexes)), dtype=np.float32)
