"""HDF5: an array of pixels, and optionally a list of the product names of its frames."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.readers.formats.cf_attributes import facts_along_axis
from eo_data.readers.formats.facts import OpenLayer
from eo_data.readers.formats.geotiff import open_raster
from eo_data.readers.formats.npy import ArrayLayer


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
        attributes = dict(item.attrs)
        if item.dtype.kind in "iuf" and item.fillvalue:  # 0 is the fill value where nobody stated one
            attributes.setdefault("_FillValue", item.fillvalue)
        facts = facts_along_axis(source.dataset, [None] * item.shape[-3], item.dtype, attributes)
        names = file[source.products][()] if source.products else ()
        block = math.prod(item.chunks or (0,)) * item.dtype.itemsize
        yield (ArrayLayer("HDF5", item, facts, [_text(name) for name in names], block),)


def _text(name: Any) -> str:  # noqa: ANN401  (bytes or text, as the file was written)
    return name.decode() if isinstance(name, bytes) else str(name)
