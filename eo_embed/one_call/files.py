"""Files and products as the input of an encoder."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import Record
from eo_data.raster.sample import SampleError
from eo_data.readers.described.images import Description, Stated, UnknownFactsError, describe_image
from eo_data.readers.files import READERS, reader_of
from eo_data.temporal.calendar_date import parse_date
from eo_data.temporal.frame_policy import FramePolicy
from eo_embed.one_call.options import Request, policy_of
from eo_embed.one_call.prepared import Prepared, facts_of_source, kind_for, source_of, stated_of, tiling_for
from eo_models.preset import ImageKind, find_preset

#: What may be stated of each of several images.
_OF_EACH = ("bands", "sensor", "unit", "offset", "pixel_size", "scale")

type Files = Sequence[str | os.PathLike[str]]


def prepared_files(
    given: Mapping[str, Files],
    request: Request,
    stated: Mapping[str, Any],
    dates: Sequence[str | date] | None,
    name: str = "",
    cache: Path | None = None,
) -> Prepared:
    """Return how files are read for an encoder.

    Parameters
    ----------
    given : mapping of str to sequence of path
        Files of each image or series. The keys are names of the encoder's modalities, or anything.
    request : Request
        What is asked for.
    stated : mapping
        What the caller states of the images: ``bands``, ``sensor``, ``unit``, ``offset``, ``scale`` and other fields
        of `ImageSource`.
    dates : sequence of str or date, optional
        Date of each file, in their order.
    name : str
        Id of the result; that of the first file by default.
    cache : Path, optional
        Folder in which is kept what is fetched of files on servers.

    Raises
    ------
    ValueError
        If a file cannot be opened, does not say what must be known, files of several sensors are mixed, or two images
        are of one modality.
    """
    encoder = request.encoder.name
    kinds = find_preset(encoder).images(encoder)
    images: dict[str, tuple[tuple[Href, ...], list[Description], ImageKind]] = {}
    stated_of_kind: dict[str, Mapping[str, Any]] = {}
    for key, files in given.items():
        hrefs = tuple(replace(_href(file), cache=cache) for file in files)
        own_stated = _stated_of_image(stated, key, given)
        found = _described(hrefs, own_stated)
        asked = key if any(kind.modality == key for kind in kinds.values()) else None
        kind = kind_for(encoder, kinds, found[0], hrefs[0], asked)
        if kind.modality in images:
            msg = (
                f"{hrefs[0]} and {images[kind.modality][0][0]} are both {kind.modality!r} images of {encoder}. Give "
                "the files of one series as one list."
            )
            raise ValueError(msg)
        images[kind.modality] = (hrefs, found, kind)
        stated_of_kind[kind.modality] = own_stated
    days = tuple(parse_date(day) for day in dates or ())
    several = any(len(hrefs) > 1 or found[0].series for hrefs, found, _ in images.values())
    # A single image, too, must lie in the time, and is what frames make of it.
    several = several or request.time is not None or request.frames not in (None, 1, "median")
    series = any(kind.series for *_, kind in images.values())
    if (series or several) and not days:
        _refuse_undated([own for *own, kind in images.values() if kind.series or several], stated)
    sources = {}
    for modality, (_, found, kind) in images.items():
        dated = series or several or bool(days or found[0].dates or stated.get("fallback_date"))
        source = source_of(found[0], kind, stated_of_kind[modality], dated=dated)
        sources[modality] = replace(source, static=series and not kind.series)
    files_of = {modality: hrefs for modality, (hrefs, *_) in images.items()}
    first = next(iter(files_of.values()))[0]
    record = Record(name or first.stem or first.name, files_of, dates=dict.fromkeys(files_of, days) if days else {})
    policy = None
    if series or several:
        known = days or tuple(day for _, found, _ in images.values() for one in found for day in one.dates)
        policy = _policy(request, known, series=series)
    facts = {modality: facts_of_source(modality, source) for modality, source in sources.items()}
    root = _root([href for hrefs in files_of.values() for href in hrefs])
    return Prepared(root, [record], sources, facts, policy, series, tiling_for(request, facts))


def _stated_of_image(stated: Mapping[str, Any], key: str, keys: Collection[str]) -> dict[str, Any]:
    """Return what is stated of one of several images: of a mapping, what it says of that one.

    Raises
    ------
    ValueError
        If a mapping names an image that is not given.
    """
    own: dict[str, Any] = {}
    for name, value in stated.items():
        if name not in _OF_EACH or not isinstance(value, Mapping):
            own[name] = value
        elif unknown := [other for other in value if other not in keys]:
            msg = f"{name} is stated for {', '.join(map(repr, unknown))}; images are {', '.join(map(repr, keys))}."
            raise ValueError(msg)
        elif key in value:
            own[name] = value[key]
    return own


def _refuse_undated(images: Sequence[Sequence[Any]], stated: Mapping[str, Any]) -> None:
    """Refuse files of a series that tell no date.

    Raises
    ------
    UnknownFactsError
        With the argument to add.
    """
    if stated.get("fallback_date") is not None:
        return
    for hrefs, found in images:
        for href, one in zip(hrefs, found, strict=True):
            if not one.dates:
                msg = (
                    f"{href} does not say its date, neither in its name nor in its tags. Add dates=[...], one a file "
                    'in their order, such as dates=["2022-06-01"]; or date_pattern="..." for names that hold one.'
                )
                raise UnknownFactsError(msg)


def _policy(request: Request, known: Sequence[date], *, series: bool) -> FramePolicy:
    """Return how files become frames: within the window that is asked for, or that of all their dates."""
    span = (min(known), date.fromordinal(max(known).toordinal() + 1)) if known else None
    return policy_of(
        request.frames, request.time or (None if series and request.frames is None else span), series=series
    )


def _described(hrefs: Sequence[Href], stated: Mapping[str, Any]) -> list[Description]:
    """Describe files, which must be of one sensor.

    Raises
    ------
    UnknownFactsError
        If one is of another sensor.
    """
    own = stated_of(stated, stated.get("sensor"))
    found = [_description(href, own) for href in hrefs]
    for href, other in zip(hrefs, found, strict=True):
        if other.sensor != found[0].sensor:
            msg = (
                f"{hrefs[0]} is from {found[0].sensor}, {href} from {other.sensor}: files of several sensors are "
                'mixed. Give each sensor its own list: {"s2": [...], "s1": [...]}.'
            )
            raise UnknownFactsError(msg)
        if not other.placed and not any(stated.get(name) for name in ("pixel_size", "crs")):
            msg = f"{href} has no place on the map and does not say how large its pixels are. Add pixel_size=10."
            raise UnknownFactsError(msg)
        if other.unit is not found[0].unit:
            msg = (
                f"{hrefs[0]} is in {found[0].unit}, {href} in {other.unit}. Files of one series need one unit: state "
                "unit= if one of them says it wrong, or convert them."
            )
            raise UnknownFactsError(msg)
    return found


def _description(href: Href, stated: Stated) -> Description:
    """Describe a file.

    Raises
    ------
    SampleError
        As `describe_image`; of a folder that is no product, with what folders are for.
    """
    try:
        return describe_image(href, stated)
    except UnknownFactsError:
        raise
    except SampleError as error:
        if not (href.is_local and href.path.is_dir() and reader_of(href) is READERS[-1]):
            raise
        msg = (
            f"{href} is a folder, and none of a product that embed knows. Give the files in it as a list; or, if they "
            f'are scenes, embed a place: embed(..., PointBuffer(lon, lat, metres), time=(start, end), source="{href}").'
        )
        raise SampleError(msg) from error


def _href(file: str | os.PathLike[str]) -> Href:
    return Href.from_root(os.fspath(file), Path())


def _root(hrefs: Sequence[Href]) -> Path:
    """Return the folder that all files lie below; the current one if some are no paths."""
    if not all(href.is_local for href in hrefs):
        return Path()
    return Path(os.path.commonpath([href.path.absolute().parent for href in hrefs]))
