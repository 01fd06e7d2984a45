"""The way from a batch to one encoder of several: which images and channels it gets, with the dates of theirs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal

import torch

from eo_models.multi.batch import UNNAMED, Batch, listed


class Take(Enum):
    """How much an encoder gets where no names choose."""

    ALL = "all"


#: Everything that there is: all images, all channels, all keyword arguments.
ALL: Final = Take.ALL
All = Literal[Take.ALL]
#: Whether an encoder gets one tensor, a dict of images, or what suits the number of its images.
Form = Literal["tensor", "dict", "auto"]


@dataclass(frozen=True)
class Pick:
    """An image that an encoder gets.

    Parameters
    ----------
    source : str
        Its name in the input; `UNNAMED` for the only image of the input.
    target : str
        Its name for the encoder; `UNNAMED` if the encoder has no names.
    channels : tuple of int or ALL
        Which channels, in the order of the encoder.
    """

    source: str
    target: str
    channels: tuple[int, ...] | All = ALL

    def cut(self, image: torch.Tensor) -> torch.Tensor:
        """Return the channels of an image ``(B, C, ...)``."""
        return image if self.channels is ALL else image[:, list(self.channels)]


@dataclass(frozen=True)
class Route:
    """The way from the input to one encoder.

    Parameters
    ----------
    where : str
        Entry, for messages.
    picks : tuple of Pick or ALL
        Images that it gets.
    form : {'tensor', 'dict', 'auto'}
        As what it gets them; ``auto`` is a tensor for a single image.
    keywords : frozenset of str or ALL
        Keyword arguments of its forward pass.
    any_tensor : bool
        Whether a plain tensor is the one image that it gets, whatever name that has for the encoder.
    """

    where: str
    picks: tuple[Pick, ...] | All
    form: Form
    keywords: frozenset[str] | All
    any_tensor: bool = False

    @property
    def named_picks(self) -> tuple[Pick, ...]:
        """Images that are chosen by name; none if it gets all."""
        return () if self.picks is ALL else self.picks

    @property
    def sources(self) -> list[str]:
        """Names of its images in the input."""
        return [pick.source for pick in self.named_picks if pick.source != UNNAMED]

    @property
    def targets(self) -> list[str]:
        """Names of its images for the encoder."""
        return [pick.target for pick in self.named_picks if pick.target != UNNAMED]

    def select(self, batch: Batch) -> tuple[torch.Tensor | dict[str, Any], dict[str, object]]:
        """Return the encoder's input and keyword arguments.

        Raises
        ------
        ValueError
            If an image is missing, or several come to an encoder that reads one tensor.
        """
        picks = self._picks_of(batch)
        images = {pick: pick.cut(batch.images[pick.source]) for pick in picks if pick.source in batch.images}
        as_tensor = len(picks) == 1 if self.form == "auto" else self.form == "tensor"
        if not images or (as_tensor and len(images) != 1):
            self._refuse(batch, as_tensor=as_tensor)
        companions = _of_images(picks, batch, batch.companions)
        keywords = _of_images(picks, batch, batch.batch)
        if as_tensor:
            (image,) = images.values()
            return image, self._wanted(companions | keywords)
        named = {self._name(pick): image for pick, image in images.items()}
        inside = {key: value for key, value in companions.items() if any(key.startswith(f"{name}_") for name in named)}
        outside = {key: value for key, value in companions.items() if key not in inside}
        return named | inside, self._wanted(outside | keywords)

    def _picks_of(self, batch: Batch) -> tuple[Pick, ...]:
        if self.picks is ALL:
            return tuple(Pick(name, name) for name in batch.images)
        if self.any_tensor and len(self.picks) == 1 and UNNAMED in batch.images:
            return (Pick(UNNAMED, self.picks[0].target),)
        return self.picks

    def _refuse(self, batch: Batch, *, as_tensor: bool) -> None:
        wanted = ", ".join(self.sources) or "one image"
        msg = (
            f"{self.where} expects {wanted}{' as one tensor' if as_tensor else ''}, but the input has "
            f"{listed(batch.images)}. Name the images of the entry, such as images: [S2], or give them other "
            "names in the data module."
        )
        raise ValueError(msg)

    def _name(self, pick: Pick) -> str:
        name = pick.target or pick.source
        if name == UNNAMED:
            msg = f"{self.where}: as_tensor: false needs a name for the image. Give bands as a mapping {{name: [...]}}."
            raise ValueError(msg)
        return name

    def _wanted(self, given: dict[str, object]) -> dict[str, object]:
        return given if self.keywords is ALL else {key: v for key, v in given.items() if key in self.keywords}


def _of_images(picks: Iterable[Pick], batch: Batch, given: Mapping[str, object]) -> dict[str, object]:
    """What belongs to the picked images, under the encoder's names for them, and what belongs to no image."""
    found: dict[str, object] = {}
    for key, value in given.items():
        owner = batch.owner(key)
        if owner is None:
            found[key] = value
            continue
        own = [pick for pick in picks if owner in (pick.source, pick.target)]
        if own:
            target = next((pick.target for pick in own if pick.source == owner and pick.target != UNNAMED), owner)
            found[f"{target}{key[len(owner) :]}"] = value
    return found
