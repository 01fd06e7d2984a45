"""Which reader a file is for: by its suffix, or by whatever else tells a product from a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from eo_data.catalog.hrefs import Href
from eo_data.catalog.scenes.catalogues.earth_engine.images import is_engine_image
from eo_data.catalog.sources import ImageSource
from eo_data.raster.sample import SampleError
from eo_data.readers.formats.cube import open_cube
from eo_data.readers.formats.facts import FileFacts, Opener, OpenLayer
from eo_data.readers.formats.file_raster import reading_errors
from eo_data.readers.formats.geotiff import open_raster
from eo_data.readers.formats.limits import USUAL, Limits, check_file, is_streamed
from eo_data.readers.formats.npy import open_hdf5, open_npy
from eo_data.readers.products.earth_engine import open_earth_engine
from eo_data.readers.products.hls import is_hls_product, open_hls
from eo_data.readers.products.landsat import is_landsat_product, open_landsat
from eo_data.readers.products.sentinel1 import is_sentinel1, open_sentinel1
from eo_data.readers.products.sentinel1_rtc import is_rtc_product, open_rtc
from eo_data.readers.products.sentinel2 import is_sentinel2_product, open_sentinel2
from eo_data.readers.products.sentinel3.product import is_sen3, open_sentinel3


@dataclass(frozen=True)
class FileReader:
    """How one kind of file or product is read.

    Parameters
    ----------
    name : str
        Name of the format.
    recognises : callable
        Whether a file is of this kind, by its name alone.
    opened : Opener
        Opens a file and gives its layers, with what the file says of itself. It raises ``ValueError`` without the name
        of the file, ``OSError`` or an error of rasterio; those who call it add the name.
    """

    name: str
    recognises: Callable[[Href], bool]
    opened: Opener
    removes_noise: bool = False


def by_suffix(*suffixes: str) -> Callable[[Href], bool]:
    """Return a test for paths with one of these suffixes; URLs and what lies within another file are for GDAL."""

    def recognises(href: Href) -> bool:
        return href.is_local and href.suffix in suffixes

    return recognises


def _cube(*suffixes: str) -> Callable[[Href], bool]:
    """Return a test for paths and addresses with one of these suffixes."""
    return lambda href: (href.is_local or is_streamed(href)) and href.suffix in suffixes


def _any_file(_: Href) -> bool:
    return True


#: All kinds of files; another one is another row. The first that recognises a file reads it, so that products come
#: before suffixes, and the last one takes what no other does.
READERS: tuple[FileReader, ...] = (
    FileReader("Earth Engine", is_engine_image, open_earth_engine),
    FileReader("Sentinel-3", is_sen3, open_sentinel3),
    FileReader("Sentinel-1", is_sentinel1, open_sentinel1, removes_noise=True),
    FileReader("Sentinel-1 RTC", is_rtc_product, open_rtc),
    FileReader("Sentinel-2", is_sentinel2_product, open_sentinel2),
    FileReader("Landsat", is_landsat_product, open_landsat),
    FileReader("HLS", is_hls_product, open_hls),
    FileReader("NetCDF", _cube(".nc", ".nc4", ".cdf", ".netcdf"), open_cube),
    FileReader("Zarr", _cube(".zarr"), open_cube),
    FileReader("HDF5", by_suffix(".h5", ".hdf5", ".he5"), open_hdf5),
    FileReader("NumPy", by_suffix(".npy"), open_npy),
    FileReader("GDAL", _any_file, open_raster),
)


def reader_of(href: Href, readers: Sequence[FileReader] = READERS) -> FileReader:
    """Return the reader of a file.

    Parameters
    ----------
    href : Href
        The file.
    readers : sequence of FileReader
        All kinds of files, the last of which takes any.
    """
    return next(reader for reader in readers if reader.recognises(href))


@contextmanager
def opened(
    href: Href, source: ImageSource | None, limits: Limits = USUAL, what: str = ""
) -> Iterator[Sequence[OpenLayer]]:
    """Open a file by whatever reader it is for.

    Parameters
    ----------
    href : Href
        The file.
    source : ImageSource or None
        ``None`` opens a label.
    limits : Limits
        What else it may touch, and how much memory one of its blocks may take.
    what : str
        Beginning of the messages of errors, as of `eo_data.readers.formats.file_raster.reading_errors`.

    Raises
    ------
    SampleError
        With the name of the file, if it is not there, cannot be opened or read, or would read elsewhere.
    """
    if href.is_missing:
        msg = f"{what}{href} cannot be read: there is no such file." if what else f"There is no file {href}."
        raise SampleError(msg)
    with reading_errors(href, what):
        cached = href if limits.remote_cache is None else replace(href, cache=limits.remote_cache)
        check_file(cached, limits)
        reader = reader_of(href)
        if source is not None and source.remove_noise and not reader.removes_noise:
            msg = (
                "remove_noise is set, but it states no thermal noise (Sentinel-1 GRD products do). Leave remove_noise "
                "out."
            )
            raise ValueError(msg)
        with reader.opened(cached, source) as layers:
            for layer in layers:
                limits.refuse_large(
                    layer.facts.block_bytes,
                    "a block, which is unpacked as a whole,",
                    "Write the file again with smaller blocks (tiles of a TIFF, chunks)",
                )
            yield layers


def facts_of(href: Href, source: ImageSource | None = None) -> tuple[FileFacts, ...]:
    """Return what a file says of itself, by layer.

    Raises
    ------
    SampleError
        If it cannot be opened.
    """
    with opened(href, source) as layers:
        return tuple(layer.facts for layer in layers)
