"""What is read from a file, and which of its bands: shared by all kinds of files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date

import numpy as np
from affine import Affine
from rasterio.errors import RasterioError

from eo_core.addresses import without_credentials
from eo_data.catalog.hrefs import Href, cause_to_show
from eo_data.catalog.sources import ImageSource
from eo_data.raster.georeference import PixelGrid
from eo_data.raster.sample import SampleError
from eo_data.readers.formats.facts import BandFacts
from eo_data.sensors.bands import select_bands
from eo_data.sensors.beside import Sidecar


@dataclass(frozen=True)
class BandOrigin:
    """Where a band was read from.

    Parameters
    ----------
    href : Href
        The file.
    position : int
        Place in the file, counted from 0.
    facts : BandFacts
        What the file says of it, as far as reading has not used it up.
    beside : Sidecar, optional
        What a catalogue says of the file, instead of what lies beside it.
    """

    href: Href
    position: int
    facts: BandFacts
    beside: Sidecar | None = None


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
    bands : tuple of BandOrigin
        Where each of the bands comes from.
    notes : tuple of str
        What a product says that a user must know of its values or their place.
    """

    pixels: np.ndarray
    transform: Affine | None
    crs: str | None
    tags: Mapping[str, str] = field(default_factory=dict)
    frame_names: tuple[str, ...] = ()
    frame_dates: tuple[date, ...] = ()
    bands: tuple[BandOrigin, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def grid(self) -> PixelGrid:
        """Size and place of the pixels."""
        height, width = self.pixels.shape[-2:]
        return PixelGrid(height, width, self.transform, self.crs)


@contextmanager
def reading_errors(href: Href, what: str = "") -> Iterator[None]:
    """Turn whatever goes wrong while a file is read into an error of its sample.

    This is the one door of the readers: a broken file makes libraries raise anything.

    Parameters
    ----------
    href : Href
        The file.
    what : str
        Beginning of the message, such as ``"The label "``; an image has none.

    Raises
    ------
    SampleError
        With the name of the file, without the credentials of an address.
    """
    try:
        with href.opening():
            yield
    except (SampleError, Warning):  # a warning is one only where warnings are made errors
        raise
    except (RasterioError, OSError) as error:
        raise SampleError(what + href.unreadable(error)) from cause_to_show(error)
    except ValueError as error:
        msg = f"{what}{href}{' cannot be used' if what else ''}: {without_credentials(str(error))}"
        raise SampleError(msg) from cause_to_show(error)
    except Exception as error:  # noqa: BLE001
        raise SampleError(what + href.unreadable(error)) from cause_to_show(error)


def choose_bands(available: Sequence[str], source: ImageSource) -> list[int]:
    """Return the position among ``available`` of each band of a source, the substitutes in place.

    Raises
    ------
    ValueError
        If one is not there; the message lists what is.
    """
    wanted = [source.substitutes.get(band, band) for band in source.bands]
    layers = [band for band in wanted if is_quality_layer(band, source)]
    rest = [band for band in wanted if band not in layers]
    once = list(dict.fromkeys(rest)) if source.substitutes else rest
    found = dict(zip(once, select_bands(available, once, source.table), strict=True))
    found |= dict(zip(layers, select_bands(available, layers, None), strict=True)) if layers else {}
    return [found[band] for band in wanted]


def is_quality_layer(band: str, source: ImageSource) -> bool:
    """Whether a band is the layer that tells clouds: no band of the sensor, so that its name is taken literally."""
    table = source.table
    return band == source.cloud_band and (table is None or table.canonical(band) is None)


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
