"""The steps that every preprocessing is made of."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np

from eo_data.preprocess.normalisation import Normaliser, fill_missing
from eo_data.raster.plan import GeometryPlan, apply_before
from eo_data.raster.raster import Raster
from eo_data.raster.sample import IGNORED, Image, Sample, SampleError


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
    """Apply the steps of a plan that come before normalisation."""
    return replace(image, raster=apply_before(plan, image.raster))


def resized(image: Image, plan: GeometryPlan) -> Image:
    """Apply the resampling of a plan that comes after normalisation; the nominal pixel size follows."""
    if plan.resize is None:
        return image
    size = image.pixel_size * image.raster.height / plan.resize[0]
    return replace(image, raster=image.raster.resize(*plan.resize), pixel_size=size)


def label_with_geometry(label: Raster | float | None, plan: GeometryPlan) -> Raster | float | None:
    """Apply a plan to a label raster: borders are ignored, and classes are not interpolated."""
    if not isinstance(label, Raster):
        return label
    raster = apply_before(plan, label)
    pixels = np.where(raster.valid, raster.pixels, np.float32(IGNORED))
    raster = raster.with_pixels(pixels.astype(np.float32, copy=False))
    return raster if plan.resize is None else raster.resize(*plan.resize, resampling="nearest")


def _where(image: Image) -> str:
    return str(image.paths[0]) if image.paths else f"image of {', '.join(image.bands)}"
