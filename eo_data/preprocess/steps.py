"""The steps that every preprocessing is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from eo_data.preprocess.normalisation import Normaliser, fill_missing
from eo_data.raster.plan import GeometryPlan, apply_before
from eo_data.raster.raster import Raster, Resampling
from eo_data.raster.sample import IGNORED, Image, Sample, SampleError
from eo_data.sensors.quality_names import kind_of_name


class Preprocess(Protocol):
    """Turns pixels in physical units into the input that an encoder was trained on."""

    def __call__(self, sample: Sample) -> Sample:
        """Return the sample with normalised images without NaN on their final grid; masks and georeference follow.

        Raises
        ------
        SampleError
            If the sample does not suit the encoder.
        """
        ...

    def describe(self, image: Image) -> dict[str, object]:
        """Return what would be done to an image, without any weights: geometry, normalisation, tokens."""
        ...


@dataclass(frozen=True)
class PixelSteps:
    """What a preprocessing does to the values of one modality, apart from geometry, in the order of the fields.

    Missing values stay missing through it and become 0 at the end.

    Parameters
    ----------
    normaliser : Normaliser
        The last step.
    zero_missing : bool
        Whether missing values become the number 0 first.
    ratio : tuple of (int, int), optional
        Positions of two bands; first / (second + 1e-10) becomes a further band.
    clip : tuple of (float, float), optional
        Range to which values are limited.
    """

    normaliser: Normaliser
    zero_missing: bool = False
    ratio: tuple[int, int] | None = None
    clip: tuple[float, float] | None = None


@runtime_checkable
class DeclaresSteps(Protocol):
    """A preprocessing that tells what it does to values, so that it can be done elsewhere: within a deployed graph."""

    def pixel_steps(self, name: str, image: Image) -> PixelSteps:
        """Return the steps for images like this one.

        Parameters
        ----------
        name : str
            Name of the modality.
        image : Image
            Bands, unit and sensor count; its pixels do not.

        Raises
        ------
        SampleError
            For a unit or bands that it is not for.
        """
        ...


def normalised(image: Image, normalise: Normaliser) -> Image:
    """Normalise the pixels of an image; NaN stays NaN.

    Raises
    ------
    SampleError
        If the normalisation refuses the values or the number of bands.
    """
    try:
        pixels = normalise(image.raster.pixels)
    except ValueError as error:
        msg = f"{_where(image)}: {error}"
        raise SampleError(msg) from error
    return replace(image, raster=image.raster.with_pixels(pixels))


def filled(image: Image) -> Image:
    """Replace missing values by 0, the mean of a normalised band; the mask keeps them marked."""
    return replace(image, raster=image.raster.with_pixels(fill_missing(image.raster.pixels)))


def with_geometry(image: Image, plan: GeometryPlan) -> Image:
    """Apply the steps of a plan that come before normalisation; classes of quality layers are not interpolated."""
    return replace(image, raster=_moved(image, lambda raster, how: apply_before(plan, raster, how)))


def resized(image: Image, plan: GeometryPlan) -> Image:
    """Apply the resampling of a plan that comes after normalisation; the nominal pixel size follows.

    Classes of quality layers are not interpolated.
    """
    if plan.resize is None:
        return image
    height, width = plan.resize
    size = image.pixel_size * image.raster.height / height
    raster = _moved(image, lambda raster, how: raster.resize(height, width, how))
    return replace(image, raster=raster, pixel_size=size)


def quality_bands(image: Image) -> list[int]:
    """Return the positions of bands that are quality layers by their names; between two classes there is nothing."""
    return [i for i, band in enumerate(image.bands) if kind_of_name(band) is not None]


def _moved(image: Image, move: Callable[[Raster, Resampling], Raster]) -> Raster:
    """Move an image by a step that may resample, its quality layers by nearest neighbour."""
    raster = move(image.raster, "bilinear")
    layers = quality_bands(image)
    if not layers:
        return raster
    pixels = raster.pixels.copy()
    classes = image.raster.with_pixels(image.raster.pixels[..., layers, :, :])
    pixels[..., layers, :, :] = move(classes, "nearest").pixels
    return raster.with_pixels(pixels)


def label_with_geometry(label: Raster | float | None, plan: GeometryPlan) -> Raster | float | None:
    """Apply a plan to a label raster: borders are ignored, and classes are not interpolated."""
    if not isinstance(label, Raster):
        return label
    raster = apply_before(plan, label, "nearest")
    pixels = np.where(raster.valid, raster.pixels, np.float32(IGNORED))
    raster = raster.with_pixels(pixels.astype(np.float32, copy=False))
    return raster if plan.resize is None else raster.resize(*plan.resize, resampling="nearest")


def _where(image: Image) -> str:
    return str(image.paths[0]) if image.paths else f"image of {', '.join(image.bands)}"
