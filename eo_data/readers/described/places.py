"""Places as the samples of a data module: coordinates and dates instead of files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

from eo_core.arguments import one_of
from eo_data.catalog.records import Record, SampleRequest
from eo_data.catalog.scenes.near_places import NearPlaces
from eo_data.catalog.scenes.place_records import Merge, PlaceOptions, PlaceRecords, records_of_places
from eo_data.catalog.scenes.place_scenes import Asked, Limits
from eo_data.catalog.scenes.place_tables import PlaceFailure, PlaceTable, places_from
from eo_data.catalog.scenes.places import BBox, Place, PointBuffer
from eo_data.catalog.scenes.scene import Orbit, Scene, SceneSource, time_window
from eo_data.catalog.sources import ImageSource
from eo_data.raster.sample import SampleError
from eo_data.readers.described.images import Stated, UnknownFactsError
from eo_data.readers.described.place_images import TRIED, images_of_places, with_known_scenes
from eo_data.readers.described.place_labels import PlaceLabels
from eo_data.readers.described.plan import Plan, plan_of
from eo_data.readers.described.scenes import scenes_from

#: What says where a place of a row is: the names of a mapping, and how many numbers a list has.
_POINT, _BOX = ("lon", "lat", "buffer_m"), ("west", "south", "east", "north")


@dataclass(frozen=True)
class Places:
    """A `eo_data.catalog.records.SampleSource` of places: each is a sample, read from the scenes that show it.

    Parameters
    ----------
    places : str or list
        A GeoPackage, GeoJSON or GeoParquet file below the root folder; or a row for each place: ``[lon, lat,
        buffer_m]`` or ``[west, south, east, north]`` in degrees, or ``{id: a, lon: 9.1, lat: 45.2, buffer_m: 640}``
        with whatever else is known of it.
    folder : str
        Folder of the scenes below the root folder: products, or images whose names tell sensor and date.
    time : (str, str), optional
        First day, and the day after the last one.
    multiple : int
        Side of a patch of the encoder in pixels of the first modality: the sides of the squares are multiples of it.
    pixel_size : float, optional
        As in `eo_data.catalog.scenes.place_records.PlaceOptions`.
    id_column, buffer_m
        As in `eo_data.catalog.scenes.place_tables.places_from`; ids of rows are under ``id`` by default.
    merge : {'day', 'pass'}
        As in `eo_data.catalog.scenes.place_records.PlaceOptions`.
    max_cloud, orbit
        Which scenes count, as in `eo_data.catalog.scenes.place_scenes.Limits`.
    index : str, optional
        Where the index of the folder is, if not in it; below the root folder.
    sensor, bands, date_pattern, date_format
        What the files do not say of themselves, as in `eo_data.catalog.sources.ImageSource`; ``bands`` in their order.
    source : str or SceneSource, optional
        Where scenes are looked for, instead of ``folder``: the name or address of a catalogue, the path of a
        ``catalog.json`` or a folder below the root folder, or an object that finds scenes; see
        `eo_data.readers.described.scenes.scenes_from`.
    collections
        Of a catalogue, see `eo_data.catalog.scenes.catalogues.stac.source.StacCatalogue`.
    labels : PlaceLabels
        Where labels and splits are, if not in files by the pattern of the label source.

    Examples
    --------
    .. code-block:: yaml

        samples:
          class_path: eo_data.datamodules.Places
          init_args:
            places: fields.gpkg
            folder: scenes
            time: ["2022-06-01", "2022-09-01"]
            multiple: 16
    """

    places: str | list[list[float] | dict[str, Any]]
    folder: str = "."
    time: tuple[str, str] | None = None
    multiple: int = 1
    pixel_size: float | None = None
    id_column: str | None = None
    buffer_m: float | None = None
    merge: Merge = "day"
    index: str | None = None
    sensor: str | None = None
    bands: list[str] | None = None
    date_pattern: str | None = None
    date_format: str | None = None
    max_cloud: float | None = None
    orbit: Orbit | None = None
    source: str | SceneSource | None = None
    collections: list[str] | None = None
    labels: PlaceLabels = field(default_factory=PlaceLabels)

    def __post_init__(self) -> None:
        """Check what can be checked without a file."""
        one_of("merge", self.merge, get_args(Merge))
        _ = self._limits

    def opened(self, root: Path, remote_cache: Path | None = None) -> Places:
        """Return these places with a source that is ready to be searched, so that what it read is read once.

        Parameters
        ----------
        root : Path
            Folder that relative paths start from.
        remote_cache : Path, optional
            Folder in which is kept what is fetched of files on servers.

        Raises
        ------
        ValueError
            If there is no such folder or catalogue.
        """
        index = None if self.index is None else root / self.index
        source = self.folder if self.source is None else self.source
        told: dict[str, Any] = {"collections": self.collections or (), "remote_cache": remote_cache}
        scenes = scenes_from(source, root=root, stated=self._stated, index=index, **told)
        return replace(self, source=scenes, collections=None, index=None)

    def images(
        self, root: Path, stated: Mapping[str, Mapping[str, Any]], *, clouds: bool, opened: bool = True
    ) -> dict[str, ImageSource]:
        """Return how modalities are read: what is stated of them, and else what the first scene of a place says.

        Parameters
        ----------
        root : Path
            Folder that relative paths start from.
        stated, clouds, opened
            By modality, as of `eo_data.readers.described.place_images.images_of_places`.

        Raises
        ------
        ValueError
            If the source cannot be searched, or its scenes do not say what must be known, with the line to add.
        """
        places = self._table(root).places
        scenes = NearPlaces(_source_of(self.opened(root)), places)
        found = {}
        for name, own in stated.items():
            provisional = images_of_places(name, own, None)
            asked = Asked(scenes, [own["sensor"]], self._limits, provisional)
            told = partial(images_of_places, name, own, clouds=clouds, opened=opened)
            found[name] = _told_by_a_scene(asked, places, told) or provisional
        return found

    def records(self, request: SampleRequest) -> list[Record]:
        """Return a sample for each place, in their order; those that no scene shows come last.

        Raises
        ------
        ValueError
            If a place has no scene and samples must be complete (``on_error: raise``), if no place has one, or the
            places or the folder cannot be read.
        """
        stated = {
            name: replace(self._stated, unit=own.unit, scale=own.scale) for name, own in request.modalities.items()
        }
        return self.labelled(self.placed(request, stated), request)

    def placed(
        self, request: SampleRequest, stated: Mapping[str, Stated], masked: Collection[str] = ()
    ) -> list[Record]:
        """Return the same without labels and splits, where it is known what is stated of each modality.

        Parameters
        ----------
        request : SampleRequest
            What is asked for.
        stated, masked
            As in `eo_data.readers.described.place_images.with_known_scenes`.

        Raises
        ------
        ValueError
            As `records`.
        """
        table = self._table(request.root)
        placed = self._found(table, request)
        found = with_known_scenes(placed, request.modalities, stated, masked)
        failures = (*table.failures, *found.failures)
        if failures and (not request.incomplete or not found.records):
            raise ValueError(_refusal(failures, len(found.records)))
        return [*found.records, *(Record(failure.id, {}, fault=failure.reason) for failure in failures)]

    def plan(self, request: SampleRequest) -> Plan:
        """Return what reading the places would read; of files on servers nothing is opened.

        Raises
        ------
        ValueError, OSError
            If the places or their source cannot be read.
        """
        table = self._table(request.root)
        return plan_of(self._found(table, request), request.modalities, table.failures)

    def labelled(self, records: Sequence[Record], request: SampleRequest) -> list[Record]:
        """Return records of places with their labels and splits, see `PlaceLabels.of`."""
        table = self._table(request.root, self.labels.columns(labelled=request.labelled))
        return self.labels.of(records, table, request)

    def _found(self, table: PlaceTable, request: SampleRequest) -> PlaceRecords:
        scenes, limits = _source_of(self.opened(request.root)), self._limits
        options = PlaceOptions(limits.time, self.pixel_size, self.multiple, self.merge, self.max_cloud, self.orbit)
        return records_of_places(table.places, scenes, request.modalities, options)

    @property
    def _stated(self) -> Stated:
        bands = tuple(self.bands) if self.bands else None
        return Stated(bands, self.sensor, date_pattern=self.date_pattern, date_format=self.date_format)

    @property
    def _limits(self) -> Limits:
        return Limits(None if self.time is None else time_window(*self.time), self.max_cloud, self.orbit)

    def _table(self, root: Path, columns: Sequence[str] = ()) -> PlaceTable:
        if isinstance(self.places, str):
            return places_from(root / self.places, id_column=self.id_column, buffer_m=self.buffer_m, columns=columns)
        rows = [self._row(number, row) for number, row in enumerate(self.places)]
        table = places_from([place for place, _ in rows])
        values = {
            column: {place.id: own[column] for place, own in rows if own.get(column) is not None} for column in columns
        }
        if absent := [column for column, own in values.items() if not own]:
            msg = f"No place has a value for {', '.join(absent)}. State it in rows: {{lon: 9.1, ..., {absent[0]}: 1}}."
            raise ValueError(msg)
        return replace(table, values=values)

    def _row(self, number: int, row: Sequence[float] | Mapping[str, Any]) -> tuple[Place, Mapping[str, Any]]:
        """Return the place of a row, and what else is stated of it."""
        known = row if isinstance(row, Mapping) else dict(zip(_POINT if len(row) < 4 else _BOX, row, strict=False))
        known = {"buffer_m": self.buffer_m} | dict(known)
        name = str(known.get(self.id_column or "id", number))
        point, box = ([known.get(key) for key in keys] for keys in (_POINT, _BOX))
        if None not in point and (isinstance(row, Mapping) or len(row) in (2, 3)):
            return PointBuffer(*map(float, point), id=name), known  # type: ignore[arg-type, misc]
        if None not in box and (isinstance(row, Mapping) or len(row) == 4):
            return BBox(*map(float, box), id=name), known  # type: ignore[arg-type, misc]
        msg = (
            f"Place {number} must be [lon, lat, buffer_m] or [west, south, east, north], or name these numbers "
            f"({{lon: 9.1, lat: 45.2, buffer_m: 640}}), got {row}."
        )
        raise ValueError(msg)


def _told_by_a_scene(asked: Asked, places: Sequence[Place], told: Callable[[Scene], ImageSource]) -> ImageSource | None:
    """Return how a modality is read by a scene with the most bands; one that cannot be read fails its own places.

    Raises
    ------
    SampleError
        If several in a row cannot be read.
    """
    fault: SampleError | None = None
    tried: set[str] = set()
    for place in places:
        try:
            shown = sorted(asked.of(place), key=lambda scene: (-len(scene.bands), scene.id))
        except OSError:  # listed as its failure when its record is made
            continue
        for scene in shown:
            if scene.id in tried:
                continue
            try:
                return told(scene)
            except UnknownFactsError:
                raise
            except SampleError as error:
                fault = fault or error
                tried.add(scene.id)
            if len(tried) == TRIED:
                raise fault
    if fault is not None:
        raise fault
    return None


def _source_of(places: Places) -> SceneSource:
    if places.source is None or isinstance(places.source, str):
        msg = "The source of scenes has not been opened."
        raise ValueError(msg)
    return places.source


def _refusal(failures: Sequence[PlaceFailure], usable: int) -> str:
    first = f"{failures[0].id}: {failures[0].reason}"
    if not usable:
        return f"No place can be used. First reason: {first}"
    total = len(failures) + usable
    return f"{len(failures)} of {total} places cannot be used. Leave them out by on_error: skip. First reason: {first}"
