"""NumPy's ``.npy``: images and series without names, dates or georeference, read from a memory map."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import TileWindow
from eo_data.catalog.sources import ImageSource
from eo_data.readers.formats.file_raster import FileRaster, LabelLayer, choose_bands, chosen_layer, cut, not_finite
from eo_data.sensors.bands import band_order


def read_npy(href: Href, source: ImageSource, window: TileWindow | None = None) -> FileRaster:
    """Read the wanted bands of an array ``(C, H, W)`` or ``(T, C, H, W)``.

    Only the wanted bands are brought into memory.

    Parameters
    ----------
    href : Href
        A path.
    source : ImageSource
        Bands. ``file_bands`` must name those of the file, as arrays hold no names.
    window : TileWindow, optional
        The part to keep.

    Returns
    -------
    FileRaster
        Float32 pixels with NaN for ``nodata``; no transform, no CRS, no dates.

    Raises
    ------
    ValueError
        If the file is no array of numbers, or has another number of dimensions or bands.
    OSError
        If it cannot be opened.
    """
    stored = _mapped(href.path)
    if stored.ndim not in (3, 4):
        msg = f"the array has shape {stored.shape}; expected (T, C, H, W) or (C, H, W)."
        raise ValueError(msg)
    n_bands = stored.shape[-3]
    names = band_order(n_bands, [None] * n_bands, source.file_bands, str(href), source.table)
    chosen = choose_bands(names, source)
    pixels = np.empty((*stored.shape[:-3], len(chosen), *stored.shape[-2:]), dtype=np.float32)
    for i, band in enumerate(chosen):
        pixels[..., i, :, :] = stored[..., band, :, :]
    if source.nodata is not None:
        pixels[pixels == np.float32(source.nodata)] = np.nan
    return cut(FileRaster(pixels, None, None), window)


def read_npy_label(href: Href, layer: int | None) -> LabelLayer:
    """Read the values of a label ``(H, W)``; NaN is no label.

    Parameters
    ----------
    href : Href
        A path to an array ``(H, W)``, or ``(L, H, W)`` of several layers.
    layer : int or None
        Number of the layer, counted from 0; may be ``None`` where there is one.

    Raises
    ------
    ValueError
        If the file is no array of numbers, or has other layers.
    OSError
        If it cannot be opened.
    """
    stored = _mapped(href.path)
    if stored.ndim not in (2, 3):
        msg = f"the array has shape {stored.shape}; expected (H, W), or (L, H, W) of several layers."
        raise ValueError(msg)
    layers = stored if stored.ndim == 3 else stored[None]
    values = np.array(layers[chosen_layer(len(layers), layer)])
    return LabelLayer(values, not_finite(values))


def _mapped(path: Path) -> np.ndarray:
    """An array on disk; numbers only, as reading pickled objects may run code."""
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        msg = f"no array of numbers can be read: {error}. The file may be truncated; copy it again."
        raise ValueError(msg) from error
    if not isinstance(stored, np.ndarray) or stored.dtype.kind not in "uifb":
        kind = stored.dtype if isinstance(stored, np.ndarray) else type(stored).__name__
        msg = f"it holds {kind}, expected an array of numbers."
        raise ValueError(msg)
    return stored
