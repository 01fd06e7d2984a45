"""Places that lie near each other: a catalogue is asked once for all of them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence

import shapely
from shapely.geometry.base import BaseGeometry

from eo_data.catalog.scenes.place_grids import grid_of_place
from eo_data.catalog.scenes.places import Place, centre_of
from eo_data.catalog.scenes.scene import Scene, SceneSource, TimeWindow
from eo_data.raster.footprint import footprint_of_grid

#: Side in degrees of the cells by which places are near each other: half of a tile of Sentinel-2, so that the scenes
#: of all places in a cell are hardly more than those of one.
_CELL = 0.5
#: Pixels in metres by which outlines are made, and degrees by which the grid of a place may be larger than they are.
_ROUGHLY, _MARGIN = 10.0, 0.01
#: How many searches in a row may fail before a catalogue counts as down. Each of them was tried several times.
_PATIENCE = 3


class NearPlaces:
    """A `SceneSource` that asks another one for all places of a cell of half a degree at once.

    What was found is kept while places of the same cell are asked for, so that it pays to visit them one after the
    other, as `visited` does. A place that is alone in its cell, one that is larger than a cell and one across the date
    line ask for themselves; so do searches at any time, whose answers may be long.

    A search that fails is not tried again in its cell. After three failures in a row, nothing is asked any more: a
    catalogue that is down would cost minutes for each cell.

    Parameters
    ----------
    scenes : SceneSource
        Who is asked.
    places : sequence of Place
        The places.
    """

    def __init__(self, scenes: SceneSource, places: Sequence[Place]) -> None:
        self._scenes, self._places = scenes, tuple(places)
        self._cells = _cells(self._places)
        boxes = (_box(own) for own in self._cells.values() if len(own) > 1)
        self._tree = shapely.STRtree([box for box in boxes if box is not None])
        self._current: BaseGeometry | None = None
        #: Scenes, or why there are none, of the current box by time and sensors.
        self._answers: dict[tuple[TimeWindow, frozenset[str]], list[Scene] | str] = {}
        #: Of the searches that failed in a row.
        self._reasons: list[str] = []

    def __str__(self) -> str:
        """Return what the other one covers."""
        return str(self._scenes)

    def visited(self) -> Iterator[tuple[int, Place]]:
        """Yield the number of each place and the place, those of a cell one after the other."""
        cells = {id(place): number for number, own in enumerate(self._cells.values()) for place in own}
        yield from sorted(enumerate(self._places), key=lambda own: (cells.get(id(own[1]), -1), own[0]))

    def search(self, geometry: BaseGeometry, time: TimeWindow | None, sensors: Collection[str]) -> list[Scene]:
        """Return the scenes that intersect a geometry; see `SceneSource`.

        Raises
        ------
        ValueError, OSError
            If the other one cannot be searched, or failed several times in a row.
        """
        box = self._box_of(geometry)
        if time is None or box is None:
            return self._asked(geometry, time, sensors)
        if box is not self._current:
            self._current, self._answers = box, {}
        found = self._kept(box, time, frozenset(sensors))
        return [
            scene
            for scene in found
            if (not sensors or scene.sensor in sensors) and scene.footprint.intersects(geometry)
        ]

    def _box_of(self, geometry: BaseGeometry) -> BaseGeometry | None:
        """Return the box around the places of a cell that a geometry lies in, if there is one."""
        if self._current is not None and self._current.covers(geometry):
            return self._current
        found = self._tree.query(geometry, predicate="covered_by")
        return self._tree.geometries[min(found)] if len(found) else None

    def _kept(self, box: BaseGeometry, time: TimeWindow, sensors: frozenset[str]) -> list[Scene]:
        """Return the scenes of a box, which are asked for once; what was found for more sensors has them, too."""
        for (window, others), found in self._answers.items():
            if window == time and (not others or (sensors and sensors <= others)):
                if isinstance(found, str):
                    raise OSError(found)
                return found
        try:
            answer = self._answers[time, sensors] = self._asked(box, time, sensors)
        except (ValueError, OSError) as error:
            self._answers[time, sensors] = str(error)
            raise
        return answer

    def _asked(self, geometry: BaseGeometry, time: TimeWindow | None, sensors: Collection[str]) -> list[Scene]:
        if len(self._reasons) >= _PATIENCE:
            msg = (
                f"{self} was not asked any more after {_PATIENCE} searches in a row had failed, the last one because: "
                f"{self._reasons[-1]}"
            )
            raise OSError(msg)
        try:
            found = self._scenes.search(geometry, time, sensors)
        except (ValueError, OSError) as error:
            self._reasons.append(str(error))
            raise
        self._reasons.clear()
        return found


def _cells(places: Sequence[Place]) -> Mapping[object, list[Place]]:
    """Return the places of each cell, in the order of the first of each; those without a middle are in none."""
    cells: dict[object, list[Place]] = {}
    for place in places:
        try:
            lon, lat = centre_of(place)
        except ValueError:  # it is listed as a failure when its record is made
            continue
        cells.setdefault((math.floor(lon / _CELL), math.floor(lat / _CELL)), []).append(place)
    return cells


def _box(places: Sequence[Place]) -> BaseGeometry | None:
    """Return a box around the places of a cell that are no larger than it, if there are several."""
    outlines = []
    for place in places:
        try:
            outline = footprint_of_grid(grid_of_place(place, _ROUGHLY).grid)
        except ValueError:
            continue
        west, south, east, north = outline.bounds
        if max(east - west, north - south) <= _CELL:
            outlines.append(outline)
    if len(outlines) < 2:
        return None
    west, south, east, north = shapely.total_bounds(outlines)
    low, high = (
        (max(west - _MARGIN, -180), max(south - _MARGIN, -90)),
        (min(east + _MARGIN, 180), min(north + _MARGIN, 90)),
    )
    return shapely.box(*low, *high)
