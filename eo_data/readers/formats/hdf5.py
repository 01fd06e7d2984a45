"""HDF5: an array of pixels, and optionally a list of the product names of its frames."""

from __future__ import annotations

import numpy as np

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import TileWindow
from eo_data.catalog.sources import ImageSource
from eo_data.readers.formats.file_raster import FileRaster, choose_bands, cut
from eo_data.sensors.bands import band_order


def read_hdf5(href: Href, source: ImageSource, window: TileWindow | None = None) -> FileRaster:
    """Read the wanted bands of an array ``(C, H, W)`` or ``(T, C, H, W)``.

    Parameters
    ----------
    href : Href
        A path.
    source : ImageSource
        Bands; ``dataset`` names the array, ``products`` that of the names, ``file_bands`` the bands of the array.
    window : TileWindow, optional
        The part to keep.

    Returns
    -------
    FileRaster
        Without transform, CRS and dates.

    Raises
    ------
    ValueError
        If an array is not there or has another number of dimensions or bands.
    OSError
        If the file cannot be opened.
    """
    import h5py  # noqa: PLC0415

    with h5py.File(href.path) as file:
        arrays = [name for name, item in file.items() if isinstance(item, h5py.Dataset)]
        absent = [name for name in (source.dataset, source.products) if name and name not in arrays]
        if not source.dataset or absent:
            msg = f"it has the arrays {arrays}; name the one to read in dataset (and in products), got {absent}."
            raise ValueError(msg)
        item = file[source.dataset]
        if item.ndim not in (3, 4):
            msg = f"{source.dataset!r} has shape {item.shape}; expected (T, C, H, W) or (C, H, W)."
            raise ValueError(msg)
        names = band_order(item.shape[-3], [None] * item.shape[-3], source.file_bands, str(href), source.table)
        pixels = np.asarray(item[()], dtype=np.float32)[..., choose_bands(names, source), :, :]
        products = file[source.products][()] if source.products else ()
        frames = tuple(name.decode() if isinstance(name, bytes) else str(name) for name in products)
    if source.nodata is not None:
        pixels[pixels == np.float32(source.nodata)] = np.nan
    return cut(FileRaster(pixels, None, None, frame_names=frames), window)
