"""Which reader a file is for: by its suffix, or by whatever else tells a product from a file.

Nothing is converted here: values are those of the file, NaN where the file says that there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import TileWindow
from eo_data.catalog.sources import ImageSource
from eo_data.raster.sample import SampleError
from eo_data.readers.formats.cube import read_cube
from eo_data.readers.formats.file_raster import FileRaster, LabelLayer, reading_errors
from eo_data.readers.formats.geotiff import read_raster, read_raster_label
from eo_data.readers.formats.hdf5 import read_hdf5
from eo_data.readers.formats.npy import read_npy, read_npy_label

type ImageFunction = Callable[[Href, ImageSource, TileWindow | None], FileRaster]
type LabelFunction = Callable[[Href, int | None], LabelLayer]


@dataclass(frozen=True)
class FileReader:
    """How one kind of file or product is read.

    Both functions raise ``ValueError`` without the name of the file, ``OSError`` or an error of rasterio; those who
    call them add the name.

    Parameters
    ----------
    name : str
        Name of the format.
    recognises : callable
        Whether a file is of this kind, by its name alone.
    image : callable
        Reads the wanted bands of a file: all of it, or the part that a tile window names.
    label : callable
        Reads the layer of a file that holds a label. What GDAL reads is the default.
    """

    name: str
    recognises: Callable[[Href], bool]
    image: ImageFunction
    label: LabelFunction = read_raster_label


def by_suffix(*suffixes: str) -> Callable[[Href], bool]:
    """Return a test for paths with one of these suffixes; URLs and what lies within another file are for GDAL."""

    def recognises(href: Href) -> bool:
        return href.is_local and href.suffix in suffixes

    return recognises


def _any_file(_: Href) -> bool:
    return True


#: All kinds of files; another one is another row. The first that recognises a file reads it, so that products come
#: before suffixes, and the last one takes what no other does.
READERS: tuple[FileReader, ...] = (
    FileReader("NetCDF", by_suffix(".nc"), read_cube),
    FileReader("Zarr", by_suffix(".zarr"), read_cube),
    FileReader("HDF5", by_suffix(".h5", ".hdf5"), read_hdf5),
    FileReader("NumPy", by_suffix(".npy"), read_npy, read_npy_label),
    FileReader("GDAL", _any_file, read_raster),
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


def read_file(href: Href, source: ImageSource, window: TileWindow | None = None) -> FileRaster:
    """Read the wanted bands of one file.

    Parameters
    ----------
    href : Href
        A path to a raster that GDAL reads, ``.nc``, ``.zarr``, ``.h5`` or ``.npy``; or a URL or name for GDAL.
    source : ImageSource
        Which bands, and how the file is to be understood.
    window : TileWindow, optional
        The part to read. Rasters are read by window, other files are read whole and cut.

    Raises
    ------
    SampleError
        If the file cannot be read, has other bands, or is empty.
    """
    if href.is_missing:
        msg = f"There is no file {href}."
        raise SampleError(msg)
    with reading_errors(href):
        reading = reader_of(href).image(href, source, window)
    if 0 in reading.pixels.shape:
        msg = f"{href} holds no pixels: shape {reading.pixels.shape}."
        raise SampleError(msg)
    return reading
