"""Which part of a batch each encoder of several gets: images and channels by name, with the dates of theirs."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from eo_data.sensors.tables import find_band
from eo_models.multi.batch import Batch, listed
from eo_models.multi.entries import Bands, EncoderEntry

#: Name of the channel with the day of the year, see `eo_data.dataset.dataset`.
DATE = "DATE"


@dataclass(frozen=True)
class Pick:
    """An image that an encoder gets.

    Parameters
    ----------
    source : str or None
        Its name in the input; ``None`` for the only image of the input.
    target : str or None
        Its name for the encoder; ``None`` if the encoder has no names.
    channels : tuple of int or None
        Which channels, in the order of the encoder; ``None`` for all.
    """

    source: str | None
    target: str | None
    channels: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Route:
    """The way from the input to one encoder.

    Parameters
    ----------
    where : str
        Entry, for messages.
    picks : tuple of Pick or None
        Images that it gets; ``None`` for the whole input.
    as_tensor : bool or None
        Whether it gets a tensor; ``None`` decides by the number of images.
    keywords : frozenset of str or None
        Keyword arguments of its forward pass; ``None`` if it takes any.
    any_tensor : bool
        Whether a plain tensor is the one image that it gets, whatever name that has for the encoder.
    """

    where: str
    picks: tuple[Pick, ...] | None
    as_tensor: bool | None
    keywords: frozenset[str] | None
    any_tensor: bool = False

    @property
    def sources(self) -> list[str]:
        """Names of its images in the input."""
        return [pick.source for pick in self.picks or () if pick.source is not None]

    @property
    def targets(self) -> list[str]:
        """Names of its images for the encoder."""
        return [pick.target for pick in self.picks or () if pick.target is not None]

    def select(self, batch: Batch) -> tuple[torch.Tensor | dict[str, Any], dict[str, object]]:
        """Return the encoder's input and keyword arguments.

        Raises
        ------
        ValueError
            If an image is missing, or several come to an encoder that reads one tensor.
        """
        picks = list(self.picks) if self.picks is not None else [Pick(name, name) for name in batch.images]
        if self.any_tensor and len(picks) == 1 and None in batch.images:
            picks = [Pick(None, picks[0].target)]
        images = {pick: batch.images[pick.source] for pick in picks if pick.source in batch.images}
        as_tensor = len(picks) == 1 if self.as_tensor is None else self.as_tensor
        if not images or (as_tensor and len(images) != 1):
            wanted = ", ".join(self.sources) or "one image"
            msg = (
                f"{self.where} expects {wanted}{' as one tensor' if as_tensor else ''}, but the input has "
                f"{listed(batch.images)}. Name the images of the entry, such as images: [S2], or give them other "
                "names in the data module."
            )
            raise ValueError(msg)
        chosen = {
            pick: image if pick.channels is None else image[:, list(pick.channels)] for pick, image in images.items()
        }
        companions = self._companions(batch, batch.companions, picks)
        keywords = self._companions(batch, batch.batch, picks)
        if as_tensor:
            return next(iter(chosen.values())), self._wanted(companions | keywords)
        named = {self._name(pick): image for pick, image in chosen.items()}
        loose = {key: value for key, value in companions.items() if not _belongs(key, named)}
        inside = {key: value for key, value in companions.items() if key not in loose}
        return named | inside, self._wanted(loose | keywords)

    def _name(self, pick: Pick) -> str:
        name = pick.target or pick.source
        if name is None:
            msg = f"{self.where}: as_tensor: false needs a name for the image. Give bands as a mapping {{name: [...]}}."
            raise ValueError(msg)
        return name

    def _companions(self, batch: Batch, given: Mapping[str, object], picks: Iterable[Pick]) -> dict[str, object]:
        """What belongs to the picked images, under the encoder's names, and what belongs to no image."""
        renamed: dict[str, object] = {}
        for key, value in given.items():
            owner = batch.owner(key)
            own = [pick for pick in picks if owner in (None, pick.source, pick.target)]
            if own:
                target = next((pick.target for pick in own if pick.source == owner and pick.target), owner)
                renamed[key if owner is None else f"{target}{key[len(owner) :]}"] = value
        return renamed

    def _wanted(self, given: dict[str, object]) -> dict[str, object]:
        return given if self.keywords is None else {key: v for key, v in given.items() if key in self.keywords}


def _belongs(key: str, names: Iterable[str]) -> bool:
    return any(key.startswith(f"{name}_") for name in names)


def forward_keywords(encoder: nn.Module) -> frozenset[str] | None:
    """Names of the keyword arguments of a forward pass without the input; ``None`` if it takes any."""
    parameters = list(inspect.signature(encoder.forward).parameters.values())
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    takes = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return frozenset(p.name for i, p in enumerate(parameters) if p.kind in takes and i > 0)


def make_route(entry: EncoderEntry, encoder: nn.Module, bands: Bands) -> Route:
    """Decide what an encoder gets.

    Parameters
    ----------
    entry : EncoderEntry
        Its entry.
    encoder : Module
        The backbone; one of this project tells its bands (``input_bands``).
    bands : mapping
        Channels of the input; empty if the config does not name them.

    Raises
    ------
    ValueError
        For images or bands that the input does not have, or that the encoder takes for others.
    """
    told = declared_bands(encoder)
    is_choice = entry.band_key == "bands" and None in entry.bands
    if is_choice:
        _check_declared(entry, told)
    if is_choice and not bands and not told:
        msg = (
            f"{entry.where} names bands, but the channels of the input have no names. Name them: "
            "backbone_bands: [BLUE, GREEN, ...] as the data module returns them."
        )
        raise ValueError(msg)
    as_tensor = None in told if entry.as_tensor is None and told else entry.as_tensor
    pairs = _pairs(entry, told, bands)
    if pairs is not None and len(pairs) > 1 and (as_tensor or None in entry.bands):
        names = [str(source or target) for source, target in pairs]
        what = "names bands of one image" if None in entry.bands else "reads one tensor"
        msg = f"{entry.where} {what}, but would get {', '.join(names)}. Choose one: images: [{names[0]}]."
        raise ValueError(msg)
    picks = None if pairs is None else tuple(Pick(s, t, _channels(entry, told, bands, s, t)) for s, t in pairs)
    return Route(entry.where, picks, as_tensor, forward_keywords(encoder), entry.images is None and not bands)


def declared_bands(encoder: nn.Module) -> Bands:
    """Bands by image that a backbone of this project expects; empty for others."""
    told = getattr(encoder, "input_bands", None)
    return told if isinstance(told, Mapping) else {}


def _pairs(entry: EncoderEntry, told: Bands, bands: Bands) -> list[tuple[str | None, str | None]] | None:
    """Name of each image in the input and for the encoder; ``None`` for the whole input."""
    own = told or entry.bands
    wanted = [name for name in own if name is not None]
    if None in bands:
        if entry.images is not None:
            msg = f"{entry.where} names images, but bands is a list: the input is one image. Leave images out."
            raise ValueError(msg)
        return [(None, name) for name in wanted] or [(None, None)]
    there = [name for name in bands if name is not None]
    images = list(entry.images) if entry.images is not None else _own_images(wanted, there)
    absent = [name for name in images if there and name not in there]
    if absent:
        msg = f"{entry.where} gets the images {absent}, but bands names {there}. Make the names the same."
        raise ValueError(msg)
    if not images:
        return None
    if len(wanted) == 1 == len(images):
        return [(images[0], wanted[0])]
    unknown = [name for name in images if wanted and name not in wanted]
    if unknown:
        msg = f"{entry.where} gets the images {unknown}, but reads {wanted}. Make the names the same."
        raise ValueError(msg)
    return [(name, name if wanted else None) for name in images]


def _own_images(wanted: Sequence[str], there: Sequence[str]) -> list[str]:
    """Images of an entry that does not name them: those of its backbone, or all."""
    if len(wanted) == 1 == len(there):
        return list(there)
    return list(wanted or there)


def _channels(
    entry: EncoderEntry, told: Bands, bands: Bands, source: str | None, target: str | None
) -> tuple[int, ...] | None:
    available = bands.get(source)
    stated = entry.bands.get(target) or entry.bands.get(source) or (entry.bands.get(None) if len(told) < 2 else None)
    if available is None:
        return None
    expected = told.get(target)
    if stated is None and expected is None:
        kept = tuple(i for i, band in enumerate(available) if band.strip().upper() != DATE)
        return None if len(kept) == len(available) else kept
    first = stated or expected or ()
    second = expected if expected is not None and len(expected) == len(first) else first
    found = tuple(_find(entry, either, available) for either in zip(first, second, strict=True))
    return None if found == tuple(range(len(available))) else found


def _find(entry: EncoderEntry, spellings: Sequence[str], available: Sequence[str]) -> int:
    """Channel of a band: by its very name, else by what the name means."""
    upper = [name.strip().upper() for name in available]
    for spelt in spellings:
        if spelt.strip().upper() in upper:
            return upper.index(spelt.strip().upper())
    meant = [canonical(name) for name in available]
    for spelt in spellings:
        found = [i for i, name in enumerate(meant) if name == canonical(spelt)]
        if len(found) == 1:
            return found[0]
        if found:
            several = ", ".join(available[i] for i in found)
            msg = f"{entry.where}: the band {spelt!r} could be {several}. Name one of these."
            raise ValueError(msg)
    msg = (
        f"{entry.where} reads the band {spellings[0]!r}, which is not among the channels of the input: "
        f"{', '.join(available)}. Add it to bands and to the data, or leave it out of the entry."
    )
    raise ValueError(msg)


def canonical(band: str) -> str:
    """Return one name for all spellings of a band (``B02``, ``S2:Blue``: ``BLUE``); unknown ones in upper case."""
    try:
        return find_band(band).name
    except ValueError:
        return band.strip().upper()


def _check_declared(entry: EncoderEntry, told: Bands) -> None:
    """Refuse channels that were chosen for a backbone which takes them for others."""
    stated = entry.bands[None]
    expected = [band for bands in told.values() for band in bands]
    if not told or [canonical(band) for band in stated] == [canonical(band) for band in expected]:
        return
    name = next(iter(told))
    remedy = "model_bands" if name is None else f"bands: {{{name}: [...]}}"
    msg = (
        f"{entry.where} names the bands {', '.join(stated)}, but its backbone was not told and reads "
        f"{', '.join(expected)}. Write {remedy} instead of the list bands, which only chooses channels."
    )
    raise ValueError(msg)
