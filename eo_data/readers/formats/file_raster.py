"""What is read from a file, and which of its bands: shared by the readers of all formats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date

import numpy as np
from affine import Affine
from rasterio.errors import RasterioError

from eo_core.addresses import without_credentials
from eo_data.catalog.hrefs import Href, cause_to_show
from eo_data.catalog.records import TileWindow
from eo_data.catalog.sources import ImageSource
from eo_data.raster.georeference import PixelGrid
from eo_data.raster.raster import shifted
from eo_data.raster.sample import SampleError
from eo_data.sensors.bands import select_bands


@dataclass(frozen=True, eq=False)
class FileRaster:
    """What a file holds.

    Parameters
    ----------
    pixels : ndarray
        Float32 ``(C, H, W)``, or ``(T, C, H, W)`` of a cube, in the unit of the file, NaN where missing.
    transform : affine.Affine or None
        From (column, row) of the pixels to map coordinates.
    crs : str or None
        Coordinate reference system as WKT.
    tags : mapping of str to str
        Metadata of the file, where dates and product names may be.
    frame_names : tuple of str
        Product name of each frame, if the file has them.
    frame_dates : tuple of date
        Date of each frame, if the file has a time axis.
    """

    pixels: np.ndarray
    transform: Affine | None
    crs: str | None
    tags: Mapping[str, str] = field(default_factory=dict)
    frame_names: tuple[str, ...] = ()
    frame_dates: tuple[date, ...] = ()

    @property
    def grid(self) -> PixelGrid:
        """Size and place of the pixels."""
        height, width = self.pixels.shape[-2:]
        return PixelGrid(height, width, self.transform, self.crs)


@dataclass(frozen=True, eq=False)
class LabelLayer:
    """The label in a file.

    Parameters
    ----------
    values : ndarray, (H, W)
        As stored.
    missing : ndarray, (H, W), bool
        Where the file says that there is no label.
    transform : affine.Affine or None
        From (column, row) of the pixels to map coordinates.
    crs : str or None
        Coordinate reference system as WKT.
    """

    values: np.ndarray
    missing: np.ndarray
    transform: Affine | None = None
    crs: str | None = None


@contextmanager
def reading_errors(href: Href) -> Iterator[None]:
    """Turn what goes wrong while a file is read into an error of its sample.

    Raises
    ------
    SampleError
        With the name of the file, without the credentials of an address.
    """
    try:
        with href.opening():
            yield
    except SampleError:
        raise
    except (RasterioError, OSError) as error:
        raise SampleError(href.unreadable(error)) from cause_to_show(error)
    except ValueError as error:
        msg = f"{href}: {without_credentials(str(error))}"
        raise SampleError(msg) from cause_to_show(error)


def choose_bands(available: Sequence[str], source: ImageSource) -> list[int]:
    """Return the position among ``available`` of each band of a source, the substitutes in place.

    Raises
    ------
    ValueError
        If one is not there; the message lists what is.
    """
    wanted = [source.substitutes.get(band, band) for band in source.bands]
    # A quality layer such as SCL is no band of the sensor; its name is taken literally.
    layer = source.cloud_band if source.table and not source.table.canonical(source.cloud_band or "") else None
    layers = [band for band in wanted if band == layer]
    rest = [band for band in wanted if band != layer]
    once = list(dict.fromkeys(rest)) if source.substitutes else rest
    found = dict(zip(once, select_bands(available, once, source.table), strict=True))
    found |= dict(zip(layers, select_bands(available, layers, None), strict=True)) if layers else {}
    return [found[band] for band in wanted]


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
        msg = f"it has {count} layers; layer {layer} of the label source is not among 0..{count - 1}."
        raise ValueError(msg)
    return layer or 0


def not_finite(values: np.ndarray) -> np.ndarray:
    """Return where values are NaN or infinite; integers never are."""
    return ~np.isfinite(values) if values.dtype.kind == "f" else np.zeros(values.shape, dtype=bool)


def cut(reading: FileRaster, window: TileWindow | None) -> FileRaster:
    """Keep the window of what was read whole."""
    if window is None:
        return reading
    top, left, height, width = window.inside
    pixels = reading.pixels[..., top : top + height, left : left + width]
    return replace(reading, pixels=pixels, transform=shifted(reading.transform, left, top))
