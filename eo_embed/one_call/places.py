"""Places as the input of an encoder: one, or many."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path, PurePath
from typing import Any

from shapely.geometry.base import BaseGeometry

from eo_data.catalog.records import SceneFiles
from eo_data.catalog.scenes.near_places import NearPlaces
from eo_data.catalog.scenes.place_grids import grid_of_place
from eo_data.catalog.scenes.place_records import PlaceOptions, PlaceRecords, records_of_places
from eo_data.catalog.scenes.place_tables import PlaceFailure, PlaceTable, places_from
from eo_data.catalog.scenes.places import BBox, Place, PointBuffer, Region, centre_of
from eo_data.catalog.scenes.scene import (
    Scene,
    SceneSource,
    TimeWindow,
    scenes_on_solar_days,
    time_window,
    windows_around,
)
from eo_data.catalog.sources import ImageSource
from eo_data.raster.footprint import footprint_of_grid
from eo_data.readers.described.images import Description, Stated, UnknownFactsError, describe_image
from eo_data.readers.described.scenes import scenes_from
from eo_data.sensors.quality_names import kind_of_name
from eo_data.sensors.sentinel2 import is_sentinel2
from eo_data.sensors.tables import SENSORS
from eo_data.sensors.units import InputUnit
from eo_data.temporal.calendar_date import parse_date
from eo_embed.one_call.options import Request, policy_of
from eo_embed.one_call.prepared import Prepared, facts_of_source, kind_for, patch_pixels, source_of, stated_of, tile_of
from eo_models.preset import ImageFacts, ImageKind, find_preset

#: Files of places.
_TABLES = (".gpkg", ".geojson", ".parquet", ".geoparquet", ".shp", ".fgb")
_ONE = (PointBuffer, BBox, Region, BaseGeometry)
#: Metres by which the outline of a place may be off while scenes are looked for.
_ROUGHLY = 10.0
#: How many places are asked again, and how many dates are listed, where no scene was found.
_ASKED = 4


def are_places(given: object) -> bool:
    """Whether something is a place or many: a list of them, a table with geometries, or a file of one."""
    if isinstance(given, _ONE) or hasattr(given, "geometry"):
        return True
    if isinstance(given, str | os.PathLike):
        return PurePath(given).suffix.lower() in _TABLES
    return isinstance(given, list | tuple) and bool(given) and all(isinstance(one, _ONE) for one in given)


def is_one(given: object) -> bool:
    """Whether places are one, of which one embedding is expected."""
    return isinstance(given, _ONE)


def table_of_places(given: Any, *, name: str, id_column: str | None, buffer_m: float | None) -> PlaceTable:  # noqa: ANN401
    """Return the places that somebody means.

    Parameters
    ----------
    given : place, sequence of place, GeoDataFrame or path
        See `eo_embed.embed`.
    name : str
        Id of a single place.
    id_column : str, optional
        Column with the ids.
    buffer_m : float, optional
        Half the side of squares around points.

    Raises
    ------
    ValueError
        If there are none, or a file cannot be read.
    """
    if isinstance(given, _ONE):
        place = _place(given)
        return places_from(replace(place, id=name or place.id or "place"))
    if isinstance(given, list | tuple):
        return places_from([_place(one) for one in given])
    return places_from(given, id_column=id_column, buffer_m=buffer_m)


def _place(given: Any) -> Place:  # noqa: ANN401
    return Region(given) if isinstance(given, BaseGeometry) else given


def prepared_places(
    table: PlaceTable,
    request: Request,
    stated: Mapping[str, Any],
    source: Any,  # noqa: ANN401
) -> tuple[Prepared, tuple[PlaceFailure, ...]]:
    """Return how scenes of places are read for an encoder, and the places without.

    Parameters
    ----------
    table : PlaceTable
        The places.
    request : Request
        What is asked for; it must have a window of time.
    stated : mapping
        What the caller states of the images, as for files; ``sensor`` may name several.
    source : str, Path or SceneSource
        Where scenes are looked for.

    Raises
    ------
    ValueError
        If nothing says where to look or when, or which sensor is meant.
    """
    if request.time is None:
        msg = 'A place needs a window of time: add time=("2022-06-01", "2022-09-01"), the end excluded.'
        raise ValueError(msg)
    asked = stated.get("sensor")
    sensors = () if asked is None else (asked,) if isinstance(asked, str) else tuple(asked)
    asked_of = scenes_from(source, stated=stated_of(stated, sensors[0] if len(sensors) == 1 else None))
    root = Path(getattr(asked_of, "folder", ""))  # that files are named from
    scenes = NearPlaces(asked_of, table.places)
    search = _Search(scenes, table.places, request, sensors)
    kinds = find_preset(request.encoder.name).images(request.encoder.name)
    sources: dict[str, ImageSource] = {}
    chosen: dict[str, ImageKind] = {}
    for scene in search.examples(kinds):
        found = _described(scene, stated)
        kind = kind_for(request.encoder.name, kinds, found, scene.id)
        if kind.modality in sources:
            msg = (
                f"Scenes of {sources[kind.modality].sensor} and of {scene.sensor} show the places, which "
                f'{request.encoder.name} both takes for {kind.modality!r}. State one: sensor="{scene.sensor}".'
            )
            raise ValueError(msg)
        chosen[kind.modality] = kind
        sources[kind.modality] = source_of(found, kind, stated, dated=True)
    sources = _on_one_grid(sources, chosen)
    facts = {modality: facts_of_source(modality, own) for modality, own in sources.items()}
    series = any(kind.series for kind in chosen.values())
    usual = next((kind.frames for kind in chosen.values() if kind.frames), None)
    policy = policy_of(request.frames, request.time, series=series, usual=usual)
    masked = bool(stated.get("clouds", True)) and stated.get("cloud_band") is None
    found_records = _records(table, scenes, sources, facts, request)
    placed = _with_known_scenes(found_records, sources, stated_of(stated, None), masked=masked)
    tile = tile_of(request, facts)
    if tile is not None and any(record.region for record in placed.records):
        msg = "tile is for points with a buffer: a polygon or box is one image, whose cells are weighted. Leave it out."
        raise ValueError(msg)
    prepared = Prepared(root, placed.records, sources, facts, policy, series, tile)
    return prepared, (*table.failures, *placed.failures)


def _records(
    table: PlaceTable,
    scenes: SceneSource,
    sources: Mapping[str, ImageSource],
    facts: Mapping[str, ImageFacts],
    request: Request,
) -> PlaceRecords:
    start, end = request.time or ("", "")
    size = next(iter(facts.values())).pixel_size
    options = PlaceOptions(time_window(start, end), size, patch_pixels(request, facts), request.merge)
    return records_of_places(table.places, scenes, sources, options)


def _with_known_scenes(
    placed: PlaceRecords, sources: Mapping[str, ImageSource], own: Stated, *, masked: bool
) -> PlaceRecords:
    """Leave out places of which a scene does not say what the one that was looked at does: an offset, or clouds."""
    # Digital numbers of other sensors have one scale, and other units need none.
    asked = [
        name
        for name, source in sources.items()
        if source.unit is InputUnit.DIGITAL_NUMBER and is_sentinel2(source.sensor) and source.offset is None
    ]
    faults: dict[SceneFiles, str] = {}
    records, failures = [], list(placed.failures)
    for record in placed.records:
        scenes = [(name, scene) for name in asked for day in record.frames.get(name, ()) for scene in day]
        for name, scene in scenes:
            if scene not in faults:
                faults[scene] = _fault_of(scene, sources[name], own, masked=masked)
        reason = next((faults[scene] for _, scene in scenes if faults[scene]), "")
        if reason:
            failures.append(PlaceFailure(record.id, reason))
        else:
            records.append(record)
    return replace(placed, records=tuple(records), failures=tuple(failures))


def _fault_of(scene: SceneFiles, source: ImageSource, own: Stated, *, masked: bool) -> str:
    stated = replace(own, sensor=source.sensor)
    try:
        first = replace(stated, bands=(scene.bands[0],)) if scene.bands else stated
        found = describe_image(scene.files[0], first, scene.said[0] if scene.said else None)
    except ValueError as error:
        return str(error)
    quality = next(filter(kind_of_name, scene.bands), None) if scene.bands else found.quality_band
    if not masked or quality == source.cloud_band:
        return ""
    has, others = (f"the quality layer {band}" if band else "no quality layer" for band in (quality, source.cloud_band))
    return (
        f"{scene.files[0]} has {has}, another scene {others}: clouds would be left in some of them. Add clouds=False "
        "to leave them in all, or narrow time to scenes of one kind."
    )


@dataclass(frozen=True)
class _Search:
    """Looks for one scene of each sensor that shows a place."""

    scenes: SceneSource
    places: Sequence[Place]
    request: Request
    sensors: Collection[str]

    def examples(self, kinds: Mapping[str, ImageKind]) -> list[Scene]:
        """Return a scene of each sensor that counts, by the first place that has some.

        Raises
        ------
        ValueError
            If no place has any, or several sensors show it and none was asked for.
        OSError
            If the source could not be searched for any place that may have some.
        """
        wanted = self.sensors or tuple(kinds)
        window = time_window(*(self.request.time or ("", "")))
        faults: list[OSError] = []

        def of(place: Place) -> dict[str, Scene]:
            try:
                return self._of(place, wanted, window)
            except OSError as error:  # listed as its failure when its record is made
                faults.append(error)
                return {}

        place, found = next(((place, found) for place in self.places if (found := of(place))), (None, {}))
        if not found and faults:
            raise faults[0]
        if not found:
            raise ValueError(self._nothing(wanted))
        missing = [sensor for sensor in self.sensors if sensor not in found]
        if missing:
            msg = f"No scene of {', '.join(missing)} shows {place}. Looked for in {self.scenes}."
            raise ValueError(msg)
        if not self.sensors and len(found) > 1:
            names = ", ".join(f'"{name}"' for name in found)
            msg = (
                f"Scenes of several sensors show {place}: {', '.join(found)}. State which to take, such as "
                f'sensor="{next(iter(found))}", or sensor=({names}) for all.'
            )
            raise ValueError(msg)
        return list(found.values())

    def _of(self, place: Place, wanted: Collection[str], window: TimeWindow | None) -> dict[str, Scene]:
        """Return the first scene of each sensor."""
        order = list(wanted)
        first: dict[str, Scene] = {}
        for scene in sorted(self._found(place, wanted, window), key=lambda own: (order.index(own.sensor), own.id)):
            first.setdefault(scene.sensor, scene)
        return first

    def _found(self, place: Place, wanted: Collection[str], window: TimeWindow | None) -> list[Scene]:
        try:
            outline = footprint_of_grid(grid_of_place(place, _ROUGHLY).grid)
        except ValueError:
            return []  # it is listed as a failure when its record is made
        return scenes_on_solar_days(self.scenes, outline, centre_of(place)[0], window, wanted)

    def _nothing(self, wanted: Collection[str]) -> str:
        """Say why no place has a scene: there are none at all, or none in the time."""
        start, end = self.request.time or ("", "")
        where = f"{self.places[0]}" if len(self.places) == 1 else f"any of {len(self.places)} places"
        asked = self.places[:_ASKED]
        each = (
            {scene.solar_day(centre_of(place)[0]) for place in asked for scene in self._found(place, wanted, window)}
            for window in windows_around(time_window(start, end))
        )
        days: set[date] = next(filter(None, each), set())
        if not days:
            return (
                f"No scene of {' or '.join(wanted)} shows {where}. Looked for in {self.scenes}. Check longitude and "
                "latitude, their order, and the source."
            )
        first = parse_date(start)
        nearest = sorted(sorted(days, key=lambda day: abs((day - first).days))[:_ASKED])
        return (
            f"No acquisition shows {where} from {start} on and before {end}. The nearest days are "
            f"{', '.join(map(str, nearest))}. Widen the time."
        )


def _described(scene: Scene, stated: Mapping[str, Any]) -> Description:
    """Describe a scene by its first file, and the size of its pixels by the finest of its bands."""
    own = stated_of(stated, scene.sensor)
    if not scene.band_files:
        return describe_image(scene.files[0], own)
    usual = {band.name: band.gsd for band in SENSORS[scene.sensor].bands if band.name in scene.bands}
    files = zip(scene.bands, scene.band_files, scene.files, scene.said or (None,) * len(scene.files), strict=True)
    each = {
        name: describe_image(href, replace(own, bands=(written,)), said)
        for name, written, href, said in files
        if name in usual
    }
    if not each:
        msg = f"{scene.id} has none of the bands of {scene.sensor}, only {', '.join(scene.bands)}. Take it away."
        raise UnknownFactsError(msg)
    finest = min(found.pixel_size or usual[name] for name, found in each.items())
    quality = next(((band, kind) for band in scene.bands if (kind := kind_of_name(band)) is not None), (None, None))
    return replace(
        next(iter(each.values())),
        bands=scene.bands,
        file_bands=None,
        pixel_size=None if finest == min(usual.values()) else finest,
        quality_band=quality[0],
        quality_kind=quality[1],
    )


def _on_one_grid(sources: Mapping[str, ImageSource], kinds: Mapping[str, ImageKind]) -> dict[str, ImageSource]:
    """Return sources with the pixel size that places are read with: the encoder's, or the finest of all."""
    sizes = {name: facts_of_source(name, source).pixel_size for name, source in sources.items()}
    finest = min(sizes.values())
    return {
        name: replace(source, pixel_size=kinds[name].pixel_size or finest, resample_to=None)
        for name, source in sources.items()
    }


def refuse_none(table: PlaceTable) -> None:
    """Refuse places of which none can be used.

    Raises
    ------
    ValueError
        With the first reason.
    """
    if not table.places:
        first = table.failures[0]
        msg = f"None of {len(table.failures)} places can be used; first: {first.id}: {first.reason}"
        raise UnknownFactsError(msg)
