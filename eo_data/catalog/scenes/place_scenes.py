"""Which scenes of a place count, and why none does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date

import shapely
from shapely.geometry.base import BaseGeometry

from eo_core.arguments import one_of
from eo_core.text import composed
from eo_data.catalog.patterns.file_pattern import FilePattern
from eo_data.catalog.scenes.place_grids import PlaceGrid, grid_of_place
from eo_data.catalog.scenes.places import Place, centre_of
from eo_data.catalog.scenes.scene import (
    ORBITS,
    Orbit,
    Scene,
    SceneSource,
    TimeWindow,
    scenes_on_solar_days,
    windows_around,
)
from eo_data.catalog.sources import ImageSource
from eo_data.raster.footprint import footprint, footprint_of_grid

#: How many dates a message lists, and how many places are asked again for it.
_SHOWN = 4
#: Metres by which the outline of a place may be off while nobody knows the pixel size.
_ROUGHLY = 10.0


@dataclass(frozen=True, eq=False)
class Where:
    """A place while scenes are looked for.

    Parameters
    ----------
    place : Place
        The place.
    lon : float
        Longitude of its middle, for solar days.
    grid, own : shapely geometry
        Outlines of its grid and of itself, in degrees.
    """

    place: Place
    lon: float
    grid: BaseGeometry
    own: BaseGeometry


def where_of(place: Place, grid: PlaceGrid) -> Where:
    """Return a place that has a grid."""
    left, bottom, right, top = grid.region.bounds
    corners = (left, top), (right, top), (right, bottom), (left, bottom)
    outline = footprint(corners, grid.grid.crs or "")
    return Where(place, centre_of(place)[0], footprint_of_grid(grid.grid), outline)


def cover(scene: Scene, outline: BaseGeometry) -> float:
    """Share of an outline that a scene covers, in degrees squared, which near a place serve to compare."""
    return float(shapely.intersection(scene.footprint, outline).area / outline.area)


@dataclass(frozen=True)
class Limits:
    """Which scenes count.

    Parameters
    ----------
    time : (date, date) or None
        Solar days from the first on, before the second; any without.
    max_cloud : float, optional
        Percent: scenes that state more clouds are left out. Those that state none stay, which of optical sensors is
        noted: clouds of a whole scene say little of a place in it, and what is not said says less.
    orbit : {'ascending', 'descending'}, optional
        Of radar: which passes count. By default those of which a place has the most days (of as many, the ascending
        ones); they are not mixed.

    Raises
    ------
    ValueError
        For a share that is none, or another orbit.
    """

    time: TimeWindow | None = None
    max_cloud: float | None = None
    orbit: Orbit | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.max_cloud is not None and not 0 <= self.max_cloud <= 100:
            msg = f"max_cloud must be a share in percent, from 0 to 100, got {self.max_cloud!r}."
            raise ValueError(msg)
        if self.orbit is not None:
            one_of("orbit", self.orbit, ORBITS)

    def too_cloudy(self, scene: Scene) -> bool:
        """Whether a scene states more clouds than may be."""
        return self.max_cloud is not None and scene.cloud is not None and scene.cloud > self.max_cloud


@dataclass(frozen=True)
class Asked:
    """What is asked of a source of scenes.

    Parameters
    ----------
    scenes : SceneSource
        The source.
    sensors : collection of str
        Whose scenes; of any if it is empty.
    limits : Limits
        Which of them count.
    source : ImageSource, optional
        Its ``files`` tell which ids count.
    """

    scenes: SceneSource
    sensors: Collection[str]
    limits: Limits
    source: ImageSource | None = None

    def of(self, place: Place) -> list[Scene]:
        """Return the scenes that count and show some of a place; none of a place that has no grid."""
        try:
            where = where_of(place, grid_of_place(place, _ROUGHLY))
        except ValueError:
            return []  # it is listed as a failure when its record is made
        return self.counting(where, self.showing(where))[0]

    def showing(self, where: Where) -> list[Scene]:
        """Return the scenes of the time that show some of a grid, whether they count or not."""
        return self._at(where, self.limits.time)

    def counting(self, where: Where, found: Sequence[Scene]) -> tuple[list[Scene], tuple[str, ...]]:
        """Return which of the scenes of a place count, and what a user must know of those left out."""
        limits = self.limits
        clear = [scene for scene in found if not limits.too_cloudy(scene)]
        notes = []
        if len(clear) < len(found) and (cloudy := _days_of(found, where) - _days_of(clear, where)):
            notes.append(f"dates left out, above {limits.max_cloud:g} % cloud: {_some(map(str, sorted(cloudy)))}")
        unknown = [own.id for own in clear if own.cloud is None and not own.radar]
        if limits.max_cloud is not None and unknown:
            notes.append(f"scenes taken that do not state their clouds: {_some(sorted(unknown))}")
        orbit = limits.orbit or _usual_orbit(clear, where)
        if orbit is None or not any(scene.radar for scene in clear):
            return clear, tuple(notes)
        kept = [scene for scene in clear if not scene.radar or scene.orbit == orbit]
        notes.append(f"only {orbit} passes, {'as asked for' if limits.orbit else 'which have the most dates'}")
        if others := len(_days_of(clear, where) - _days_of(kept, where)):
            notes.append(f"dates left out that have only other passes: {others}")
        return kept, tuple(notes)

    def why_none(self, places: Sequence[Place]) -> str:
        """Say why no scene counts of a place, or of any of some: there are none, none in the time, or not as asked."""
        found = {}
        for place in places[:_SHOWN]:
            with suppress(ValueError):
                where = where_of(place, grid_of_place(place, _ROUGHLY))
                found[where] = self.showing(where)
        return f"{places[0] if len(places) == 1 else f'Any of {len(places)} places'}: {self.reason(found)}"

    def reason(self, found: Mapping[Where, Sequence[Scene]]) -> str:
        """Say why no scene counts of places, of which those of the time are known, and what to change."""
        time = self.limits.time
        window = "" if time is None else f" from {time[0]} on and before {time[1]}"
        if there := _by_day(found):
            return self._not_as_asked(there, window)
        try:
            return self._none_in_time(list(found), window)
        except OSError as error:  # a wider search may be refused; that there is nothing is known all the same
            return f"no acquisition{window}. Widen the time. Which days are nearest is not known: {error}"

    def _none_in_time(self, places: Sequence[Where], window: str) -> str:
        time = self.limits.time
        for around in () if time is None else windows_around(time):
            if near := self._around(places, around):
                nearest = sorted(near, key=lambda day: (min(abs((day - end).days) for end in time or ()), day))
                days = ", ".join(_told(day, near[day]) for day in sorted(nearest[:_SHOWN]))
                return f"no acquisition{window}. The nearest days are {days}. Widen the time."
        files = self.source.files if self.source else None
        if files and (there := replace(self, source=None)._around(places, time)):
            example = next(iter(there.values()))[0].id
            return f"no scene{window} has a name as files states it ({files!r}); there is {example}. Correct files."
        others = self._other_sensors(places)
        if others:
            return f"no scene of {' or '.join(self.sensors)} shows it, only of {others}. Look at {self.scenes}."
        return (
            f"no scene shows it. It lies outside of all in {self.scenes}. Check longitude and latitude, their order, "
            "and the source."
        )

    def _at(self, where: Where, time: TimeWindow | None) -> list[Scene]:
        source = self.source
        files = FilePattern(source.files).regex(source.spellings) if source and source.files else None
        return [
            scene
            for scene in scenes_on_solar_days(self.scenes, where.grid, where.lon, time, self.sensors)
            if (files is None or files.fullmatch(composed(scene.id))) and cover(scene, where.grid)
        ]

    def _around(self, places: Sequence[Where], time: TimeWindow | None) -> dict[date, list[Scene]]:
        return _by_day({where: self._at(where, time) for where in places})

    def _not_as_asked(self, there: Mapping[date, Sequence[Scene]], window: str) -> str:
        """Say which acquisitions of the time do not count, and what to change."""
        limits = self.limits
        each = [scene for scenes in there.values() for scene in scenes]
        reasons, remedies = [], []
        if any(map(limits.too_cloudy, each)):
            reasons.append(f"above {limits.max_cloud:g} % cloud")
            remedies.append("Raise max_cloud")
        if any(scene.radar for scene in each):
            reasons.append(f"not known to be of {limits.orbit} passes")
            remedies.append("Leave orbit out" if not remedies else "leave orbit out")
        count = f"{len(there)} acquisition{'' if len(there) == 1 else 's'}{window}"
        days = _some(_told(day, scenes) for day, scenes in there.items())
        return f"{count}, all {' or '.join(reasons)}: {days}. {', '.join(remedies)}, or widen the time."

    def _other_sensors(self, places: Sequence[Where]) -> str:
        time = self.limits.time
        any_sensor = Asked(self.scenes, (), self.limits)
        for around in windows_around(time) if time else (None,):
            each = any_sensor._around(places, around).values()
            if names := {scene.sensor for scenes in each for scene in scenes} - {*self.sensors}:
                return ", ".join(sorted(names))
        return ""


def _by_day(found: Mapping[Where, Sequence[Scene]]) -> dict[date, list[Scene]]:
    """Return the scenes that show some of the places themselves, whether they count or not, by solar day."""
    days: dict[date, list[Scene]] = {}
    for where, scenes in found.items():
        for scene in scenes:
            if cover(scene, where.own):
                days.setdefault(scene.solar_day(where.lon), []).append(scene)
    return dict(sorted(days.items()))


def _days_of(scenes: Iterable[Scene], where: Where) -> set[date]:
    """Days on which some of the place itself is shown."""
    return {scene.solar_day(where.lon) for scene in scenes if cover(scene, where.own)}


def _usual_orbit(scenes: Sequence[Scene], where: Where) -> Orbit | None:
    """Return the orbit of most days, of as many the ascending one; ``None`` if none is known."""
    days = {orbit: len(_days_of((own for own in scenes if own.orbit == orbit), where)) for orbit in ORBITS}
    most = max(ORBITS, key=days.__getitem__)
    return most if days[most] else None


def _some(texts: Iterable[str]) -> str:
    """Return texts as a list that fits into a message."""
    own = list(texts)
    return ", ".join(own[:_SHOWN]) + (f" and {len(own) - _SHOWN} more" if len(own) > _SHOWN else "")


def _told(day: date, scenes: Iterable[Scene]) -> str:
    """Return a day with the clouds of its clearest scene, and of radar the ways of the satellite."""
    own = list(scenes)
    clouds = [scene.cloud for scene in own if scene.cloud is not None]
    said = [f"{min(clouds):.4g} % cloud"] if clouds else []
    said += sorted({scene.orbit or "orbit unknown" for scene in own if scene.radar})
    return f"{day}{f' ({", ".join(said)})' if said else ''}"
