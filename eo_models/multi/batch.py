"""The input of several encoders, sorted into images and what belongs to each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

#: Name of the only image of an input, or of a backbone, where it has no name.
UNNAMED: Final = ""
#: Names of channels by image; a plain list is of the image `UNNAMED`.
Bands = Mapping[str, tuple[str, ...]]

_MASK = "_mask"


@dataclass(frozen=True)
class Batch:
    """The input of a forward pass, sorted.

    Parameters
    ----------
    images : mapping of str to Tensor
        By name; `UNNAMED` for a tensor, or for the only image of a dict if ``bands`` is a list.
    companions : mapping of str to object
        What else was in a dict of images: dates, masks.
    batch : mapping of str to object
        Keyword arguments of the forward pass: other keys of the batch.
    names : frozenset of str
        Names of images: ``S2_series_dates`` belongs to ``S2_series`` if there is one, else to ``S2``.
    """

    images: Mapping[str, torch.Tensor]
    companions: Mapping[str, object]
    batch: Mapping[str, object]
    names: frozenset[str]

    def owner(self, key: str) -> str | None:
        """Return the image that a key such as ``S2_dates`` belongs to."""
        return max((name for name in self.names if key.startswith(f"{name}_")), key=len, default=None)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the first image."""
        height, width = next(iter(self.images.values())).shape[-2:]
        return int(height), int(width)


def read_batch(
    x: torch.Tensor | Mapping[str, Any],
    batch: Mapping[str, object],
    bands: Bands,
    sources: Iterable[str],
    targets: Iterable[str],
) -> Batch:
    """Sort the input of a forward pass.

    Parameters
    ----------
    x : Tensor or mapping
        ``(B, C, H, W)`` or ``(B, C, T, H, W)``, or one of these per image with dates and masks beside them.
    batch : mapping
        Other keys of the batch.
    bands : mapping
        Channels of the input as the config names them; empty if it does not.
    sources, targets : iterable of str
        Names of the images that the encoders get, in the input and for the encoders.

    Raises
    ------
    ValueError
        If the images or their channels are not those that ``bands`` names.
    """
    wanted = sorted(set(sources))
    if isinstance(x, torch.Tensor) and not bands and len(wanted) > 1:
        msg = f"Expected a dict with the images {', '.join(wanted)}, got one tensor of shape {tuple(x.shape)}."
        raise ValueError(msg)
    if isinstance(x, torch.Tensor):
        images, companions = _split(x, bands), {}
    else:
        is_image = {
            key: isinstance(v, torch.Tensor) and v.ndim >= 4 and not key.endswith(_MASK) for key, v in x.items()
        }
        images = {key: x[key] for key, found in is_image.items() if found}
        companions = {key: x[key] for key, found in is_image.items() if not found}
    known = frozenset(wanted) | frozenset(targets) | (frozenset(images) - {UNNAMED})
    if UNNAMED in bands and UNNAMED not in images:
        if len(images) != 1:
            msg = (
                f"bands is a list, so the input must be one image, but it has {listed(images)}. Name the channels of "
                f"each image: bands={{{next(iter(images), 'S2')}: [...], ...}}."
            )
            raise ValueError(msg)
        ((single, image),) = images.items()
        images, companions = {UNNAMED: image}, _under_all_names(companions, single, known)
    for name, channels in bands.items():
        if name in images:
            _check_channels(name, images[name], channels)
    return Batch(images, companions, batch, known)


def _under_all_names(companions: Mapping[str, Any], image: str, names: Iterable[str]) -> dict[str, Any]:
    """Companions of the only image under the names by which the encoders know it, and under its own."""
    own = {key: value for key, value in companions.items() if key.startswith(f"{image}_")}
    return dict(companions) | {f"{name}{key[len(image) :]}": value for name in names for key, value in own.items()}


def _split(x: torch.Tensor, bands: Bands) -> dict[str, torch.Tensor]:
    """One tensor as the images that ``bands`` names: their channels one after the other."""
    if not bands or UNNAMED in bands:
        return {UNNAMED: x}
    counts = [len(channels) for channels in bands.values()]
    if x.ndim < 4 or x.shape[1] != sum(counts):
        msg = (
            f"Expected a dict with the images {', '.join(bands)}, or one tensor with their {sum(counts)} "
            f"channels in that order, got shape {tuple(x.shape)}."
        )
        raise ValueError(msg)
    return dict(zip(bands, x.split(counts, dim=1), strict=True))


def _check_channels(name: str, image: torch.Tensor, channels: Sequence[str]) -> None:
    if image.ndim in (4, 5) and image.shape[1] == len(channels):
        return
    what = "the image" if name == UNNAMED else f"the image {name!r}"
    msg = (
        f"Expected {what} as (B, C, H, W) or (B, C, T, H, W) with C = {len(channels)} channels "
        f"({', '.join(channels)}), got shape {tuple(image.shape)}. Make the data module's output bands and the bands "
        "of MultiBackboneWrapper the same list."
    )
    raise ValueError(msg)


def listed(names: Iterable[str]) -> str:
    """Return names of images for a message."""
    return ", ".join("one tensor" if name == UNNAMED else name for name in names) or "no image"
