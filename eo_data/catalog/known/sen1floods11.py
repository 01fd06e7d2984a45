"""Acquisition dates of Sen1Floods11 (Bonafilia et al., 2020): one pair of dates per flood event, from its geojson."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import MappingProxyType

from eo_core.text import did_you_mean
from eo_data.catalog.date_index import DateRequest, KnownDates
from eo_data.temporal.calendar_date import parse_date

#: Events whose chips have another name than the event has in the geojson.
_EVENT_OF_CHIPS = MappingProxyType({"Mekong": "Cambodia"})


@dataclass(frozen=True)
class EventDates:
    """Dates of the acquisitions of one flood event.

    Parameters
    ----------
    s1, s2 : datetime.date
        Dates of the Sentinel-1 and the Sentinel-2 image.
    """

    s1: date
    s2: date


def event_dates(features: Sequence[Mapping[str, object]], file: Path) -> Mapping[str, EventDates]:
    """Return the dates of all events.

    Parameters
    ----------
    features : sequence of mapping
        Properties of the features of ``Sen1Floods11_Metadata.geojson``, a part of the data set.
    file : Path
        That file, for messages.

    Returns
    -------
    mapping of str to EventDates
        By the event's name as the geojson writes it (``Cambodia``, ``Sri-Lanka``).

    Raises
    ------
    ValueError
        If an event has no place or date, or is there twice.
    """
    events: dict[str, EventDates] = {}
    for properties in features:
        missing = [key for key in ("location", "s1_date", "s2_date") if not properties.get(key)]
        if missing:
            msg = f"{str(file)!r}: an event has no {', '.join(missing)}, it has {', '.join(properties) or 'nothing'}."
            raise ValueError(msg)
        name = str(properties["location"])
        if name in events:
            msg = f"{str(file)!r} has the event {name!r} twice. Keep one of them."
            raise ValueError(msg)
        events[name] = EventDates(parse_date(properties["s1_date"]), parse_date(properties["s2_date"]))
    return MappingProxyType(events)


def chip_dates(chip_id: str, events: Mapping[str, EventDates]) -> EventDates:
    """Return the dates of the event that a chip belongs to.

    Parameters
    ----------
    chip_id : str
        Name of a chip or one of its files: ``Mekong_1111068`` or ``.../Sri-Lanka_101973_S2Hand.tif``.
    events : mapping of str to EventDates
        Dates of all events, see `event_dates`.

    Raises
    ------
    ValueError
        If there is no such event; the message names the nearest one.
    """
    chips = re.split(r"[\\/]", chip_id)[-1].partition("_")[0]
    found = events.get(_EVENT_OF_CHIPS.get(chips, chips))
    if found is not None:
        return found
    valid = [*events, *_EVENT_OF_CHIPS]
    hint = did_you_mean(chips, valid, cutoff=0.5)
    msg = (
        f"The chip {chip_id!r} belongs to no known event: expected <event>_<number>, got the event {chips!r}.{hint} "
        f"Valid events: {', '.join(sorted(valid))}."
    )
    raise ValueError(msg)


def _dates_by_chip(features: Sequence[Mapping[str, object]], request: DateRequest) -> dict[str, date]:
    """Return the date of each chip's image, of Sentinel-1 for a radar and of Sentinel-2 otherwise.

    Raises
    ------
    ValueError
        If an event or a chip cannot be used; a chip of no known event is left out where the request says so.
    """
    events = event_dates(features, request.file)
    found: dict[str, date] = {}
    for chip_id in request.ids:
        try:
            dates = chip_dates(chip_id, events)
        except ValueError:
            if request.skip_unknown:
                continue  # reading the chip will fail, because it has no date
            raise
        found[chip_id] = dates.s1 if request.radar else dates.s2
    return found


EVENT_DATES = KnownDates("Sen1Floods11", frozenset({"location", "s1_date", "s2_date"}), _dates_by_chip)
