"""HDF5: an array of pixels, and optionally a list of the product names of its frames."""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.readers.formats.cf_attributes import facts_along_axis
from eo_data.readers.formats.facts import OpenLayer, refuse_many_bands
from eo_data.readers.formats.geotiff import open_raster
from eo_data.readers.formats.npy import ArrayLayer

#: A list with more names a frame than this is another one, and may be very long.
_MOST_NAMES = 1000


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
        if source.products:
            _check_heap(file[source.products], href.path)
        names = file[source.products][()] if source.products else ()
        block = math.prod(item.chunks or (0,)) * item.dtype.itemsize
        yield (ArrayLayer("HDF5", item, facts, [_text(name) for name in names], block),)


def _check_heap(names: Any, path: Path) -> None:  # noqa: ANN401  (h5py is untyped)
    """Refuse texts in a damaged heap, in which HDF5 (up to 2.0 at least) goes round and round.

    Source: HDF5 File Format Specification, III.E (global heap): an array of texts holds length, address of a
    collection, and number of the object in it.
    """
    start = names.id.get_offset()
    if names.dtype.kind != "O" or start is None:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stored:
        references = struct.iter_unpack("<IQI", stored[start : start + names.size * 16])
        for collection in {address for _, address, _ in references if address not in (0, 2**64 - 1)}:
            if not _is_heap(stored, collection):
                msg = f"the texts of {names.name!r} lie in a damaged heap. Copy the file again."
                raise ValueError(msg)


def _is_heap(stored: mmap.mmap, start: int) -> bool:
    """Whether the objects of a collection fill it one after another."""
    if stored[start : start + 4] != b"GCOL" or start + 16 > len(stored):
        return False
    stop = start + struct.unpack_from("<Q", stored, start + 8)[0]
    place = start + 16
    while place + 16 <= min(stop, len(stored)):
        number, size = struct.unpack_from("<H6xQ", stored, place)
        step = 16 + -(-size // 8) * 8 if number else size  # what is free, number 0, counts its own head
        if step < 16:
            return False
        place += step
    return place <= stop <= len(stored)


def _text(name: Any) -> str:  # noqa: ANN401  (bytes or text, as the file was written)
    return name.decode() if isinstance(name, bytes) else str(name)
