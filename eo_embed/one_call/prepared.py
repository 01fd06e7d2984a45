"""Images on their way to an encoder: where they are, what they hold, and the data set that reads them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any

from eo_data.catalog.records import Record, SampleRequest
from eo_data.catalog.sources import ImageSource
from eo_data.catalog.tiles import Tiling, tiling_of
from eo_data.dataset.chip_splits import ChipSplits, SeriesSplits
from eo_data.preprocess.one_frame import OneFrame
from eo_data.readers.described.images import Description, Stated, UnknownFactsError
from eo_data.readers.grids.pixel_grid import nominal_pixel_size
from eo_data.sensors.bands import UNNAMED
from eo_data.sensors.quality_names import kind_of_name
from eo_data.sensors.tables import SENSORS
from eo_data.sensors.units import InputUnit
from eo_data.temporal.frame_policy import FramePolicy
from eo_embed.one_call.options import Request
from eo_models.preset import ImageFacts, ImageKind, Recipe, find_preset

#: Arguments of `embed` that are fields of `ImageSource`, for what files do not say.
IMAGE_FIELDS = (
    *("scale", "nodata", "crs", "pixel_size", "resample_to", "resampling", "variables", "dataset", "products"),
    *("date_pattern", "date_format", "fallback_date", "cloud_band", "cloud_kind", "remove_noise"),
)


#: Arguments of `embed` that say what images are, beside their bands and sensor.
_DESCRIBING = ("unit", "offset", "scale", "date_pattern", "date_format")


def stated_of(given: Mapping[str, Any], sensor: str | None) -> Stated:
    """Return what a caller states of images, as far as it describes them.

    Parameters
    ----------
    given : mapping
        Arguments of `embed`.
    sensor : str, optional
        The sensor, where it is known.
    """
    bands = tuple(given["bands"]) if given.get("bands") else None
    return Stated(bands, sensor, *(given.get(name) for name in _DESCRIBING))


@dataclass(frozen=True)
class Listed:
    """A `eo_data.catalog.records.SampleSource` of records that are known already."""

    entries: Sequence[Record]

    def records(self, request: SampleRequest) -> list[Record]:
        """Return them."""
        return list(self.entries)


@dataclass(frozen=True)
class Prepared:
    """Images, how they are read and how they become the encoder's input.

    Parameters
    ----------
    root : Path
        Folder that files are named from.
    records : sequence of Record
        One for each embedding.
    modalities : mapping of str to ImageSource
        How the files of each modality are read.
    facts : mapping of str to ImageFacts
        What of them the encoder reads.
    policy : FramePolicy or None
        How acquisitions become frames; ``None`` for single images.
    series : bool
        Whether the encoder reads series.
    tiling : Tiling or None
        How images are cut into tiles; ``None`` for whole images.
    """

    root: Path
    records: Sequence[Record]
    modalities: Mapping[str, ImageSource]
    facts: Mapping[str, ImageFacts]
    policy: FramePolicy | None
    series: bool
    tiling: Tiling | None = None

    def splits(
        self,
        recipe: Recipe,
        *,
        max_memory: int | str | None = None,
        remote_cache: Path | None = None,
    ) -> ChipSplits:
        """Return the data module, as a config would state it."""
        units = recipe.target_units
        sources = {
            name: replace(source, target_unit=units[name]) if name in units else source
            for name, source in self.modalities.items()
        }
        preprocess = recipe.preprocess
        shared: dict[str, Any] = {
            "root": str(self.root),
            "modalities": sources,
            "samples": Listed(self.records),
            "batch_size": 1,
            "num_workers": 0,
            "dates_as": recipe.dates_as,
            "georeference": "always",
            "max_memory": max_memory,
            "remote_cache": None if remote_cache is None else str(remote_cache),
            **_tile_arguments(self.tiling),
        }
        if self.policy is None:
            return ChipSplits(preprocess=preprocess, **shared)
        return SeriesSplits(self.policy, preprocess=preprocess if self.series else OneFrame(preprocess), **shared)


def _tile_arguments(tiling: Tiling | None) -> dict[str, int]:
    return {} if tiling is None else {"tile": tiling.tile, "tile_align": tiling.align, "halo": tiling.halo}


def kind_for(
    encoder: str, kinds: Mapping[str, ImageKind], found: Description, what: object, modality: str | None = None
) -> ImageKind:
    """Return the images of a sensor as an encoder takes them.

    Raises
    ------
    UnknownFactsError
        If the encoder reads no images of the sensor, or not in their unit, or not enough of the bands are there.
    """
    kind = kinds.get(found.sensor)
    if kind is None:
        msg = f"{what} is from {found.sensor}, of which {encoder} reads nothing. It reads {', '.join(kinds)}."
        raise UnknownFactsError(msg)
    if absent := [band for band in kind.bands if band in found.absent]:
        msg = (
            f"{what} lists the bands {', '.join(absent)}, but their files are not there: the product is incomplete. "
            f'Download it again, as a whole, or state which bands to take: bands=["{found.bands[0]}", ...].'
        )
        raise UnknownFactsError(msg)
    there = bands_for(found, kind)
    missing = [band for band in kind.bands if band not in there]
    if (kind.all_needed and missing) or len(missing) == len(kind.bands):
        msg = (
            f"{what} has the bands {', '.join(there)}; {encoder} needs {'all' if kind.all_needed else 'some'} of "
            f"{', '.join(kind.bands)}; {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not there. If they "
            'have other names, add bands=["...", ...] in the order of the file.'
        )
        raise UnknownFactsError(msg)
    if kind.native is not None and found.unit not in (InputUnit.NATIVE, kind.native):
        msg = (
            f"{what} holds {found.unit}, and {encoder} takes the numbers of {found.sensor} as they are, which must be "
            f'{kind.native}. Convert them, or state unit="native" if they are what the encoder was trained with.'
        )
        raise UnknownFactsError(msg)
    _tell_unknown(encoder, found, missing, what)
    return kind if modality is None else replace(kind, modality=modality)


def _tell_unknown(encoder: str, found: Description, missing: Sequence[str], what: object) -> None:
    """Warn of stated names that nobody knows where bands are missing: one may be the name of the other."""
    table = SENSORS[found.sensor]
    unknown = [
        name
        for name in found.file_bands or ()
        if name != UNNAMED and table.canonical(name) is None and kind_of_name(name) is None
    ]
    if unknown and missing:
        warnings.warn(
            f"{what}: no band of {found.sensor} is called {' or '.join(unknown)}, so {encoder} does not see what is "
            f"stated under {'that name' if len(unknown) == 1 else 'these names'}, and works without "
            f"{', '.join(missing)}. If one is the other, correct its name in bands; a layer that does not count may be "
            f'called "{UNNAMED}".',
            stacklevel=2,
        )


def bands_for(found: Description, kind: ImageKind) -> tuple[str, ...]:
    """Return the bands that an encoder can take: of one unit, unless it takes numbers as they are."""
    return found.all_bands or found.bands if kind.unit == InputUnit.NATIVE else found.bands


def source_of(found: Description, kind: ImageKind, stated: Mapping[str, Any], *, dated: bool) -> ImageSource:
    """Return how images are read: what their files say, and what a caller states.

    Parameters
    ----------
    found : Description
        What the images are.
    kind : ImageKind
        What the encoder takes of them.
    stated : mapping
        Arguments of `embed` that the caller states: what describes the images has been used.
    dated : bool
        Whether their dates are wanted.

    Raises
    ------
    UnknownFactsError
        If bands that are asked for are not there.
    """
    given = {name: value for name, value in stated.items() if name not in ("bands", "sensor", "unit")}
    extra = [band for band in given.pop("extra_bands", ()) if band in kind.optional]
    there = bands_for(found, kind)
    if absent := [band for band in extra if band not in there]:
        msg = f"extra_bands asks for {', '.join(absent)}, and the {found.sensor} images have {', '.join(there)}."
        raise UnknownFactsError(msg)
    bands = [band for band in (*kind.bands, *extra) if band in there]
    masked = given.pop("clouds", True) and found.quality_band is not None
    quality = {"cloud_band": found.quality_band, "cloud_kind": found.quality_kind} if masked else {}
    size = given.pop("pixel_size", None)
    own: dict[str, Any] = {"offset": found.offset, "resampling": "nearest", **quality, **given}
    if kind.pixel_size is not None and found.pixel_size not in (None, kind.pixel_size):
        own.setdefault("resample_to", kind.pixel_size)
        if kind.unit != InputUnit.NATIVE:  # of those, the encoder was trained on resampled pixels
            warnings.warn(
                f"{found.sensor}: pixels of {found.pixel_size:g} m are resampled to the {kind.pixel_size:g} m that the "
                "encoder reads.",
                stacklevel=2,
            )
    if "resample_to" in own:
        size = size or own["resample_to"]
    return ImageSource(
        bands=bands,
        sensor=found.sensor,
        file_bands=None if found.file_bands is None else list(found.file_bands),
        unit=kind.unit or found.unit,
        dated=dated,
        static=not kind.series and not dated,
        pixel_size=size if size is not None else found.pixel_size,
        **own,
    )


def facts_of_source(name: str, source: ImageSource) -> ImageFacts:
    """Return what of the images an encoder reads."""
    return ImageFacts(str(source.sensor), tuple(source.bands), nominal_pixel_size(name, source))


def patch_pixels(request: Request, facts: Mapping[str, ImageFacts]) -> int:
    """Return the side in pixels of the first images at whose multiples squares should start, so that patches fit."""
    encoder = request.encoder
    metres = find_preset(encoder.name).patch_metres(facts, encoder.own)
    return max(1, math.ceil(metres / next(iter(facts.values())).pixel_size - 1e-6))


def tiling_for(request: Request, facts: Mapping[str, ImageFacts]) -> Tiling | None:
    """Return how images are cut into tiles; ``None`` for whole images.

    Raises
    ------
    ValueError
        If patches do not divide the tile or its halo, or there is a halo but no tile.
    """
    tile = request.tile
    align = _align(request, facts, int(tile)) if isinstance(tile, Integral) else 1  # of all else `Tiling` says it
    return tiling_of(request.tile, align, request.halo)


def _align(request: Request, facts: Mapping[str, ImageFacts], tile: int) -> int:
    """Return the pixels at whose multiples tiles start, so that the cells of all tiles lie on one lattice.

    Raises
    ------
    ValueError
        If patches do not divide the tile.
    """
    patch = patch_pixels(request, facts)
    encoder = request.encoder
    if tile > 0:
        side = find_preset(encoder.name).encoded_side(facts, encoder.own, tile)
        if side != tile and side % patch == 0:
            return tile // math.gcd(tile, side // patch)  # whole pixels that are whole cells of a resampled tile
    if tile < 1 or tile % patch:
        msg = f"tile must be a multiple of {patch} pixels, so that whole patches fit, got {tile}."
        raise ValueError(msg)
    return patch
