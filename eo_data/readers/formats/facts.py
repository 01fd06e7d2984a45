"""What a file says of itself: the one record that images, labels, statistics, tiles and reports go by.

Every kind of file has one function that makes it, in the module of its reader. Nothing here is believed yet: what a
config states is compared with it by those who read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal, Protocol

import numpy as np

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.raster.georeference import PixelGrid
from eo_data.sensors.quality_names import CloudKind
from eo_data.sensors.units import InputUnit

#: How scale and offset of a file are meant: ``cf`` says that values are those after decoding, GDAL leaves it open.
Packing = Literal["cf", "gdal"]


@dataclass(frozen=True)
class BandFacts:
    """What a file says of one band.

    Parameters
    ----------
    name : str or None
        Its description or the name of its variable.
    dtype : str
        Type of the stored numbers, as numpy spells it.
    unit : str or None
        Unit of measurement as written.
    scale, offset : float or None
        Value = number * scale + offset; ``None`` where nothing is said, which 1 and 0 count as.
    nodata : tuple of float
        Numbers that mean "missing".
    valid_range : tuple of float, optional
        Least and largest number that is not missing.
    colour : str or None
        GDAL's colour interpretation, in lower case.
    """

    name: str | None = None
    dtype: str = "float32"
    unit: str | None = None
    scale: float | None = None
    offset: float | None = None
    nodata: tuple[float, ...] = ()
    valid_range: tuple[float, float] | None = None
    colour: str | None = None

    @property
    def is_scaled(self) -> bool:
        """Whether a scale or an offset is stated."""
        return self.scale is not None or self.offset is not None


@dataclass(frozen=True)
class ProductFacts:
    """What a product says of itself as a whole, beside the facts of its bands.

    Parameters
    ----------
    kind : str
        Mission and level: ``Sentinel-2 L2A``.
    name : str
        Id of the product, without a suffix.
    sensor : str
        Key of `eo_data.sensors.tables.SENSORS`, whose canonical names its bands have.
    unit : InputUnit
        What the numbers are that are read of it: ``digital_number`` with scale and offset in the facts of the bands,
        or the physical unit that its reader makes of them.
    quality_band, quality_kind : str or None
        Its layer that tells clouds, and what it holds.
    tile : str
        Tile of the product's own grid: ``T32UQV``, ``195025``; empty where it has none.
    started : datetime or None
        When sensing began, UTC.
    notes : tuple of str
        What a user must know of the values or their place; recorded with every image.
    absent : tuple of str
        Bands that it lists, but whose files are not there.
    """

    kind: str
    name: str
    sensor: str
    unit: InputUnit
    quality_band: str | None = None
    quality_kind: CloudKind | None = None
    tile: str = ""
    started: datetime | None = None
    notes: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileFacts:
    """What a file says of itself.

    Parameters
    ----------
    kind : str
        Driver or format.
    grid : PixelGrid
        Size and place of the pixels; transform and CRS are ``None`` where the file does not state them.
    bands : tuple of BandFacts
        In the order of the file.
    tags : mapping of str to str
        Metadata of the file, where dates and product names may be.
    named : bool
        Whether every band has a name of its own, as variables do; else the order has to be declared or described.
    mask : {'', 'mask', 'alpha'}
        What marks missing pixels besides numbers: a mask inside or beside the file, or a band of opacity.
    alpha : int or None
        Position of the band of opacity.
    points : str
        ``ground control points`` or ``RPCs`` if they are all that says where the pixels lie, else empty.
    packing : {'cf', 'gdal'}
        How scale and offset are meant.
    frames : int or None
        Length of the time axis; ``None`` without one.
    frame_names : tuple of str
        Product name of each frame, if the file has them.
    frame_dates : tuple of date
        Date of each frame, if the file has them.
    block_bytes : int
        Memory that the largest block takes, of which the file is made and which is unpacked as a whole; 0 without.
    product : ProductFacts or None
        What the product says of itself, if the file is one.
    """

    kind: str
    grid: PixelGrid
    bands: tuple[BandFacts, ...]
    tags: Mapping[str, str] = field(default_factory=dict)
    named: bool = False
    mask: Literal["", "mask", "alpha"] = ""
    alpha: int | None = None
    points: str = ""
    packing: Packing = "gdal"
    frames: int | None = None
    frame_names: tuple[str, ...] = ()
    frame_dates: tuple[date, ...] = ()
    block_bytes: int = 0
    product: ProductFacts | None = None


@dataclass(frozen=True)
class Part:
    """Rows and columns of a file; all in pixels."""

    top: int
    left: int
    height: int
    width: int


class OpenLayer(Protocol):
    """Bands of an open file that lie on one grid."""

    @property
    def facts(self) -> FileFacts:
        """What the file says of them."""
        ...

    def stored(
        self,
        bands: Sequence[int],
        part: Part,
        *,
        nodata: float | None = None,
        alpha: bool = True,
        dtype: type = np.float32,
    ) -> np.ndarray:
        """Read bands as stored.

        Parameters
        ----------
        bands : sequence of int
            Positions, counted from 0.
        part : Part
            Inside the grid.
        nodata : float, optional
            Number that means "missing", instead of those that the file states.
        alpha : bool
            Whether a band of opacity tells what is missing.
        dtype : type
            ``numpy.float32``, or ``numpy.float64`` for whole numbers that must stay exact.

        Returns
        -------
        ndarray
            ``(C, H, W)``, or ``(T, C, H, W)`` with a time axis; NaN where missing, by whatever the file has.
        """
        ...


class Opener(Protocol):
    """Opens a file for a source (``None``: a label) and gives its layers: the bands that lie on one grid together."""

    def __call__(self, href: Href, source: ImageSource | None) -> AbstractContextManager[Sequence[OpenLayer]]:
        """Open a file."""
        ...


#: No sensor has as many bands: a file that says so is damaged, or its axes are in another order.
_MOST_BANDS = 100_000


def refuse_many_bands(count: int) -> None:
    """Refuse what cannot be a number of bands, before anything is made for each.

    Raises
    ------
    ValueError
        If there are more than 100 000.
    """
    if count > _MOST_BANDS:
        msg = f"it has {count} bands, expected at most {_MOST_BANDS}. Are its axes in the order (T, C, H, W)?"
        raise ValueError(msg)


def stated_scale(scale: object, offset: object) -> tuple[float | None, float | None]:
    """Return scale and offset as facts; 1 and 0 say nothing, because GDAL and CF take them for granted.

    Raises
    ------
    ValueError
        If one is no finite number, or the scale is 0.
    """
    numbers = [default if value is None else float(str(value)) for value, default in ((scale, 1.0), (offset, 0.0))]
    if not all(np.isfinite(numbers)) or numbers[0] == 0:
        msg = (
            f"it states the scale {scale!r} and the offset {offset!r}; expected finite numbers and a scale other than "
            "0."
        )
        raise ValueError(msg)
    return (None, None) if numbers == [1.0, 0.0] else (numbers[0], numbers[1])


def mark_missing(stored: np.ndarray, pixels: np.ndarray, band: BandFacts, nodata: float | None) -> None:
    """Set the pixels of one band to NaN where the stored numbers mean "missing".

    Integers are compared as integers. Fractions are compared in float32, in which no-data often was written; the lowest
    of float32 has several spellings (-3.4e38, -3.40282306e38), which GDAL takes for one, too.

    Parameters
    ----------
    stored : ndarray
        Any shape, as stored.
    pixels : ndarray
        The same as float32; changed in place.
    band : BandFacts
        No-data and valid range.
    nodata : float, optional
        Counts instead of those.
    """
    for value in band.nodata if nodata is None else (nodata,):
        if np.isnan(value):
            continue
        if stored.dtype.kind in "iub":
            found = stored == int(value) if float(value).is_integer() else None
        else:
            found = _same_float32(pixels, value)
        if found is not None and found.any():
            pixels[found] = np.nan
    if band.valid_range is not None and nodata is None:
        low, high = band.valid_range
        outside = (stored < low) | (stored > high)
        if outside.any():
            pixels[outside] = np.nan


#: From here on numbers are no measurements, and single digits of no-data do not count.
_HUGE, _TWO_NEIGHBOURS = 1e30, 2.4e-7


def _same_float32(pixels: np.ndarray, value: float) -> np.ndarray:
    with np.errstate(over="ignore"):
        numbers, wanted = pixels.astype(np.float32, copy=False), np.float32(value)
    if np.isfinite(wanted) and abs(wanted) > _HUGE:
        near = np.abs(numbers.astype(np.float64) - float(wanted))
        return np.asarray(near <= _TWO_NEIGHBOURS * abs(float(wanted)))
    return np.asarray(numbers == wanted)


def as_floats(stored: np.ndarray, dtype: type = np.float32) -> np.ndarray:
    """Return numbers as floats, without a copy if they are; what is too large becomes infinite.

    Raises
    ------
    ValueError
        For complex numbers, or what is no number.
    """
    refuse_complex(stored.dtype)
    with np.errstate(over="ignore"):  # no-data such as -1.8e308
        return stored.astype(dtype, copy=False)


def refuse_complex(dtype: object) -> None:
    """Refuse complex pixels, of which a cast would drop the imaginary part.

    Raises
    ------
    ValueError
        If numbers of this type are complex.
    """
    if "complex" in str(dtype) or str(dtype).startswith("c"):
        msg = (
            f"its pixels are complex ({dtype}), as of single-look complex radar (SLC). Detect and calibrate them "
            "first: the intensity abs(z)**2 as linear_power, or a detected product such as GRD."
        )
        raise ValueError(msg)
