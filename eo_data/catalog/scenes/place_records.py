"""Places, times and a source of scenes become records: which scenes are the frames of a place, on which grid."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Literal

import shapely
from shapely.geometry.base import BaseGeometry

from eo_data.catalog.records import Record
from eo_data.catalog.scenes.near_places import NearPlaces
from eo_data.catalog.scenes.place_grids import PlaceGrid, grid_of_place
from eo_data.catalog.scenes.place_scenes import Asked, Limits, Where, cover, where_of
from eo_data.catalog.scenes.place_tables import PlaceFailure, places_from
from eo_data.catalog.scenes.places import Place, PointBuffer
from eo_data.catalog.scenes.scene import Orbit, Scene, SceneSource, TimeWindow
from eo_data.catalog.sources import ImageSource

#: What becomes one frame: all of a solar day, or what was seen within an hour.
Merge = Literal["day", "pass"]
#: The scenes of each frame, by modality.
type Frames = Mapping[str, Sequence[Sequence[Scene]]]
#: Decimals of a share of cover that count: of tiles that cover as much, but for rounding, the name decides.
_DECIMALS = 6
#: Scenes of one pass begin within this time of each other.
_PASS = timedelta(hours=1)


@dataclass(frozen=True)
class PlaceRecords:
    """Records of places, and the places without.

    Parameters
    ----------
    records : tuple of Record
        In the order of the places.
    grids : mapping of str to PlaceGrid
        By the id of a record, the grid of its first modality and the place in it.
    failures : tuple of PlaceFailure
        Places that no scene shows in the time, or that are too large.
    scenes : mapping of str to mapping
        By the id of a record and modality, the scenes of each frame, in the order of `Record.frames`.
    """

    records: tuple[Record, ...]
    grids: Mapping[str, PlaceGrid] = field(default_factory=dict)
    failures: tuple[PlaceFailure, ...] = ()
    scenes: Mapping[str, Frames] = field(default_factory=dict)


@dataclass(frozen=True)
class PlaceOptions:
    """How places are read.

    Parameters
    ----------
    time : (date, date) or None
        Solar days from the first on, before the second, see `eo_data.catalog.scenes.scene.time_window`; any without.
    pixel_size : float, optional
        Of the first modality in metres; that of its source, or the smallest GSD of its bands by default. Other
        modalities keep theirs.
    multiple : int
        Side of a patch in pixels of the first modality, of which the grid is a multiple. Pixels of the other modalities
        must fit into its side.
    merge : {'day', 'pass'}
        What one frame is made of: all scenes of a solar day, or those that began within an hour of each other, so that
        an ascending and a descending pass of one day stay apart.
    max_cloud, orbit
        Which scenes count, see `eo_data.catalog.scenes.place_scenes.Limits`.

    Raises
    ------
    ValueError
        For a share of clouds or an orbit that is none.
    """

    time: TimeWindow | None = None
    pixel_size: float | None = None
    multiple: int = 1
    merge: Merge = "day"
    max_cloud: float | None = None
    orbit: Orbit | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        _ = self.limits

    @property
    def limits(self) -> Limits:
        """Which scenes count."""
        return Limits(self.time, self.max_cloud, self.orbit)


def records_of_places(
    places: Iterable[Place], scenes: SceneSource, sources: Mapping[str, ImageSource], options: PlaceOptions
) -> PlaceRecords:
    """Return a record for each place that scenes show.

    Places that lie near each other are searched together, see `eo_data.catalog.scenes.near_places.NearPlaces`. Each
    modality takes the scenes of its sensor whose id, such as a path below a folder, matches its ``files``, if it
    states any. Those of one solar day at the place make one frame: a pixel comes from
    the first scene that has it, in the order of: larger share of the grid covered, tile, start, later name (and so the
    newer processing). Of a tile that was processed several times, only the newest counts.

    Parameters
    ----------
    places : iterable of Place
        A record has the id of its place, or else the number of the place.
    scenes : SceneSource
        A folder or a catalogue.
    sources : mapping of str to ImageSource
        The modalities.
    options : PlaceOptions
        When and how.

    Raises
    ------
    ValueError
        If there is no modality, the pixel size of one is not known, or the source cannot be searched.
    """
    if not sources:
        msg = "There are no modalities to read of the places."
        raise ValueError(msg)
    sizes = {name: _pixel_size(name, source) for name, source in sources.items()}
    first = next(iter(sizes))
    sizes[first] = options.pixel_size or sizes[first]
    given = list(places)
    near = NearPlaces(scenes, places_from(given).places if given else ())
    search = _Search(near, sources, options)
    records: dict[int, Record] = {}
    grids: dict[str, PlaceGrid] = {}
    frames: dict[str, Frames] = {}
    failures: dict[int, PlaceFailure] = {}
    for number, place in near.visited():
        try:
            grid = grid_of_place(place, sizes[first], options.multiple)
            where = where_of(place, grid)
            taken = {name: own for name in sources if (own := _taken(where, name, search)).days}
            records[number] = _record(where, grid, sizes, taken)
            grids[place.id], frames[place.id] = grid, {name: own.days for name, own in taken.items()}
        except (ValueError, OSError) as error:
            failures[number] = PlaceFailure(place.id, str(error))
    found = _in_order(records)
    return PlaceRecords(
        found,
        {own.id: grids[own.id] for own in found},
        _in_order(failures),
        {own.id: frames[own.id] for own in found},
    )


def _in_order[Own](numbered: Mapping[int, Own]) -> tuple[Own, ...]:
    return tuple(numbered[number] for number in sorted(numbered))


@dataclass(frozen=True)
class _Search:
    """Where to look for what."""

    scenes: SceneSource
    sources: Mapping[str, ImageSource]
    options: PlaceOptions


def _pixel_size(name: str, source: ImageSource) -> float:
    sizes = [source.pixel_size] if source.pixel_size else [band.gsd for band in source.known_bands]
    if not sizes and source.table is not None:
        valid = ", ".join(source.table.band_names)
        msg = f"{source.sensor} has no band {' or '.join(map(repr, source.bands))} ({name!r}). Valid: {valid}."
        raise ValueError(msg)
    if not sizes:
        msg = f"The pixel size of {name!r} is not known. Set pixel_size (metres) or sensor."
        raise ValueError(msg)
    return float(min(sizes))


def _record(where: Where, grid: PlaceGrid, sizes: Mapping[str, float], taken: Mapping[str, _Taken]) -> Record:
    days = {name: own.days for name, own in taken.items()}
    frames = {name: tuple(tuple(own.scene_files for own in day) for day in found) for name, found in days.items()}
    return Record(
        where.place.id,
        {name: tuple(h for day in own for scene in day for h in scene.files) for name, own in frames.items()},
        dates={name: tuple(day[0].solar_day(where.lon) for day in found) for name, found in days.items()},
        grids={name: grid.at(sizes[name]) for name in days},
        frames=frames,
        # A point with its surroundings stands for the whole of its grid.
        region="" if isinstance(where.place, PointBuffer) else shapely.to_wkt(grid.region, rounding_precision=3),
        notes={name: own.notes for name, own in taken.items() if own.notes},
    )


@dataclass(frozen=True)
class _Taken:
    """The scenes of a modality by frame, in order of time, each by priority; and what was left out, in words."""

    days: Sequence[Sequence[Scene]] = ()
    notes: tuple[str, ...] = ()


def _taken(where: Where, name: str, search: _Search) -> _Taken:
    """Return the scenes of a modality that are frames of a place; none if it is optional and there are none.

    Raises
    ------
    ValueError
        If there are none, or it is not clear which to take.
    """
    source, options = search.sources[name], search.options
    asked = Asked(search.scenes, () if source.sensor is None else (source.sensor,), options.limits, source)
    found = asked.showing(where)
    chosen, notes = asked.counting(where, found)
    if not any(cover(scene, where.own) for scene in chosen):
        if source.optional:
            return _Taken()
        msg = f"{name!r} of {where.place}: {asked.reason({where: found})}"
        raise ValueError(msg)
    _check_one_kind(where.place, name, chosen)
    return _Taken([_by_priority(day, where.grid) for day in _groups(chosen, where.lon, options.merge)], notes)


def _groups(scenes: Sequence[Scene], lon: float, merge: Merge) -> list[list[Scene]]:
    """Scenes of a solar day, or of a pass, in order of time."""
    ordered = sorted(scenes, key=lambda own: (own.solar_day(lon), own.started is None, own.started or own.day, own.id))
    days = [list(group) for _, group in itertools.groupby(ordered, key=lambda own: own.solar_day(lon))]
    if merge == "day":
        return days
    passes: list[list[Scene]] = []
    for day in days:
        for i, scene in enumerate(day):
            before = day[i - 1].started if i else None
            if i and (scene.started is None or before is None or scene.started - before <= _PASS):
                passes[-1].append(scene)
            else:
                passes.append([scene])
    return passes


def _by_priority(scenes: Sequence[Scene], grid: BaseGeometry) -> list[Scene]:
    """Scenes of a frame, the first to take pixels from first; of one acquisition of a tile, the newest processing."""
    # Folders above a product say nothing of its processing.
    later = sorted(scenes, key=lambda own: (PurePosixPath(own.id).name, own.id), reverse=True)
    order = sorted(later, key=lambda own: (-round(cover(own, grid), _DECIMALS), own.tile, str(own.started or own.day)))
    newest: dict[object, Scene] = {}
    for scene in order:
        known = scene.tile and scene.started
        newest.setdefault((scene.tile, scene.started) if known else scene.id, scene)
    return list(newest.values())


def _check_one_kind(place: Place, name: str, scenes: Sequence[Scene]) -> None:
    sensors = sorted({scene.sensor for scene in scenes})
    if len(sensors) > 1:
        msg = f"{name!r} of {place}: scenes of several sensors show it ({', '.join(sensors)}). State sensor."
        raise ValueError(msg)
    kinds = sorted({scene.kind for scene in scenes})
    if len(kinds) > 1:
        example = ", ".join(next(scene.id for scene in scenes if scene.kind == kind) for kind in kinds)
        msg = (
            f"{name!r} of {place}: scenes of several kinds show it ({', '.join(kinds)}; {example}), whose values are "
            "not the same. Give a folder that holds one kind, or a catalogue with one of its collections."
        )
        raise ValueError(msg)
