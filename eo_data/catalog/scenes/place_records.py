"""Places, times and a source of scenes become records: which scenes are the frames of a place, on which grid."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import PurePosixPath
from typing import Literal

import shapely
from shapely.geometry.base import BaseGeometry

from eo_core.text import composed
from eo_data.catalog.patterns.file_pattern import FilePattern
from eo_data.catalog.records import Record
from eo_data.catalog.scenes.near_places import NearPlaces
from eo_data.catalog.scenes.place_grids import PlaceGrid, grid_of_place
from eo_data.catalog.scenes.place_tables import PlaceFailure, places_from
from eo_data.catalog.scenes.places import Place, PointBuffer, centre_of
from eo_data.catalog.scenes.scene import Scene, SceneSource, TimeWindow, scenes_on_solar_days, windows_around
from eo_data.catalog.sources import ImageSource
from eo_data.raster.footprint import footprint, footprint_of_grid

#: What becomes one frame: all of a solar day, or what was seen within an hour.
Merge = Literal["day", "pass"]
#: Scenes of one pass begin within this time of each other.
_PASS = timedelta(hours=1)
#: Decimals of a share of cover that count: of tiles that cover as much, but for rounding, the name decides.
_DECIMALS = 6
#: How many dates a message lists.
_SHOWN = 4


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
    """

    records: tuple[Record, ...]
    grids: Mapping[str, PlaceGrid] = field(default_factory=dict)
    failures: tuple[PlaceFailure, ...] = ()


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
    """

    time: TimeWindow | None = None
    pixel_size: float | None = None
    multiple: int = 1
    merge: Merge = "day"


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
    failures: dict[int, PlaceFailure] = {}
    for number, place in near.visited():
        try:
            grid = grid_of_place(place, sizes[first], options.multiple)
            records[number] = _record(place, grid, sizes, search)
            grids[place.id] = grid
        except (ValueError, OSError) as error:
            failures[number] = PlaceFailure(place.id, str(error))
    return PlaceRecords(_in_order(records), {own.id: grids[own.id] for own in _in_order(records)}, _in_order(failures))


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
    if not sizes:
        msg = f"The pixel size of {name!r} is not known. Set pixel_size (metres) or sensor."
        raise ValueError(msg)
    return float(min(sizes))


def _record(place: Place, grid: PlaceGrid, sizes: Mapping[str, float], search: _Search) -> Record:
    lon = centre_of(place)[0]
    where = _Where(
        place, lon, footprint_of_grid(grid.grid), footprint(_corners(grid.region.bounds), grid.grid.crs or "")
    )
    days = {name: found for name in search.sources if (found := _days(where, name, search))}
    frames = {name: tuple(tuple(own.scene_files for own in day) for day in found) for name, found in days.items()}
    return Record(
        place.id,
        {name: tuple(h for day in own for scene in day for h in scene.files) for name, own in frames.items()},
        dates={name: tuple(day[0].solar_day(lon) for day in found) for name, found in days.items()},
        grids={name: grid.at(sizes[name]) for name in days},
        frames=frames,
        # A point with its surroundings stands for the whole of its grid.
        region="" if isinstance(place, PointBuffer) else shapely.to_wkt(grid.region, rounding_precision=3),
    )


@dataclass(frozen=True, eq=False)
class _Where:
    """A place: its longitude, and in degrees the outlines of its grid and of itself."""

    place: Place
    lon: float
    grid: BaseGeometry
    own: BaseGeometry


def _corners(bounds: tuple[float, float, float, float]) -> tuple[tuple[float, float], ...]:
    left, bottom, right, top = bounds
    return (left, top), (right, top), (right, bottom), (left, bottom)


def _days(where: _Where, name: str, search: _Search) -> list[list[Scene]]:
    """Scenes of a modality by frame, in order of time, each by priority.

    Raises
    ------
    ValueError
        If there are none and the modality is not optional, or it is not clear which to take.
    """
    source, lon = search.sources[name], where.lon
    sensors = [] if source.sensor is None else [source.sensor]
    pattern = FilePattern(source.files).regex(source.spellings) if source.files else None
    inside = [
        scene
        for scene in scenes_on_solar_days(search.scenes, where.grid, lon, search.options.time, sensors)
        if pattern is None or pattern.fullmatch(composed(scene.id))
    ]
    if not any(_cover(scene, where.own) for scene in inside):
        if source.optional:
            return []
        raise ValueError(_nothing(where, name, source, search))
    inside = [scene for scene in inside if _cover(scene, where.grid)]
    _check_one_kind(where.place, name, inside)
    return [_by_priority(day, where.grid) for day in _groups(inside, lon, search.options.merge)]


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
    order = sorted(later, key=lambda own: (-round(_cover(own, grid), _DECIMALS), own.tile, str(own.started or own.day)))
    newest: dict[object, Scene] = {}
    for scene in order:
        known = scene.tile and scene.started
        newest.setdefault((scene.tile, scene.started) if known else scene.id, scene)
    return list(newest.values())


def _cover(scene: Scene, outline: BaseGeometry) -> float:
    """Share of an outline that a scene covers, in degrees squared, which near a place serve to compare."""
    return float(shapely.intersection(scene.footprint, outline).area / outline.area)


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


def _nothing(where: _Where, name: str, source: ImageSource, search: _Search) -> str:
    """Say why there is no scene: none there at all, none of the sensor, or none in the time."""
    what = f"{name!r} of {where.place}"
    time = search.options.time or (date.min, date.max)

    def around(sensors: Collection[str]) -> list[Scene]:
        each = (search.scenes.search(where.own, window, sensors) for window in windows_around(time))
        return next(filter(None, ([own for own in found if _cover(own, where.own)] for found in each)), [])

    own = around([] if source.sensor is None else [source.sensor])
    if not own:
        others = ", ".join(sorted({scene.sensor for scene in around([])}))
        if not others:
            return f"{what}: no scene shows it. It lies outside of all in {search.scenes}."
        return f"{what}: no scene of {source.sensor} shows it, only of {others}. Look at {search.scenes}."
    days = {scene.solar_day(where.lon) for scene in own}
    nearest = sorted(days, key=lambda day: (min(abs((day - time[0]).days), abs((day - time[1]).days)), day))[:_SHOWN]
    return (
        f"{what}: no acquisition from {time[0]} on and before {time[1]}. The nearest days are "
        f"{', '.join(day.isoformat() for day in sorted(nearest))}. Widen the time."
    )
