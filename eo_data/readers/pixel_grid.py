"""Frames lie on one grid, and pixels have the size that the encoder takes for granted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.raster.georeference import compare_grids
from eo_data.raster.raster import ground_pixel_size
from eo_data.raster.sample import SampleError
from eo_data.readers.formats.file_raster import FileRaster

#: Ratio of measured to nominal pixel size that counts as the same (Web Mercator and degrees stretch pixels).
_NEARLY = 1.4


def stack_frames(readings: Sequence[FileRaster], hrefs: Sequence[Href]) -> np.ndarray:
    """Return the frames ``(T, C, H, W)`` of files that lie on one grid.

    Parameters
    ----------
    readings : sequence of FileRaster
        One cube, or an image per file; bands that had a file each count as one image.
    hrefs : sequence of Href
        The files, for messages.

    Raises
    ------
    SampleError
        If files differ in size, transform or CRS, or there are several cubes.
    """
    first = readings[0]
    if len(readings) == 1:
        return first.pixels if first.pixels.ndim == 4 else first.pixels[None]
    for reading, href in zip(readings, hrefs, strict=True):
        found = compare_grids(first.grid, reading.grid)
        if reading.pixels.shape != first.pixels.shape or not (found.same_grid() and found.same_knowledge):
            msg = (
                f"{href} {reading.pixels.shape} lies on another grid than {hrefs[0]} {first.pixels.shape} (size, "
                "transform or CRS). All frames of a series need one grid; warp them first."
            )
            raise SampleError(msg)
    if first.pixels.ndim == 4:
        msg = (
            f"{hrefs[0]} is a cube of {len(first.pixels)} frames; expected one cube per sample, got {len(hrefs)} files."
        )
        raise SampleError(msg)
    return np.stack([reading.pixels for reading in readings])


def nominal_pixel_size(name: str, source: ImageSource) -> float:
    """Return the pixel size in metres that the encoder takes for granted.

    Parameters
    ----------
    name : str
        Name of the modality, for messages.
    source : ImageSource
        Its stated pixel size counts, else the smallest GSD of its bands.

    Raises
    ------
    SampleError
        If neither the config nor the sensor's table tells.
    """
    if source.pixel_size is not None:
        return float(source.pixel_size)
    sizes = [band.gsd for band in source.known_bands]
    if sizes:
        return float(min(sizes))
    msg = f"The pixel size of {name!r} is not known. Set pixel_size (metres) or sensor."
    raise SampleError(msg)


def check_pixel_size(name: str, source: ImageSource, reading: FileRaster) -> None:
    """Refuse pixels of another size than the encoder would take for granted, unless the config states one.

    Raises
    ------
    SampleError
        If the size on the ground differs by a factor of 1.4 or more, or the transform is no place in the CRS.
    """
    grid = reading.grid
    if source.pixel_size is not None or grid.transform is None or grid.crs is None:
        return
    try:
        # In degrees, pixels are narrower than high; the longer side is the one that products are named after.
        measured = max(ground_pixel_size(grid.transform, grid.crs, grid.height, grid.width))
    except ValueError as error:
        msg = f"{name!r}: {error}"
        raise SampleError(msg) from error
    nominal = nominal_pixel_size(name, source)
    if not 1 / _NEARLY < measured / nominal < _NEARLY:
        msg = (
            f"{name!r} has pixels of {measured:.4g} m, but its bands have a GSD of {nominal:g} m, which the "
            f"encoder would assume. Set pixel_size: {measured:.4g} (metres) if the image is right, or resample_to."
        )
        raise SampleError(msg)
