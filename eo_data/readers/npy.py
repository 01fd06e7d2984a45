"""NumPy's ``.npy``: images and series without names, dates or georeference, read from a memory map."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eo_data.catalog.sources import ImageSource
from eo_data.readers.file_raster import FileRaster, choose_bands
from eo_data.sensors.bands import band_order

NPY = ".npy"


def read_npy(path: Path, source: ImageSource) -> FileRaster:
    """Read the wanted bands of an array ``(C, H, W)`` or ``(T, C, H, W)``.

    Only the wanted bands are brought into memory.

    Parameters
    ----------
    path : Path
        The file.
    source : ImageSource
        Bands; ``file_bands`` has to name those of the file, which cannot do it itself.

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
    stored = _mapped(path)
    if stored.ndim not in (3, 4):
        msg = f"the array has shape {stored.shape}; expected (T, C, H, W) or (C, H, W)."
        raise ValueError(msg)
    n_bands = stored.shape[-3]
    names = band_order(n_bands, [None] * n_bands, source.file_bands, str(path), source.table)
    chosen = choose_bands(names, source)
    pixels = np.empty((*stored.shape[:-3], len(chosen), *stored.shape[-2:]), dtype=np.float32)
    for i, band in enumerate(chosen):
        pixels[..., i, :, :] = stored[..., band, :, :]
    if source.nodata is not None:
        pixels[pixels == np.float32(source.nodata)] = np.nan
    return FileRaster(pixels, None, None)


def read_npy_layer(path: Path, layer: int | None) -> np.ndarray:
    """Read the values of a label ``(H, W)``.

    Parameters
    ----------
    path : Path
        An array ``(H, W)``, or ``(L, H, W)`` of several layers.
    layer : int or None
        Which of the layers, from 0; may be ``None`` where there is one.

    Raises
    ------
    ValueError
        If the file is no array of numbers, or has other layers.
    OSError
        If it cannot be opened.
    """
    stored = _mapped(path)
    if stored.ndim not in (2, 3):
        msg = f"the array has shape {stored.shape}; expected (H, W), or (L, H, W) of several layers."
        raise ValueError(msg)
    layers = stored if stored.ndim == 3 else stored[None]
    return np.array(layers[chosen_layer(len(layers), layer)])


def chosen_layer(count: int, layer: int | None) -> int:
    """Return which of ``count`` layers holds the label.

    Raises
    ------
    ValueError
        If there are several and none is chosen, or the chosen one is not there.
    """
    if layer is None and count != 1:
        msg = f"it has {count} layers, expected one. Set layer (0..{count - 1}) in the label source."
        raise ValueError(msg)
    if layer is not None and layer >= count:
        msg = f"it has {count} layers; layer {layer} of the label source is none of 0..{count - 1}."
        raise ValueError(msg)
    return layer or 0


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
