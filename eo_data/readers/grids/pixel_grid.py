"""Frames lie on one grid, and pixels have the size that the encoder takes for granted."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
from affine import Affine
from pyproj import CRS

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.raster.georeference import compare_grids
from eo_data.raster.ground import ground_pixel_area, ground_pixel_size, projected_pixel_size
from eo_data.raster.sample import SampleError
from eo_data.readers.formats.file_raster import FileRaster

#: Ratio of measured to nominal pixel size that counts as the same, and the one from which it is worth a warning.
_NEARLY, _ALMOST = 1.4, 1.1
#: How many times as long as wide pixels are from which on it is worth a warning, and beyond which they are refused.
_LONG, _TOO_LONG = 1.5, 2.5


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
        If files differ in size, transform or CRS, or there are several cubes that are not one date each.
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
    days = [reading.frame_dates for reading in readings]
    if all(len(own) == 1 for own in days) and len(set(days)) == len(days):
        return np.concatenate([reading.pixels for reading in readings])
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

    What counts is the size on the ground. In a projection that stretches, it is that of a square of the same area.

    Raises
    ------
    SampleError
        If the size on the ground differs by a factor of 1.4 or more, pixels are more than 2.5 times as long as wide, or
        the transform is no place in the CRS.
    """
    grid = reading.grid
    if source.pixel_size is not None or grid.transform is None or grid.crs is None:
        return
    try:
        x, y = ground_pixel_size(grid.transform, grid.crs, grid.height, grid.width)
        own = projected_pixel_size(grid.transform, grid.crs)
    except ValueError as error:
        msg = f"{name!r}: {error}"
        raise SampleError(msg) from error
    _check_squareness(name, max(own) / min(own) if own else _ratio_in_degrees(grid.transform), max(x, y) / min(x, y))
    nominal = nominal_pixel_size(name, source)
    if own is None or (x, y) == own:
        # In degrees, pixels are narrower than high; the longer side is the one that products are named after.
        measured, stretched = max(x, y), ""
        other = (
            "resample_to" if source.resample_to is None else f"another resample_to ({source.resample_to:g} is stated)"
        )
        remedy = f"Set pixel_size: {measured:.4g} (metres) if the image is right, or {other}."
    else:
        area = ground_pixel_area(grid.transform, grid.crs, grid.height, grid.width)
        measured = max(own) * math.sqrt(area / math.prod(own))
        system = CRS.from_user_input(grid.crs).name
        stretched = f" on the ground (its projection, {system}, makes {max(own):.4g} m of them there)"
        remedy = f"Set pixel_size: {measured:.2g} (metres) if the image is right, or warp it to UTM."
    if not 1 / _NEARLY < measured / nominal < _NEARLY:
        msg = (
            f"{name!r} has pixels of {measured:.4g} m{stretched}, but its bands have a GSD of {nominal:g} m, which the "
            f"encoder would assume. {remedy}"
        )
        raise SampleError(msg)
    if stretched and not 1 / _ALMOST < measured / nominal < _ALMOST:
        warnings.warn(
            f"{name!r} has pixels of about {measured:.2g} m{stretched}, and the encoder assumes {nominal:g} m. "
            f"{remedy}",
            stacklevel=2,
        )


def _ratio_in_degrees(transform: Affine) -> float:
    sides = math.hypot(transform.a, transform.d), math.hypot(transform.b, transform.e)
    return max(sides) / min(sides)


def _check_squareness(name: str, on_map: float, on_ground: float) -> None:
    """Refuse or report pixels that are far from square both on the map and on the ground: encoders take squares.

    In degrees, either of the two may be long: squares of degrees are narrow towards the poles, and products widen them
    there.
    """
    ratio = min(on_map, on_ground)
    if ratio < _LONG:
        return
    msg = (
        f"{name!r} has pixels that are {ratio:.3g} times as long as wide, and encoders take them for squares. Set "
        "resample_to to bring them to squares, or pixel_size (metres) to use them as they are."
    )
    if ratio > _TOO_LONG:
        raise SampleError(msg)
    warnings.warn(msg, stacklevel=3)
