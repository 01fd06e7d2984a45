"""Which images and channels each encoder of several gets: decided once, by name, when the encoders are built."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from eo_data.sensors.tables import Sensor
from eo_models.multi.band_names import Sensors, WantedBand, find_channels, literal, meaning
from eo_models.multi.batch import UNNAMED, Bands
from eo_models.multi.entries import EncoderEntry
from eo_models.multi.route import ALL, All, Form, Pick, Route

#: Name of a channel that holds the day of the year: only encoders that name it get it.
DATE = "DATE"


@dataclass(frozen=True)
class Declared:
    """What a backbone declares of its input.

    Parameters
    ----------
    bands : mapping
        Bands by image; empty for a backbone that declares none.
    sensors : mapping
        Sensors whose names these are, by image.
    """

    bands: Bands
    sensors: Sensors

    @classmethod
    def by(cls, encoder: nn.Module) -> Declared:
        """Ask a backbone; those of others declare nothing."""
        bands, sensors = getattr(encoder, "input_bands", None), getattr(encoder, "band_sensors", None)
        return cls(
            {name or UNNAMED: tuple(names) for name, names in bands.items()} if isinstance(bands, Mapping) else {},
            {name or UNNAMED: tuple(own) for name, own in sensors.items()} if isinstance(sensors, Mapping) else {},
        )

    @property
    def images(self) -> list[str]:
        """Names of its images, as far as they have names."""
        return [name for name in self.bands if name != UNNAMED]

    @property
    def all_sensors(self) -> tuple[Sensor, ...]:
        """Sensors of all images."""
        return tuple(dict.fromkeys(sensor for own in self.sensors.values() for sensor in own))

    def meanings(self, image: str) -> list[str]:
        """Return what the bands of an image mean."""
        return [meaning(band, self.sensors.get(image, ())) for band in self.bands[image]]


def forward_keywords(encoder: nn.Module) -> frozenset[str] | All:
    """Names of the keyword arguments of a forward pass without the input; ``ALL`` if it takes any."""
    parameters = list(inspect.signature(encoder.forward).parameters.values())
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return ALL
    takes = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return frozenset(p.name for i, p in enumerate(parameters) if p.kind in takes and i > 0)


def make_route(entry: EncoderEntry, encoder: nn.Module, bands: Bands, sensors: Sensors) -> Route:
    """Decide what an encoder gets.

    Parameters
    ----------
    entry : EncoderEntry
        Its entry.
    encoder : Module
        The backbone.
    bands : mapping
        Channels of the input; empty if the config does not name them.
    sensors : mapping
        Sensors of the images of the input, as far as the config states them.

    Raises
    ------
    ValueError
        For images or bands that the input does not have, names that could mean several channels, or bands that the
        encoder takes for others.
    """
    declared = Declared.by(encoder)
    if entry.chooses_channels:
        _check_choice(entry, declared, bands)
    pairs = _pairs(entry, declared, bands)
    form = _form(entry, declared)
    if pairs is not ALL and len(pairs) > 1 and (form == "tensor" or UNNAMED in entry.bands):
        names = [source or target for source, target in pairs]
        what = "names bands of one image" if UNNAMED in entry.bands else "reads one tensor"
        msg = f"{entry.where} {what}, but would get {', '.join(names)}. Choose one: images: [{names[0]}]."
        raise ValueError(msg)
    picks: tuple[Pick, ...] | All = ALL
    if pairs is not ALL:
        picks = tuple(
            Pick(source, target, _channels(entry, declared, bands, sensors, source, target)) for source, target in pairs
        )
    return Route(entry.where, picks, form, forward_keywords(encoder), entry.images is None and not bands)


def _check_choice(entry: EncoderEntry, declared: Declared, bands: Bands) -> None:
    """Refuse a list under ``bands`` that names channels without names, or that the backbone takes for others."""
    if not bands and not declared.bands:
        msg = (
            f"{entry.where} names bands, but the channels of the input have no names. Name them: "
            "backbone_bands: [BLUE, GREEN, ...] as the data module returns them."
        )
        raise ValueError(msg)
    stated = entry.bands[UNNAMED]
    expected = [band for names in declared.bands.values() for band in names]
    meant = [band for image in declared.bands for band in declared.meanings(image)]
    if not declared.bands or [meaning(band, declared.all_sensors) for band in stated] == meant:
        return
    image = next(iter(declared.bands))
    remedy = "model_bands" if image == UNNAMED else f"bands: {{{image}: [...]}}"
    msg = (
        f"{entry.where} names the bands {', '.join(stated)}, but its backbone was not told and reads "
        f"{', '.join(expected)}. Write {remedy} instead of the list bands, which only chooses channels."
    )
    raise ValueError(msg)


def _form(entry: EncoderEntry, declared: Declared) -> Form:
    if entry.form != "auto" or not declared.bands:
        return entry.form
    return "tensor" if UNNAMED in declared.bands else "dict"


def _pairs(entry: EncoderEntry, declared: Declared, bands: Bands) -> list[tuple[str, str]] | All:
    """Name of each image in the input and for the encoder; ``ALL`` for the whole input."""
    own = declared.images if declared.bands else [name for name in entry.bands if name != UNNAMED]
    if UNNAMED in bands:
        if entry.images is not None:
            msg = f"{entry.where} names images, but bands is a list: the input is one image. Leave images out."
            raise ValueError(msg)
        return [(UNNAMED, name) for name in own] or [(UNNAMED, UNNAMED)]
    images = list(entry.images) if entry.images is not None else _images_of_backbone(own, list(bands))
    absent = [name for name in images if bands and name not in bands]
    if absent:
        msg = f"{entry.where} gets the images {absent}, but bands names {list(bands)}. Make the names the same."
        raise ValueError(msg)
    if not images:
        return ALL
    if len(own) == 1 == len(images):
        return [(images[0], own[0])]
    unknown = [name for name in images if own and name not in own]
    if unknown:
        msg = f"{entry.where} gets the images {unknown}, but reads {own}. Make the names the same."
        raise ValueError(msg)
    return [(name, name if own else UNNAMED) for name in images]


def _images_of_backbone(own: Sequence[str], available: Sequence[str]) -> list[str]:
    """Images of an entry that does not name them: those of its backbone, or all."""
    if len(own) == 1 == len(available):
        return list(available)
    return list(own or available)


def _channels(
    entry: EncoderEntry, declared: Declared, bands: Bands, sensors: Sensors, source: str, target: str
) -> tuple[int, ...] | All:
    """Channels of an image for an encoder: those that it names, else all but the day of the year."""
    available = bands.get(source)
    if available is None:
        return ALL
    stated = entry.bands.get(target) or entry.bands.get(source)
    if stated is None and len(declared.bands) < 2:
        stated = entry.bands.get(UNNAMED)
    expected = declared.bands.get(target)
    names = stated or expected
    if names is None:
        found = tuple(i for i, band in enumerate(available) if literal(band) != DATE)
    else:
        also = expected if expected is not None and len(expected) == len(names) else names
        own = declared.sensors.get(target, ())
        wanted = [WantedBand(tuple(dict.fromkeys(pair)), own) for pair in zip(names, also, strict=True)]
        found = find_channels(entry.where, wanted, available, sensors.get(source, ()))
    return ALL if found == tuple(range(len(available))) else found
