"""A batch and its features as lists of tensors, which is all that a graph takes and gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from eo_models.contract import Features
from eo_models.features import FeatureExtractor

type Image = torch.Tensor | Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class InputForm:
    """Which tensors a batch has, without their number of samples.

    Parameters
    ----------
    images : tuple of str, or None
        Names of the images; ``None`` for a single one without a name.
    extras : tuple of str
        Names of the tensors beside the images, such as dates.
    constants : tuple of (str, number)
        Numbers and texts beside the images; they are a part of a graph.
    shapes : tuple of tuple of int
        Of the tensors, images first, without the axis of the samples.
    dtypes : tuple of dtype
        Of the tensors.
    """

    images: tuple[str, ...] | None
    extras: tuple[str, ...]
    constants: tuple[tuple[str, bool | int | float | str | None], ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[torch.dtype, ...]

    @classmethod
    def of(cls, image: Image, extras: Mapping[str, Any]) -> InputForm:
        """Return the form of a batch; what is neither tensor, number nor text beside the images is left out of it."""
        images = tuple(image) if isinstance(image, Mapping) else None
        named = tuple(name for name, value in extras.items() if isinstance(value, torch.Tensor))
        plain = (bool, int, float, str, type(None))
        constants = tuple((name, value) for name, value in extras.items() if isinstance(value, plain))
        tensors = _tensors(image, extras, named)
        shapes = tuple(tuple(tensor.shape[1:]) for tensor in tensors)
        return cls(images, named, constants, shapes, tuple(tensor.dtype for tensor in tensors))

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each tensor."""
        return (*(("image",) if self.images is None else self.images), *self.extras)

    def tensors(self, image: Image, extras: Mapping[str, Any]) -> list[torch.Tensor]:
        """Return the tensors of a batch of this form."""
        return _tensors(image, extras, self.extras)

    def batch(self, tensors: Sequence[torch.Tensor]) -> tuple[Image, dict[str, Any]]:
        """Return images, and what is beside them, of these tensors."""
        count = 1 if self.images is None else len(self.images)
        image: Image = tensors[0] if self.images is None else dict(zip(self.images, tensors[:count], strict=True))
        return image, {**dict(self.constants), **dict(zip(self.extras, tensors[count:], strict=True))}


def _tensors(image: Image, extras: Mapping[str, Any], names: Sequence[str]) -> list[torch.Tensor]:
    return [*(image.values() if isinstance(image, Mapping) else (image,)), *(extras[name] for name in names)]


@dataclass(frozen=True)
class FeatureForm:
    """What the layers give beside tokens.

    Parameters
    ----------
    layers : tuple of (bool, bool)
        For each, whether it has a class token, and a grid.
    """

    layers: tuple[tuple[bool, bool], ...]

    @classmethod
    def of(cls, features: Sequence[Features]) -> FeatureForm:
        """Return the form of features."""
        return cls(tuple((own.cls_token is not None, own.grid is not None) for own in features))

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each tensor."""
        parts = ("tokens", "cls_token", "grid")
        return tuple(
            f"{part}_{index}"
            for index, (has_class, has_grid) in enumerate(self.layers)
            for part, there in zip(parts, (True, has_class, has_grid), strict=True)
            if there
        )

    def features(self, tensors: Sequence[torch.Tensor]) -> list[Features]:
        """Return features of these tensors."""
        left = iter(tensors)
        return [
            Features(next(left), next(left) if has_class else None, next(left) if has_grid else None)
            for has_class, has_grid in self.layers
        ]


def tensors_of(features: Sequence[Features]) -> tuple[torch.Tensor, ...]:
    """Return the tensors of features, in the order of `FeatureForm.names`."""
    return tuple(part for own in features for part in (own.tokens, own.cls_token, own.grid) if part is not None)


class FlatEncoder(nn.Module):
    """An encoder as a function of tensors alone.

    Parameters
    ----------
    extractor : FeatureExtractor
        The encoder.
    form : InputForm
        Of the batches.
    """

    def __init__(self, extractor: FeatureExtractor, form: InputForm) -> None:
        super().__init__()
        self.extractor, self.form = extractor, form

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Map the tensors of a batch to those of its features."""
        image, extras = self.form.batch(tensors)
        return tensors_of(self.extractor(image, **extras))
