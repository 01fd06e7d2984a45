"""A scene: what one acquisition offers, where, and when; and who can tell the scenes of a place."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal, Protocol, get_args

from shapely.geometry.base import BaseGeometry

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import SceneFiles
from eo_data.sensors.beside import Sidecar
from eo_data.sensors.tables import SENSORS
from eo_data.temporal.calendar_date import parse_date

#: First day and the day after the last one.
type TimeWindow = tuple[date, date]
#: Ways of a satellite. Radar sees slopes from the one side or the other, so that the two are not mixed.
Orbit = Literal["ascending", "descending"]
ORBITS: tuple[Orbit, ...] = get_args(Orbit)


@dataclass(frozen=True, eq=False)
class Scene:
    """One acquisition of one sensor.

    Parameters
    ----------
    id : str
        Unique in its source, such as the name of its product.
    sensor : str
        Key of `eo_data.sensors.tables.SENSORS`.
    kind : str
        Type of the product, or format of the file: scenes of two kinds are not merged.
    files : tuple of Href
        One file or product with all bands, or a file for each band.
    bands : tuple of str
        Bands that it has, by canonical name where the sensor knows them.
    footprint : shapely geometry
        Where it lies: longitude and latitude (EPSG:4326), cut at the date line.
    day : date
        UTC day on which sensing began, or the day that its name states.
    started : datetime or None
        When sensing began, UTC, if the time is known too.
    band_files : tuple of str
        Where every band has its own file: the band of each.
    tile : str
        Tile of the product's grid, or empty.
    crs : str
        Of its pixels, as EPSG code where it has one.
    said : tuple of Sidecar
        What a catalogue says of each file, see `eo_data.catalog.records.SceneFiles`.
    cloud : float or None
        Clouds in percent of the whole scene, as its producer states them; ``None`` of radar, and where nobody does.
    orbit : {'ascending', 'descending', ''}
        Of radar: on which way the satellite passed, as far as it is known.
    """

    id: str
    sensor: str
    kind: str
    files: tuple[Href, ...]
    bands: tuple[str, ...]
    footprint: BaseGeometry
    day: date
    started: datetime | None = None
    band_files: tuple[str, ...] = ()
    tile: str = ""
    crs: str = ""
    said: tuple[Sidecar, ...] = ()
    cloud: float | None = None
    orbit: Orbit | Literal[""] = ""

    @property
    def scene_files(self) -> SceneFiles:
        """Its files as records hold them."""
        return SceneFiles(self.files, self.band_files, self.said)

    @property
    def radar(self) -> bool:
        """Whether it is of a radar."""
        return SENSORS[self.sensor].radar

    def solar_day(self, lon: float) -> date:
        """Return the day by the sun at a longitude, which no pass by day or night crosses twice at its noon.

        A tile that is seen at 23:59 UTC and its neighbour at 00:01 are of one solar day. Without a time it is `day`.
        """
        return self.day if self.started is None else (self.started + timedelta(hours=lon / 15)).date()


def orbit_of(text: object) -> Orbit | Literal[""]:
    """Return the way of a satellite as metadata write it, in capitals or not; empty for anything else."""
    written = str(text).lower()
    return next((orbit for orbit in ORBITS if orbit == written), "")


class SceneSource(Protocol):
    """Who can tell the scenes of a place: a folder, a catalogue.

    ``str()`` of it says what it covers, for messages.
    """

    def search(self, geometry: BaseGeometry, time: TimeWindow | None, sensors: Collection[str]) -> list[Scene]:
        """Return the scenes that intersect a geometry, in any order.

        Parameters
        ----------
        geometry : shapely geometry
            In EPSG:4326, longitude first.
        time : (date, date) or None
            UTC days from the first on, before the second; any time without.
        sensors : collection of str
            Keys of `eo_data.sensors.tables.SENSORS`; all if it is empty.

        Raises
        ------
        ValueError, OSError
            If it cannot be searched.
        """
        ...


def scenes_on_solar_days(
    source: SceneSource, geometry: BaseGeometry, lon: float, time: TimeWindow | None, sensors: Collection[str]
) -> list[Scene]:
    """Return the scenes that intersect a geometry, in a window of days by the sun at a longitude.

    Parameters
    ----------
    source : SceneSource
        Where they are looked for, by days in UTC.
    geometry, sensors
        As in `SceneSource.search`.
    lon : float
        Degrees east.
    time : (date, date) or None
        Solar days from the first on, before the second; any without.
    """
    # A solar day begins up to 12 hours before or after that of UTC.
    day = timedelta(days=1)
    wide = None if time is None else (max(time[0], date.min + day) - day, min(time[1], date.max - day) + day)
    found = source.search(geometry, wide, sensors)
    return [scene for scene in found if time is None or time[0] <= scene.solar_day(lon) < time[1]]


def windows_around(time: TimeWindow) -> tuple[TimeWindow, None]:
    """Return where to look for the scenes nearest to a window: within a year of it, and else at any time.

    A catalogue has thousands of scenes of one place, which come in pages.
    """
    day, year = timedelta(days=1), timedelta(days=366)
    # Neither the first nor the last day of the calendar goes further.
    return (max(time[0], date.min + year) - year, min(time[1], date.max - year - day) + year), None


def time_window(start: str | date, end: str | date) -> TimeWindow:
    """Return a window of whole days; the end is not part of it.

    Raises
    ------
    ValueError
        For what is no date, or an end that is not after the start.
    """
    first, last = parse_date(start), parse_date(end)
    if first >= last:
        swap = (
            f" Swap them: ({last}, {first})." if first > last else f" For one day, end on {first + timedelta(days=1)}."
        )
        msg = f"The time must begin before it ends, and the end is not part of it; got {first} to {last}.{swap}"
        raise ValueError(msg)
    return first, last
