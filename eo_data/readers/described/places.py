"""Places as the samples of a data module: coordinates and dates instead of files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from eo_core.arguments import one_of
from eo_data.catalog.records import Record, SampleRequest
from eo_data.catalog.scenes.place_records import Merge, PlaceOptions, records_of_places
from eo_data.catalog.scenes.place_scenes import Limits
from eo_data.catalog.scenes.place_tables import PlaceFailure, PlaceTable, places_from
from eo_data.catalog.scenes.places import BBox, Place, PointBuffer
from eo_data.catalog.scenes.scene import Orbit, time_window
from eo_data.readers.described.images import Stated
from eo_data.readers.described.scenes import folder_of_scenes


@dataclass(frozen=True)
class Places:
    """A `eo_data.catalog.records.SampleSource` of places: each is a sample, read from the scenes below a folder.

    Parameters
    ----------
    places : str or list of list of float
        A GeoPackage, GeoJSON or GeoParquet file below the root folder; or a row for each place: ``[lon, lat,
        buffer_m]`` or ``[west, south, east, north]`` in degrees.
    folder : str
        Folder of the scenes below the root folder: products, or images whose names tell sensor and date.
    time : (str, str), optional
        First day, and the day after the last one.
    multiple : int
        Side of a patch of the encoder in pixels of the first modality: the sides of the squares are multiples of it.
    pixel_size : float, optional
        As in `eo_data.catalog.scenes.place_records.PlaceOptions`.
    id_column, buffer_m
        As in `eo_data.catalog.scenes.place_tables.places_from`.
    merge : {'day', 'pass'}
        As in `eo_data.catalog.scenes.place_records.PlaceOptions`.
    max_cloud, orbit
        Which scenes count, as in `eo_data.catalog.scenes.place_scenes.Limits`.
    index : str, optional
        Where the index of the folder is, if not in it; below the root folder.
    sensor, bands, date_pattern, date_format
        What the files do not say of themselves, as in `eo_data.catalog.sources.ImageSource`; ``bands`` in their order.

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

    places: str | list[list[float]]
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

    def __post_init__(self) -> None:
        """Check what can be checked without a file."""
        one_of("merge", self.merge, get_args(Merge))
        _ = self._limits

    def records(self, request: SampleRequest) -> list[Record]:
        """Return a sample for each place, in their order; those that no scene shows come last.

        Raises
        ------
        ValueError
            If a place has no scene and samples must be complete (``on_error: raise``), if no place has one, or the
            places or the folder cannot be read.
        """
        table = self._table(request.root)
        stated = Stated(
            tuple(self.bands) if self.bands else None,
            self.sensor,
            date_pattern=self.date_pattern,
            date_format=self.date_format,
        )
        index = None if self.index is None else request.root / self.index
        scenes = folder_of_scenes(request.root / self.folder, stated, index)
        limits = self._limits
        options = PlaceOptions(limits.time, self.pixel_size, self.multiple, self.merge, self.max_cloud, self.orbit)
        found = records_of_places(table.places, scenes, request.modalities, options)
        failures = (*table.failures, *found.failures)
        if failures and (not request.incomplete or not found.records):
            raise ValueError(_refusal(failures, len(found.records)))
        return [*found.records, *(Record(failure.id, {}, fault=failure.reason) for failure in failures)]

    @property
    def _limits(self) -> Limits:
        return Limits(None if self.time is None else time_window(*self.time), self.max_cloud, self.orbit)

    def _table(self, root: Path) -> PlaceTable:
        if isinstance(self.places, str):
            return places_from(root / self.places, id_column=self.id_column, buffer_m=self.buffer_m)
        return places_from([_place(i, row) for i, row in enumerate(self.places)])


def _place(number: int, row: Sequence[float]) -> Place:
    if len(row) == 3:
        return PointBuffer(row[0], row[1], row[2], id=str(number))
    if len(row) == 4:
        return BBox(row[0], row[1], row[2], row[3], id=str(number))
    msg = f"Place {number} must be [lon, lat, buffer_m] or [west, south, east, north], got {list(row)}."
    raise ValueError(msg)


def _refusal(failures: Sequence[PlaceFailure], usable: int) -> str:
    first = f"{failures[0].id}: {failures[0].reason}"
    if not usable:
        return f"No place can be used. First reason: {first}"
    total = len(failures) + usable
    return f"{len(failures)} of {total} places cannot be used. Leave them out by on_error: skip. First reason: {first}"
