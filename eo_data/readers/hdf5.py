"""HDF5."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eo_data.catalog.sources import ImageSource
from eo_data.readers.file_raster import FileRaster, choose_bands
from eo_data.sensors.bands import band_order


def _read_hdf5(path: Path, source: ImageSource) -> FileRaster:
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
    return FileRaster(pixels, None, None, frame_names=frames)
