"""A sample on its way from files to an encoder: images with band names, dates and georeference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

import numpy as np

from eo_data.raster.raster import Raster
from eo_data.sensors.units import InputUnit

#: Label of pixels that do not count.
IGNORED = -1.0


class SampleError(ValueError):
    """A sample cannot be used; the message says which one, why, and what to do."""


@dataclass(frozen=True)
class Image:
    """One modality of a sample.

    Parameters
    ----------
    raster : Raster
        Pixels ``(C, H, W)`` of an image or ``(T, C, H, W)`` of a series, NaN where missing, with georeference.
    bands : tuple of str
        Name of each channel.
    unit : InputUnit
        Unit of the values.
    pixel_size : float
        Nominal pixel size in metres.
    dates : tuple of date
        Date of each frame (one for an image); empty if the modality is not dated.
    date_sources : tuple of str
        Where each date came from: ``index``, ``pattern``, ``name``, ``tags``, ``fallback`` ...
    observed : ndarray
        Bool ``(T,)``: frames that exist and are not all missing.
    paths : tuple of str
        Files that were read: paths, URLs, or names that only GDAL knows.
    sensor : str or None
        Key of `eo_data.sensors.tables.SENSORS`, by which other spellings of the bands are known.
    notes : tuple of str
        What happened on the way that a user may want to know.
    """

    raster: Raster
    bands: tuple[str, ...]
    unit: InputUnit
    pixel_size: float
    dates: tuple[date, ...] = ()
    date_sources: tuple[str, ...] = ()
    observed: np.ndarray = field(default_factory=lambda: np.ones(1, dtype=bool))
    paths: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    sensor: str | None = None

    @property
    def is_series(self) -> bool:
        """Whether there is a time axis."""
        return self.raster.pixels.ndim == 4

    @property
    def ground_cover(self) -> tuple[float, float]:
        """Height and width on the ground in metres, by the nominal pixel size."""
        return self.raster.height * self.pixel_size, self.raster.width * self.pixel_size


@dataclass(frozen=True)
class Sample:
    """The images and the label of one place.

    Parameters
    ----------
    id : str
        Unique in the data set.
    images : mapping of str to Image
        Images by modality, without those that are missing in this sample.
    label : Raster, float, int or None
        Label raster ``(1, H, W)`` on the grid of the first image, or one value.
    """

    id: str
    images: Mapping[str, Image]
    label: Raster | float | int | None = None

    @property
    def reference(self) -> Image:
        """The image whose georeference counts for the sample: the first one that was read from a file."""
        return next((image for image in self.images.values() if image.paths), next(iter(self.images.values())))
