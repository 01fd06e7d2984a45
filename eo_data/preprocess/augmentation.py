"""Albumentations on samples: every image, frame, mask and label of a sample moves alike."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from eo_data.preprocess.steps import quality_bands
from eo_data.raster.raster import Raster
from eo_data.raster.sample import IGNORED, Sample, SampleError

#: OpenCV 5 takes no more than 128 channels at once; a series of 13 bands and 10 frames has more.
CHANNELS = 64


@dataclass(frozen=True)
class Augmentation:
    """Geometric transforms of Albumentations, as TerraTorch's configs use them.

    They act on physical values before normalisation; quality layers such as SCL, known by their names, move by nearest
    neighbour. Values that are missing stay missing, and a border that a
    transform makes up is missing too (its label is ignored). The georeference is given up, because a transform does not
    tell what it did. Random choices follow the seed that comes with a sample (`eo_data.dataset.sampler.SeededIndex`),
    or else torch's global generator, which `lightning.seed_everything` sets in workers too.

    Parameters
    ----------
    transforms : sequence
        Instances of Albumentations transforms. ``ToTensorV2`` is skipped, because tensors are made at the end anyway.
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
        # Masks move by nearest neighbour, and so do classes.
        layers = _quality_planes(sample)
        masks.extend(planes[layers])
        # The last mask shows which pixels a transform made up.
        masks.append(np.ones(masks[0].shape, dtype=np.float32))
        stacks = _stacks(planes)
        more = {name: "image" for name in stacks if name != "image"}
        seed = int(torch.randint(2**31 - 1, (1,))) if seed is None else seed
        compose = composed(steps, seed, more)
        try:
            result = compose(**stacks, masks=masks)
        except (ValueError, CropSizeError) as error:
            msg = f"{sample.id}: the transforms refuse {planes.shape[-2:]} pixels: {error}"
            raise SampleError(msg) from error
        moved = np.concatenate([np.moveaxis(np.atleast_3d(result[name]), -1, 0) for name in stacks])
        *own, inside = result["masks"]
        own, classes = own[: len(own) - len(layers)], own[len(own) - len(layers) :]
        for layer, moved_classes in zip(layers, classes, strict=True):
            moved[layer] = moved_classes
        return _rebuilt(sample, moved, own, inside > 0.5)


def composed(steps: Sequence[Any], seed: int, additional_targets: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401
    """Return the steps as one transform whose random choices follow a seed.

    The steps share one stream of numbers. With ``Compose(..., seed=seed)``, each would start the same stream of its
    own: two flips would then always happen together, and the place of a crop would decide the turn after it.
    """
    import albumentations  # noqa: PLC0415

    compose = albumentations.Compose(list(steps), additional_targets=dict(additional_targets or {}))
    compose.set_random_state(np.random.default_rng(seed), random.Random(seed))  # noqa: S311 (no secret)
    return compose


def _stacks(planes: np.ndarray) -> dict[str, np.ndarray]:
    """Planes as images ``(H, W, n)`` of as many channels as OpenCV takes at once."""
    parts = [planes[i : i + CHANNELS] for i in range(0, len(planes), CHANNELS)]
    return {f"image{i or ''}": np.ascontiguousarray(np.moveaxis(part, 0, -1)) for i, part in enumerate(parts)}


def _planes(sample: Sample) -> tuple[np.ndarray, list[np.ndarray]]:
    """Lay out a sample as flat planes, as `_rebuilt` expects them.

    Returns
    -------
    ndarray
        Float32 ``(n, H, W)``: image by image, frame by frame, band by band.
    list of ndarray
        Float32 ``(H, W)`` each: validity (0 or 1), image by image, frame by frame; then the label, if it is a raster.
    """
    rasters = [image.raster for image in sample.images.values()]
    sizes = {(raster.height, raster.width) for raster in rasters}
    if len(sizes) > 1:
        msg = (
            f"{sample.id}: the modalities have different sizes {sorted(sizes)}; transforms need one. Leave transforms "
            "out, or set resample_to."
        )
        raise SampleError(msg)
    planes = np.concatenate([_flat(raster.pixels) for raster in rasters])
    masks = [plane.astype(np.float32) for raster in rasters for plane in _flat(raster.valid)]
    return planes, masks + ([sample.label.pixels[0]] if isinstance(sample.label, Raster) else [])


def _quality_planes(sample: Sample) -> list[int]:
    """Return which flat planes of `_planes` are quality layers."""
    found, first = [], 0
    for image in sample.images.values():
        count, bands = len(_flat(image.raster.pixels)), len(image.bands)
        found += [first + start + band for start in range(0, count, bands) for band in quality_bands(image)]
        first += count
    return found


def _flat(planes: np.ndarray) -> np.ndarray:
    """Make one axis of all axes but the last two; it has length 1 if there are no others."""
    return planes.reshape(-1, *planes.shape[-2:])


def _rebuilt(sample: Sample, planes: np.ndarray, masks: list[np.ndarray], inside: np.ndarray) -> Sample:
    """Put moved planes together as a sample again: the inverse of `_planes`.

    Parameters
    ----------
    sample : Sample
        Before it was moved.
    planes, masks : ndarray, list of ndarray
        In the order of `_planes`, of any size.
    inside : ndarray
        Bool ``(H, W)``: pixels that show a part of the sample, not a border that a transform made up.
    """
    label = sample.label
    if isinstance(label, Raster):
        *masks, classes = masks
        pixels = np.where(inside, classes, np.float32(IGNORED)).astype(np.float32)
        label = Raster(pixels[None], np.ones_like(inside), None, None)
    rasters = [image.raster for image in sample.images.values()]
    bands = _split(np.where(inside, planes, np.float32(np.nan)), [raster.pixels for raster in rasters])
    valid = _split((np.stack(masks) > 0.5) & inside, [raster.valid for raster in rasters])
    moved = [Raster(own, seen, None, None) for own, seen in zip(bands, valid, strict=True)]
    images = {
        name: replace(image, raster=raster) for (name, image), raster in zip(sample.images.items(), moved, strict=True)
    }
    return replace(sample, images=images, label=label)


def _split(planes: np.ndarray, like: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Cut flat planes ``(n, H, W)`` into arrays with the leading axes of others."""
    counts = [len(_flat(array)) for array in like]
    parts = np.split(planes, np.cumsum(counts)[:-1])
    return [part.reshape(*array.shape[:-2], *planes.shape[-2:]) for part, array in zip(parts, like, strict=True)]
