"""What `eo_embed.embed` may ask of an encoder: which images it takes, how they are prepared, and how it is built.

An encoder's package declares a preset as an entry point of the group ``eo_models.presets``, so that generic code finds
it without knowing its name, and without TerraTorch.
"""

from __future__ import annotations

import difflib
import functools
import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from torch import nn

    from eo_data.preprocess.steps import Preprocess

GROUP = "eo_models.presets"


@dataclass(frozen=True)
class ImageKind:
    """The images of one sensor, as an encoder takes them.

    Parameters
    ----------
    modality : str
        What the encoder calls them.
    bands : tuple of str
        The bands that it reads, by their canonical names, in its order.
    optional : tuple of str
        Further bands that it can read where they are asked for.
    all_needed : bool
        Whether it needs all of ``bands``, or any of them will do.
    series : bool
        Whether it reads dated series; else single images.
    unit : str or None
        What its preprocessing takes, where it is not the sensor's physical unit: a value of
        `eo_data.sensors.units.InputUnit`.
    pixel_size : float or None
        Metres that pixels must have; ``None`` for any.
    frames : int or None
        Of a series over a window of time, the number of equal parts with a composite each that the encoder is used
        with; ``None`` for all acquisitions.
    native : str or None
        Of ``unit: native``, what the numbers of most bands are: images of another unit are refused.
    """

    modality: str
    bands: tuple[str, ...]
    optional: tuple[str, ...] = ()
    all_needed: bool = False
    series: bool = False
    unit: str | None = None
    pixel_size: float | None = None
    frames: int | None = None
    native: str | None = None


@dataclass(frozen=True)
class ImageFacts:
    """Images that are to be encoded.

    Parameters
    ----------
    sensor : str
        Key of `eo_data.sensors.tables.SENSORS`.
    bands : tuple of str
        The bands that will be read, in order.
    pixel_size : float
        Metres.
    """

    sensor: str
    bands: tuple[str, ...]
    pixel_size: float


@dataclass(frozen=True)
class Recipe:
    """How images become the input of an encoder, and how it is built for them.

    Parameters
    ----------
    preprocess : Preprocess
        Its preprocessing, as a config names it.
    arguments : mapping
        Arguments of the backbone, as a config names them.
    target_units : mapping of str to str
        By modality, the unit that ``preprocess`` takes where it is not the sensor's physical one.
    dates_as : {'dict', 'none'}
        Whether dates go along.
    """

    preprocess: Preprocess
    arguments: Mapping[str, Any]
    target_units: Mapping[str, str] = field(default_factory=dict)
    dates_as: str = "dict"


@dataclass(frozen=True)
class EncoderCard:
    """What a user wants to know of an encoder.

    Parameters
    ----------
    name : str
        Name in TerraTorch's registry.
    summary : str
        One sentence.
    width : int
        Numbers in a vector.
    depth : int
        Blocks.
    images : mapping of str to ImageKind
        By sensor (key of `eo_data.sensors.tables.SENSORS`).
    sizes : str
        Sizes of images and patches.
    dates : str
        Whether dates are needed, and what they mean.
    weights : str
        Where the published weights are; empty if there are none.
    licence : str
        Of the weights.
    source : str
        Paper and code.
    options : mapping of str to object
        Options of `eo_embed.embed` that are the encoder's own, with their defaults.
    hub : (str, str) or None
        Repository and file of the published weights at Hugging Face.
    """

    name: str
    summary: str
    width: int
    depth: int
    images: Mapping[str, ImageKind]
    sizes: str
    dates: str
    weights: str
    licence: str
    source: str
    options: Mapping[str, Any]
    hub: tuple[str, str] | None = None

    def __str__(self) -> str:
        """Return the card as lines to read."""
        lines = [f"{self.name}: {self.summary}", ""]
        rows = {
            "vector": f"{self.width} numbers, {self.depth} blocks",
            "sizes": self.sizes,
            "dates": self.dates,
            "weights": self.weights or "none published: pretrained=False, or ckpt=...",
            "licence": self.licence,
            "source": self.source,
            "options": ", ".join(f"{name}={value!r}" for name, value in self.options.items()),
        }
        lines += [f"{name:<9} {text}" for name, text in rows.items()]
        for sensor, kind in self.images.items():
            needed = "all of" if kind.all_needed else "any of"
            unit = f"; {kind.native or kind.unit}, not converted" if kind.unit else ""
            size = f"; pixels of {kind.pixel_size:g} m" if kind.pixel_size else ""
            what = "dated series" if kind.series else "single images"
            lines.append(f"{sensor:<16} {what}{unit}{size}; {needed} {', '.join(kind.bands)}")
        return "\n".join(lines)


class Preset(Protocol):
    """What an encoder's package declares of its encoders."""

    @property
    def names(self) -> Sequence[str]:
        """Names of its backbones in TerraTorch's registry."""
        ...

    def images(self, name: str) -> Mapping[str, ImageKind]:
        """Return which images a backbone takes, by sensor."""
        ...

    def options(self, name: str) -> Mapping[str, Any]:
        """Return the options of a backbone and its preprocessing, with their defaults."""
        ...

    def patch_metres(self, images: Mapping[str, ImageFacts], options: Mapping[str, Any]) -> float:
        """Return the metres whose multiples a square of ground should start at and be long, so that patches fit.

        Parameters
        ----------
        images : mapping of str to ImageFacts
            By modality.
        options : mapping
            Those of the encoder that a caller stated.
        """
        ...

    def encoded_side(self, images: Mapping[str, ImageFacts], options: Mapping[str, Any], side: int) -> int:
        """Return the side in pixels that a square image of ``side`` pixels is resampled to; ``side`` if it is not.

        Parameters
        ----------
        images, options
            As of `patch_metres`.
        side : int
            Pixels of the first image.
        """
        ...

    def recipe(self, name: str, images: Mapping[str, ImageFacts], options: Mapping[str, Any]) -> Recipe:
        """Return how images, by modality, become the backbone's input.

        Raises
        ------
        TypeError
            For an option that it does not have; the message lists the valid ones.
        ValueError
            For a value that makes no sense.
        """
        ...

    def build(self, name: str, arguments: Mapping[str, Any], layers: Sequence[int]) -> nn.Module:
        """Build a backbone with its weights that returns these layers; without TerraTorch.

        Raises
        ------
        ValueError
            For a wrong argument, or weights that cannot be had or do not fit.
        """
        ...

    def card(self, name: str) -> EncoderCard:
        """Return what a user wants to know of a backbone."""
        ...


@functools.cache  # looking through all that is installed takes as long as encoding a small image
def presets() -> Mapping[str, Preset]:
    """Return the presets of all encoders that are installed, by the name of the backbone."""
    found: dict[str, Preset] = {}
    for entry in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
        preset = cast("Preset", entry.load())
        found |= dict.fromkeys(preset.names, preset)
    return MappingProxyType(found)


def find_preset(name: str) -> Preset:
    """Return the preset of a backbone.

    Raises
    ------
    ValueError
        If there is none; the message names the nearest and what there is.
    """
    known = presets()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(str(name), list(known), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    msg = (
        f"There is no encoder {name!r} that `embed` knows.{hint} Valid: {', '.join(known)}. Any other backbone of "
        "TerraTorch exports embeddings through eo_embed.EmbeddingTask and a config."
    )
    raise ValueError(msg)


def refuse_unknown_options(encoder: str, given: Mapping[str, Any], valid: Sequence[str]) -> None:
    """Refuse options that an encoder does not have.

    Raises
    ------
    TypeError
        With the nearest and the valid ones.
    """
    for name in given:
        if name not in valid:
            near = difflib.get_close_matches(name, valid, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            msg = f"{encoder} has no option {name!r}.{hint} Valid: {', '.join(valid)}."
            raise TypeError(msg)


def models() -> tuple[str, ...]:
    """Return the names of the encoders that `eo_embed.embed` knows."""
    return tuple(presets())


def describe(encoder: str) -> EncoderCard:
    """Return what an encoder takes and gives: bands, units, sizes, dates, weights, licence; ``print`` it to read it.

    Parameters
    ----------
    encoder : str
        One of `models`.

    Raises
    ------
    ValueError
        For any other name; the message lists the valid ones.
    """
    return find_preset(encoder).card(encoder)
