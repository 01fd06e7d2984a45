"""Albumentations on samples: every image, frame, mask and label of a sample moves alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eo_data.raster import Raster
from eo_data.sample import Image, Sample, SampleError


@dataclass(frozen=True)
class Augmentation:
    """Geometric transforms of Albumentations, as TerraTorch's configs use them.

    They act on physical values before normalisation. Values that are missing stay missing; the georeference is given
    up, because a transform does not tell what it did.

    Parameters
    ----------
    transforms : sequence
        Instances of Albumentations transforms; ``ToTensorV2`` is left out, as tensors are made at the end anyway.
    """

    transforms: Sequence[Any]

    def __call__(self, sample: Sample) -> Sample:
        """Transform a sample.

        Raises
        ------
        SampleError
            If its images have different sizes, or a transform refuses them.
        """
        import albumentations  # noqa: PLC0415

        steps = [step for step in self.transforms if type(step).__name__ != "ToTensorV2"]
        if not steps:
            return sample
        planes, masks = _planes(sample)
        compose = albumentations.Compose(steps)
        try:
            result = compose(image=np.ascontiguousarray(np.moveaxis(np.concatenate(planes), 0, -1)), masks=masks)
        except ValueError as error:
            msg = f"{sample.id}: the transforms refuse {planes[0].shape[-2:]} pixels: {error}"
            raise SampleError(msg) from error
        return _rebuilt(sample, np.moveaxis(np.atleast_3d(result["image"]), -1, 0), list(result["masks"]))


def _planes(sample: Sample) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """All image planes ``(n, H, W)``, and masks: validity per frame, then the label."""
    images = list(sample.images.values())
    sizes = {(image.raster.height, image.raster.width) for image in images}
    if len(sizes) > 1:
        msg = (
            f"{sample.id}: the modalities have different sizes {sorted(sizes)}; transforms need one. Leave transforms "
            "out, or set resample_to."
        )
        raise SampleError(msg)
    planes = [image.raster.pixels.reshape(-1, *image.raster.pixels.shape[-2:]) for image in images]
    masks = [
        plane.astype(np.float32)
        for image in images
        for plane in image.raster.valid.reshape(-1, *image.raster.valid.shape[-2:])
    ]
    if isinstance(sample.label, Raster):
        masks.append(sample.label.pixels[0])
    return planes, masks


def _rebuilt(sample: Sample, planes: np.ndarray, masks: list[np.ndarray]) -> Sample:
    label: Any = sample.label
    if isinstance(label, Raster):
        pixels = masks.pop()[None].astype(np.float32)
        label = Raster(pixels, np.ones_like(pixels[0], dtype=bool), None, None)
    images: dict[str, Image] = {}
    for name, image in sample.images.items():
        shape = image.raster.pixels.shape
        count, frames = int(np.prod(shape[:-2])), int(np.prod(image.raster.valid.shape[:-2]))
        own, planes = planes[:count], planes[count:]
        valid, masks = np.stack(masks[:frames]) > 0.5, masks[frames:]
        pixels = np.ascontiguousarray(own, dtype=np.float32).reshape(*shape[:-2], *own.shape[-2:])
        raster = Raster(pixels, valid.reshape(*image.raster.valid.shape[:-2], *own.shape[-2:]), None, None)
        images[name] = replace(image, raster=raster)
    return replace(sample, images=images, label=label)
