"""NumPy's ``.npy``: images and series without names, dates or georeference, read from a memory map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.raster.georeference import PixelGrid
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
