"""Places as the input of an encoder: one, or many."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, cast

from shapely.geometry.base import BaseGeometry

from eo_data.catalog.scenes.near_places import NearPlaces
from eo_data.catalog.scenes.place_records import PlaceOptions, PlaceRecords, records_of_places
from eo_data.catalog.scenes.place_scenes import Asked
from eo_data.catalog.scenes.place_tables import PlaceFailure, PlaceTable, places_from
from eo_data.catalog.scenes.places import BBox, Place, PointBuffer, Region
from eo_data.catalog.scenes.scene import Scene, SceneSource
from eo_data.catalog.sources import ImageSource
from eo_data.raster.sample import SampleError
from eo_data.readers.described.images import Description, UnknownFactsError
from eo_data.readers.described.place_images import TRIED, describe_scene_images, with_known_scenes
from eo_data.readers.described.plan import Plan, plan_of
from eo_data.readers.described.scenes import scenes_from
from eo_embed.one_call.options import Request, policy_of
from eo_embed.one_call.prepared import (
    Prepared,
    facts_of_source,
    kind_for,
    patch_pixels,
    source_of,
    stated_of,
    tiling_for,
)
from eo_models.preset import ImageFacts, ImageKind, find_preset

#: Files of places.
_TABLES = (".gpkg", ".geojson", ".parquet", ".geoparquet", ".shp", ".fgb")
_ONE = (PointBuffer, BBox, Region, BaseGeometry)


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
    cache: Path | None = None,
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
    cache : Path, optional
        Folder in which is kept what is fetched of files on servers.

    Raises
    ------
    ValueError
        If nothing says where to look or when, or which sensor is meant.
    """
    prepared, placed = _prepared(table, request, stated, source, cache, opened=True)
    return prepared, (*table.failures, *placed.failures)


def planned_places(table: PlaceTable, request: Request, stated: Mapping[str, Any], source: Any) -> Plan:  # noqa: ANN401
    """Return what `prepared_places` would read; of files on servers nothing is opened.

    Raises
    ------
    ValueError
        As `prepared_places`.
    """
    prepared, placed = _prepared(table, request, stated, source, None, opened=False)
    return plan_of(placed, prepared.modalities, table.failures)


def _prepared(
    table: PlaceTable,
    request: Request,
    stated: Mapping[str, Any],
    source: Any,  # noqa: ANN401
    cache: Path | None,
    *,
    opened: bool,
) -> tuple[Prepared, PlaceRecords]:
    """Return how places are read, and their records; without opening what is on servers only if it is not read."""
    if request.time is None:
        msg = 'A place needs a window of time: add time=("2022-06-01", "2022-09-01"), the end excluded.'
        raise ValueError(msg)
    asked = stated.get("sensor")
    sensors = () if asked is None else (asked,) if isinstance(asked, str) else tuple(asked)
    own = stated_of(stated, sensors[0] if len(sensors) == 1 else None)
    asked_of = scenes_from(source, stated=own, remote_cache=cache)
    root = Path(getattr(asked_of, "folder", ""))  # that files are named from
    scenes = NearPlaces(asked_of, table.places)
    search = _Search(scenes, table.places, request, sensors)
    kinds = find_preset(request.encoder.name).images(request.encoder.name)
    sources: dict[str, ImageSource] = {}
    chosen: dict[str, ImageKind] = {}
    for scene, found in _described_examples(search, kinds, stated, opened=opened):
        kind = kind_for(request.encoder.name, kinds, found, scene.id)
        if kind.modality in sources:
            msg = (
                f"Scenes of {sources[kind.modality].sensor} and of {scene.sensor} show the places, which "
                f'{request.encoder.name} both takes for {kind.modality!r}. State one: sensor="{scene.sensor}".'
            )
            raise ValueError(msg)
        if scene.band_files and (absent := [band for band in kind.bands if band not in found.bands]):
            warnings.warn(
                f"{scene.id} has no file of {', '.join(absent)}, which {request.encoder.name} reads by default: the "
                "places are embedded without.",
                stacklevel=4,
            )
        chosen[kind.modality] = kind
        sources[kind.modality] = source_of(found, kind, stated, dated=True)
    sources = _on_one_grid(sources, chosen)
    facts = {modality: facts_of_source(modality, own) for modality, own in sources.items()}
    series = any(kind.series for kind in chosen.values())
    usual = next((kind.frames for kind in chosen.values() if kind.frames), None)
    policy = policy_of(request.frames, request.time, series=series, usual=usual)
    masked = sources if stated.get("clouds", True) and stated.get("cloud_band") is None else ()
    placed = _records(table, scenes, sources, facts, request)
    if opened:
        placed = with_known_scenes(placed, sources, dict.fromkeys(sources, stated_of(stated, None)), masked)
    tiling = tiling_for(request, facts)
    if tiling is not None and any(record.region for record in placed.records):
        msg = "tile is for points with a buffer: a polygon or box is one image, whose cells are weighted. Leave it out."
        raise ValueError(msg)
    return Prepared(root, placed.records, sources, facts, policy, series, tiling), placed


def _records(
    table: PlaceTable,
    scenes: SceneSource,
    sources: Mapping[str, ImageSource],
    facts: Mapping[str, ImageFacts],
    request: Request,
) -> PlaceRecords:
    size, limits = next(iter(facts.values())).pixel_size, request.limits
    patch = patch_pixels(request, facts)
    options = PlaceOptions(limits.time, size, patch, request.merge, limits.max_cloud, limits.orbit)
    return records_of_places(table.places, scenes, sources, options)


@dataclass(frozen=True)
class _Search:
    """Looks for one scene of each sensor that shows a place."""

    scenes: SceneSource
    places: Sequence[Place]
    request: Request
    sensors: Collection[str]

    def examples(self, kinds: Mapping[str, ImageKind], without: Collection[str] = ()) -> list[Scene]:
        """Return a scene of each sensor that counts, by the first place that has some, ``without`` those ids.

        Raises
        ------
        ValueError
            If no place has any, or several sensors show it and none was asked for.
        OSError
            If the source could not be searched for any place that may have some.
        """
        asked = Asked(self.scenes, self.sensors or tuple(kinds), self.request.limits)
        faults: list[OSError] = []

        def of(place: Place) -> dict[str, Scene]:
            try:
                return _first_of_each(asked, place, without)
            except OSError as error:  # listed as its failure when its record is made
                faults.append(error)
                return {}

        place, found = next(((place, found) for place in self.places if (found := of(place))), (None, {}))
        if not found and faults:
            raise faults[0]
        if not found:
            raise ValueError(asked.why_none(self.places))
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


def _described_examples(
    search: _Search, kinds: Mapping[str, ImageKind], stated: Mapping[str, Any], *, opened: bool
) -> list[tuple[Scene, Description]]:
    """Return a scene of each sensor and what it is; one that cannot be read fails its own places, not all others."""
    fault: SampleError | None = None
    without: set[str] = set()
    while len(without) < TRIED:
        try:
            examples = search.examples(kinds, without)
        except (ValueError, OSError):
            if fault is None:
                raise
            break
        found = []
        for scene in examples:
            try:
                described = describe_scene_images(scene, stated_of(stated, scene.sensor), opened=opened)
            except UnknownFactsError:
                raise
            except SampleError as error:
                fault = fault or error
                without.add(scene.id)
                break
            found.append((scene, described))
        else:
            return found
    raise cast("SampleError", fault)


def _first_of_each(asked: Asked, place: Place, without: Collection[str] = ()) -> dict[str, Scene]:
    """Return the first scene of each sensor that counts, of those with the most bands: one may lack some."""
    order = list(asked.sensors)
    first: dict[str, Scene] = {}
    for scene in sorted(asked.of(place), key=lambda own: (order.index(own.sensor), -len(own.bands), own.id)):
        if scene.id in without:
            continue
        first.setdefault(scene.sensor, scene)
    return first


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
