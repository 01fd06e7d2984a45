"""Earth Engine as a source of scenes: collections are searched by place and time, pixels are read by windows."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import shapely
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from eo_core.arguments import one_of
from eo_data.catalog.scenes.catalogues.earth_engine.images import scene_of_image
from eo_data.catalog.scenes.catalogues.earth_engine.presets import COLLECTIONS, USUAL
from eo_data.catalog.scenes.catalogues.earth_engine.session import HIGH_VOLUME, Session, client, engine_errors
from eo_data.catalog.scenes.scene import ORBITS, Orbit, Scene, TimeWindow

#: The name by which users ask for it.
NAME = "earth-engine"


@dataclass(frozen=True, eq=False)
class EarthEngine:
    """A `eo_data.catalog.scenes.scene.SceneSource` of the images of Google Earth Engine.

    Pixels are asked for by `eo_data.readers.products.earth_engine` in the grid in which Earth Engine stores an image,
    so that it resamples nothing. Of Sentinel-1, images of the mode IW with VV and VH count; of Sentinel-2 level 1C, no
    band tells clouds.

    The project has been tested against a stand-in for the service that takes the documented requests, not against the
    service itself.

    Parameters
    ----------
    project : str
        Id of a Google Cloud project that may use Earth Engine; by default that of the stored credentials.
    collections : tuple of str
        Which to search, see `eo_data.catalog.scenes.catalogues.earth_engine.presets.COLLECTIONS`; by default all but
        level 1C of Sentinel-2.
    orbit : {'ascending', 'descending'}, optional
        Of radar: the only passes that are found. Without, both are, and `eo_data.catalog.scenes.place_records` takes
        one of them for each place.
    url : str
        The service; by default that for many requests.

    Raises
    ------
    ValueError
        For collections of which the bands are not known, another orbit, or an address that is none.
    """

    project: str = ""
    collections: tuple[str, ...] = ()
    orbit: Orbit | None = None
    url: str = HIGH_VOLUME

    def __post_init__(self) -> None:
        """Refuse what is not known."""
        for name in self.collections:
            one_of("collections", name, tuple(COLLECTIONS))
        if self.orbit is not None:
            one_of("orbit", self.orbit, ORBITS)
        _ = self._session

    def search(self, geometry: BaseGeometry, time: TimeWindow | None, sensors: Collection[str]) -> list[Scene]:
        """Return the scenes that intersect a geometry, by id; see `eo_data.catalog.scenes.scene.SceneSource`.

        Images that cannot be used are left out with a warning.

        Raises
        ------
        ValueError
            If Earth Engine's client is not installed, or there are no credentials or no project.
        OSError
            If it cannot be reached, or refuses.
        """
        found: dict[str, Scene] = {}
        for name in self._searched(sensors):
            # A geometry across the date line has a part on each side.
            for part in shapely.get_parts(geometry):
                found |= {scene.id: scene for scene in self._scenes(name, part, time)}
        inside = [
            scene
            for scene in found.values()
            if (time is None or time[0] <= scene.day < time[1])
            and (self.orbit is None or scene.orbit in ("", self.orbit))
            and scene.footprint.intersects(geometry)
        ]
        return sorted(inside, key=lambda scene: scene.id)

    def __str__(self) -> str:
        """Return what it covers."""
        return f"Earth Engine ({', '.join(self.collections or USUAL)})"

    @property
    def _session(self) -> Session:
        return Session(self.project, self.url.rstrip("/"))

    def _searched(self, sensors: Collection[str]) -> list[str]:
        return [name for name in self.collections or USUAL if not sensors or COLLECTIONS[name].sensor in sensors]

    def _scenes(self, collection: str, part: BaseGeometry, time: TimeWindow | None) -> Iterator[Scene]:
        for said in self._answers(collection, part, time):
            try:
                scene = scene_of_image(said, self._session)
            except ValueError as error:
                warnings.warn(f"{error} It is left out.", stacklevel=2)
                continue
            if scene is not None:
                yield scene

    def _answers(self, collection: str, part: BaseGeometry, time: TimeWindow | None) -> list[dict[str, Any]]:
        """Return the descriptions of images; the client goes through all pages."""
        asked: dict[str, Any] = {"parent": collection, "region": shapely.to_geojson(box(*part.bounds))}
        if time is not None:
            # An image of one moment needs not have an `endTime`, which the client's argument of that name asks for.
            asked["filter"] = f'startTime >= "{time[0]}T00:00:00Z" AND startTime < "{time[1]}T00:00:00Z"'
        with engine_errors(f"{collection} of Earth Engine cannot be searched"):
            return list(client(self._session).data.listImages(asked)["images"])
