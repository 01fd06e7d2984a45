"""Arrays that name no bands: NumPy's ``.npy``, read from a memory map, and HDF5, which may name its frames.

Both are images and series without a georeference.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.raster.georeference import PixelGrid
from eo_data.readers.formats.cf_attributes import facts_along_axis
from eo_data.readers.formats.facts import (
    BandFacts,
    FileFacts,
    OpenLayer,
    Part,
    as_floats,
    mark_missing,
    refuse_complex,
    refuse_many_bands,
)
from eo_data.readers.formats.geotiff import open_raster

#: A list with more names a frame than this is another one, and may be very long.
_MOST_NAMES = 1000


@contextmanager
def open_npy(href: Href, source: ImageSource | None = None) -> Iterator[Sequence[OpenLayer]]:
    """Open an array ``(C, H, W)`` or ``(T, C, H, W)``; of a label also ``(H, W)``.

    Parameters
    ----------
    href : Href
        A path.
    source : ImageSource, optional
        ``None`` opens a label.

    Raises
    ------
    ValueError
        If the file is no array of numbers, or has another number of dimensions.
    OSError
        If it cannot be opened.
    """
    array = _mapped(href.path)
    expected = "(T, C, H, W) or (C, H, W)" if source is not None else "(H, W), or (L, H, W) of several layers"
    if array.ndim not in ((3, 4) if source is not None else (2, 3)):
        msg = f"the array has shape {array.shape}; expected {expected}."
        raise ValueError(msg)
    yield (ArrayLayer("npy", array[None] if array.ndim == 2 else array),)


class ArrayLayer:
    """An array on disk whose last axes are bands, rows and columns; see `eo_data.readers.formats.facts.OpenLayer`.

    Parameters
    ----------
    kind : str
        Name of the format.
    array : array-like
        ``(C, H, W)`` or ``(T, C, H, W)``, of numpy or of a file that is read by slices.
    bands : sequence of BandFacts, optional
        By default bands without names.
    frame_names : sequence of str
        Product name of each frame.
    block_bytes : int
        Memory of a block of the file.
    """

    def __init__(
        self,
        kind: str,
        array: np.ndarray,
        bands: Sequence[BandFacts] = (),
        frame_names: Sequence[str] = (),
        block_bytes: int = 0,
    ) -> None:
        refuse_complex(array.dtype)
        refuse_many_bands(array.shape[-3])
        self._array = array
        count, height, width = array.shape[-3:]
        self.facts = FileFacts(
            kind,
            PixelGrid(height, width, None, None),
            tuple(bands) or (BandFacts(dtype=str(array.dtype)),) * count,
            packing="cf",
            frames=array.shape[0] if array.ndim == 4 else None,
            frame_names=tuple(frame_names),
            block_bytes=block_bytes,
        )

    def stored(
        self,
        bands: Sequence[int],
        part: Part,
        *,
        nodata: float | None = None,
        alpha: bool = True,
        dtype: type = np.float32,
    ) -> np.ndarray:
        """Read bands as stored; see `eo_data.readers.formats.facts.OpenLayer.stored`."""
        rows, columns = slice(part.top, part.top + part.height), slice(part.left, part.left + part.width)
        pixels = np.empty((*self._array.shape[:-3], len(bands), part.height, part.width), dtype=dtype)
        for i, band in enumerate(bands):  # only the wanted bands are brought into memory
            stored = np.asarray(self._array[..., band, rows, columns])
            pixels[..., i, :, :] = as_floats(stored, dtype)
            mark_missing(stored, pixels[..., i, :, :], self.facts.bands[band], nodata)
        return pixels


def _mapped(path: Path) -> np.ndarray:
    """An array on disk; numbers only, as reading pickled objects may run code."""
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        msg = f"no array of numbers can be read: {error}. The file may be truncated; copy it again."
        raise ValueError(msg) from error
    if not isinstance(stored, np.ndarray) or stored.dtype.kind not in "uifbc":
        kind = stored.dtype if isinstance(stored, np.ndarray) else type(stored).__name__
        msg = f"it holds {kind}, expected an array of numbers."
        raise ValueError(msg)
    return stored


@contextmanager
def open_hdf5(href: Href, source: ImageSource | None = None) -> Iterator[Sequence[OpenLayer]]:
    """Open an array ``(C, H, W)`` or ``(T, C, H, W)``.

    Parameters
    ----------
    href : Href
        A path.
    source : ImageSource, optional
        ``None`` opens a label, by GDAL. ``dataset`` names the array (``group/array`` within groups), ``products`` that
        of the names.

    Raises
    ------
    ValueError
        If an array is not there or has another number of dimensions.
    OSError
        If the file cannot be opened.
    """
    import h5py  # noqa: PLC0415

    if source is None:
        with open_raster(href) as layers:
            yield layers
        return
    with h5py.File(href.path) as file:
        arrays: list[str] = []
        file.visititems(lambda name, item: arrays.append(name) if isinstance(item, h5py.Dataset) else None)
        absent = [name for name in (source.dataset, source.products) if name and name.strip("/") not in arrays]
        if not source.dataset or absent:
            msg = f"it has the arrays {arrays}; name the one to read in dataset (and in products), got {absent}."
            raise ValueError(msg)
        item = file[source.dataset]
        if item.ndim not in (3, 4):
            msg = f"{source.dataset!r} has shape {item.shape}; expected (T, C, H, W) or (C, H, W)."
            raise ValueError(msg)
        refuse_many_bands(item.shape[-3])
        frames = item.shape[0] if item.ndim == 4 else 1
        if source.products and file[source.products].size > _MOST_NAMES * frames:
            msg = f"{source.products!r} has {file[source.products].size} names for {frames} frames; expected one each."
            raise ValueError(msg)
        attributes = dict(item.attrs)
        if item.dtype.kind in "iuf" and item.fillvalue:  # 0 is the fill value where nobody stated one
            attributes.setdefault("_FillValue", item.fillvalue)
        facts = facts_along_axis(source.dataset, [None] * item.shape[-3], item.dtype, attributes)
        names = file[source.products][()] if source.products else ()
        block = math.prod(item.chunks or (0,)) * item.dtype.itemsize
        yield (ArrayLayer("HDF5", item, facts, [_text(name) for name in names], block),)


def _text(name: Any) -> str:  # noqa: ANN401  (bytes or text, as the file was written)
    return name.decode() if isinstance(name, bytes) else str(name)
