"""Albumentations on samples: every image, frame, mask and label of a sample moves alike."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from eo_data.raster.raster import Raster
from eo_data.raster.sample import IGNORED, Image, Sample, SampleError

#: OpenCV 5 takes no more than 128 channels at once; a series of 13 bands and 10 frames has more.
CHANNELS = 64


@dataclass(frozen=True)
class Augmentation:
    """Geometric transforms of Albumentations, as TerraTorch's configs use them.

    They act on physical values before normalisation. Values that are missing stay missing, and so does a border that a
    transform makes up (its label is ignored); the georeference is given up, because a transform does not tell what it
    did. Random choices follow the seed that comes with a sample (`eo_data.dataset.sampler.SeededIndex`), or else
    torch's global generator, which `lightning.seed_everything` sets in workers too.

    Parameters
    ----------
    transforms : sequence
        Instances of Albumentations transforms; ``ToTensorV2`` is left out, as tensors are made at the end anyway.
    """

    transforms: Sequence[Any]

    def __call__(self, sample: Sample, seed: int | None = None) -> Sample:
        """Transform a sample.

        Raises
        ------
        SampleError
            If its images have different sizes, or a transform refuses them.
        """
        from albumentations.augmentations.crops.transforms import CropSizeError  # noqa: PLC0415

        steps = [step for step in self.transforms if type(step).__name__ != "ToTensorV2"]
        if not steps:
            return sample
        planes, masks = _planes(sample)
        # The last mask tells what a transform made up.
        masks.append(np.ones(masks[0].shape, dtype=np.float32))
        stacks = _stacks(np.concatenate(planes))
        more = {name: "image" for name in stacks if name != "image"}
        seed = int(torch.randint(2**31 - 1, (1,))) if seed is None else seed
        compose = composed(steps, seed, more)
        try:
            result = compose(**stacks, masks=masks)
        except (ValueError, CropSizeError) as error:
            msg = f"{sample.id}: the transforms refuse {planes[0].shape[-2:]} pixels: {error}"
            raise SampleError(msg) from error
        moved = np.concatenate([np.moveaxis(np.atleast_3d(result[name]), -1, 0) for name in stacks])
        *own, inside = result["masks"]
        return _rebuilt(sample, moved, own, inside > 0.5)


def composed(steps: Sequence[Any], seed: int, additional_targets: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401
    """Return the steps as one transform whose random choices follow a seed.

    The steps share one stream of numbers. With ``Compose(..., seed=seed)``, each would start the same stream of its
    own: two flips would then always happen together, and a crop would tell the turn that follows.
    """
    import albumentations  # noqa: PLC0415

    compose = albumentations.Compose(list(steps), additional_targets=dict(additional_targets or {}))
    compose.set_random_state(np.random.default_rng(seed), random.Random(seed))  # noqa: S311 (no secret)
    return compose


def _stacks(planes: np.ndarray) -> dict[str, np.ndarray]:
    """Planes as images ``(H, W, n)`` of as many channels as OpenCV takes at once."""
    parts = [planes[i : i + CHANNELS] for i in range(0, len(planes), CHANNELS)]
    return {f"image{i or ''}": np.ascontiguousarray(np.moveaxis(part, 0, -1)) for i, part in enumerate(parts)}


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


def _rebuilt(sample: Sample, planes: np.ndarray, masks: list[np.ndarray], inside: np.ndarray) -> Sample:
    planes = np.where(inside, planes, np.float32(np.nan))
    label: Any = sample.label
    if isinstance(label, Raster):
        pixels = np.where(inside, masks.pop(), np.float32(IGNORED)).astype(np.float32)[None]
        label = Raster(pixels, np.ones_like(pixels[0], dtype=bool), None, None)
    images: dict[str, Image] = {}
    for name, image in sample.images.items():
        shape = image.raster.pixels.shape
        count, frames = int(np.prod(shape[:-2])), int(np.prod(image.raster.valid.shape[:-2]))
        own, planes = planes[:count], planes[count:]
        valid, masks = (np.stack(masks[:frames]) > 0.5) & inside, masks[frames:]
        pixels = np.ascontiguousarray(own, dtype=np.float32).reshape(*shape[:-2], *own.shape[-2:])
        raster = Raster(pixels, valid.reshape(*image.raster.valid.shape[:-2], *own.shape[-2:]), None, None)
        images[name] = replace(image, raster=raster)
    return replace(sample, images=images, label=label)
