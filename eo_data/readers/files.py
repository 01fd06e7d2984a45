"""Files to arrays: GeoTIFF and what else GDAL reads, one file per band, NetCDF and Zarr cubes, HDF5 and NumPy series.

Nothing is converted here: values are those of the file, NaN where the file says that there is none.
"""

from __future__ import annotations

from pathlib import Path

from rasterio.errors import RasterioError

from eo_data.catalog.records import TileWindow
from eo_data.catalog.sources import ImageSource
from eo_data.raster.sample import SampleError
from eo_data.readers.cube import _read_cube
from eo_data.readers.file_raster import FileRaster, cut
from eo_data.readers.geotiff import _read_raster
from eo_data.readers.hdf5 import _read_hdf5
from eo_data.readers.npy import NPY, read_npy

_CUBES = (".nc", ".zarr")
_HDF5 = (".h5", ".hdf5")


def read_file(path: Path, source: ImageSource, window: TileWindow | None = None) -> FileRaster:
    """Read the wanted bands of one file.

    Parameters
    ----------
    path : Path
        A raster that GDAL reads, ``.nc``, ``.zarr``, ``.h5`` or ``.npy``.
    source : ImageSource
        Which bands, and how the file is to be understood.
    window : TileWindow, optional
        The part to read. Rasters are read by window, other files are read whole and cut.

    Raises
    ------
    SampleError
        If the file cannot be read, has other bands, or is empty.
    """
    if not path.exists():
        msg = f"There is no file {path}."
        raise SampleError(msg)
    suffix = path.suffix.lower()
    try:
        if suffix in _CUBES:
            reading = cut(_read_cube(path, source), window)
        elif suffix in _HDF5:
            reading = cut(_read_hdf5(path, source), window)
        elif suffix == NPY:
            reading = cut(read_npy(path, source), window)
        else:
            reading = _read_raster(path, source, window)
    except (RasterioError, OSError) as error:
        msg = (
            f"{path} cannot be read: {error.__cause__ or error}. The file may be truncated or no raster; copy it again."
        )
        raise SampleError(msg) from error
    except ValueError as error:
        if isinstance(error, SampleError):
            raise
        msg = f"{path}: {error}"
        raise SampleError(msg) from error
    if 0 in reading.pixels.shape:
        msg = f"{path} holds no pixels: shape {reading.pixels.shape}."
        raise SampleError(msg)
    return reading
