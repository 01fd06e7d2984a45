"""What reading places would read, before a pixel is: grids, dates, scenes, clouds, files and bytes."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import Record
from eo_data.catalog.scenes.place_records import PlaceRecords
from eo_data.catalog.scenes.place_scenes import cover
from eo_data.catalog.scenes.place_tables import PlaceFailure
from eo_data.catalog.scenes.scene import Scene
from eo_data.catalog.sources import ImageSource
from eo_data.raster.footprint import crs_name, footprint_of_grid
from eo_data.raster.georeference import PixelGrid
from eo_data.readers.described.place_images import is_on_servers, listed_bands
from eo_data.readers.files import facts_of
from eo_data.readers.formats.facts import FileFacts
from eo_data.sensors.quality_names import kind_of_name
from eo_data.sensors.tables import SENSORS

if TYPE_CHECKING:
    import pandas as pd

#: How many places, scenes of a place and failures are printed; columns of a line.
_PLACES, _SCENES, _FAILURES, _WIDTH = 10, 8, 5, 80
#: Bytes of a number where nobody says: optical sensors deliver uint16, radar of catalogues float32, classes uint8.
_OPTICAL, _RADAR, _CLASS = "uint16", "float32", "uint8"


@dataclass(frozen=True)
class PlannedScene:
    """A scene that would be read at a place.

    Parameters
    ----------
    place, modality : str
        Where, and as what.
    day : date
        By the sun at the place; scenes of one day are one frame.
    scene : str
        Its id.
    cloud : float or None
        Percent of the whole scene.
    orbit : str
        Of radar, as far as it is known.
    files : tuple of str
        What would be opened, without credentials.
    bytes : int
        What these hold of the place, not compressed, at each band's own pixel size. A scene behind others of its day
        is read where they have no pixels only, so that it may be less.
    """

    place: str
    modality: str
    day: date
    scene: str
    cloud: float | None
    orbit: str
    files: tuple[str, ...]
    bytes: int


@dataclass(frozen=True)
class PlannedPlace:
    """A place that would be read.

    Parameters
    ----------
    id : str
        Of the place.
    crs : str
        Of its grid, as EPSG code.
    grids : mapping of str to (int, float)
        By modality, the pixels along a side and their size in metres.
    notes : tuple of str
        What was left out: passes, cloudy dates.
    """

    id: str
    crs: str
    grids: Mapping[str, tuple[int, float]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What would be read. ``str()`` of it is a table of 80 columns, in which long lists are cut.

    Parameters
    ----------
    places : tuple of PlannedPlace
        In their order.
    items : tuple of PlannedScene
        All scenes of all places.
    failures : tuple of PlaceFailure
        Places that would fail, as far as catalogues and headers tell.
    assumed : tuple of str
        What nobody states, and was assumed to count bytes.
    """

    places: tuple[PlannedPlace, ...]
    items: tuple[PlannedScene, ...]
    failures: tuple[PlaceFailure, ...] = ()
    assumed: tuple[str, ...] = field(default=())

    @property
    def bytes(self) -> int:
        """What the files hold of all places, not compressed."""
        return sum(item.bytes for item in self.items)

    @property
    def files(self) -> int:
        """How many files would be opened; one that shows several places counts once."""
        return len({file for item in self.items for file in item.files})

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each scene of each place: the fields of `PlannedScene`."""
        import pandas as pd  # noqa: PLC0415

        return pd.DataFrame([vars(item) for item in self.items], columns=list(PlannedScene.__dataclass_fields__))

    def __str__(self) -> str:
        """Return a table to read."""
        return "\n".join(_lines(self))


def plan_of(placed: PlaceRecords, sources: Mapping[str, ImageSource], failures: Sequence[PlaceFailure] = ()) -> Plan:
    """Return what reading places would read; of files on servers, nothing is opened for it.

    Parameters
    ----------
    placed : PlaceRecords
        The places, see `eo_data.catalog.scenes.place_records.records_of_places`.
    sources : mapping of str to ImageSource
        How each modality is read.
    failures : sequence of PlaceFailure
        Places that have been found to fail before.

    Raises
    ------
    SampleError
        If the header of a file on this machine cannot be read.
    """
    sizes = _Sizes()
    places, items = [], []
    for record in placed.records:
        places.append(_place(record))
        for modality, frames in placed.scenes[record.id].items():
            grid = record.grids[modality]
            days = zip(record.dates[modality], frames, strict=True)
            items += [
                sizes.planned(record.id, modality, day, scene, sources[modality], grid)
                for day, scenes in days
                for scene in scenes
            ]
    return Plan(tuple(places), tuple(items), (*failures, *placed.failures), tuple(sorted(sizes.assumed)))


def _place(record: Record) -> PlannedPlace:
    grids = {name: (grid.height, abs(grid.transform.a)) for name, grid in record.grids.items() if grid.transform}
    crs = next(crs_name(grid.crs or "") for grid in record.grids.values())
    return PlannedPlace(record.id, crs, grids, tuple(note for own in record.notes.values() for note in own))


class _Sizes:
    """Counts what scenes hold; what files on this machine say is looked up once."""

    def __init__(self) -> None:
        self._facts: dict[Href, tuple[FileFacts, ...]] = {}
        self.assumed: set[str] = set()

    def planned(
        self, place: str, modality: str, day: date, scene: Scene, source: ImageSource, grid: PixelGrid
    ) -> PlannedScene:
        table = SENSORS[scene.sensor]
        wanted = {table.canonical(band) or band for band in source.bands}
        wanted |= {source.cloud_band} if source.cloud_band else set()
        files, bands = self._of_server(scene, wanted) if is_on_servers(scene) else self._of_disk(scene, wanted)
        side = grid.height * abs(grid.transform.a) if grid.transform else 0.0
        share = min(1.0, cover(scene, footprint_of_grid(grid)))
        count = sum(math.ceil(math.ceil(side / metres) ** 2 * share) * size for metres, size in bands)
        shown = tuple(str(href) for href in files)
        return PlannedScene(place, modality, day, scene.id, scene.cloud, scene.orbit, shown, count)

    def _of_server(self, scene: Scene, wanted: set[str]) -> tuple[Sequence[Href], list[tuple[float, int]]]:
        bands = []
        for band, metres, dtype in listed_bands(scene):
            if band in wanted:
                size = _bytes_of(dtype)
                if size is None:
                    kind = _assumed(scene, band)
                    size = np.dtype(kind).itemsize
                    self.assumed.add(f"{kind} of {'classes of ' if kind == _CLASS else ''}{scene.sensor}")
                bands.append((metres, size))
        return _files_of(scene, wanted), bands

    def _of_disk(self, scene: Scene, wanted: set[str]) -> tuple[Sequence[Href], list[tuple[float, int]]]:
        files = _files_of(scene, wanted)
        bands = []
        for href in files:
            layers = self._facts.setdefault(href, ()) or facts_of(href)
            self._facts[href] = layers
            bands += list(_sizes_of(layers, None if scene.band_files else wanted, scene))
        return files, bands


def _files_of(scene: Scene, wanted: set[str]) -> Sequence[Href]:
    if not scene.band_files:
        return scene.files
    return [href for href, band in zip(scene.files, scene.bands, strict=True) if band in wanted]


def _sizes_of(layers: Iterable[FileFacts], wanted: set[str] | None, scene: Scene) -> Iterator[tuple[float, int]]:
    """Yield pixel size and bytes of a number of each wanted band of a file; of all where bands have no names."""
    table = SENSORS[scene.sensor]
    for layer in layers:
        metres = _metres(layer.grid, min(band.gsd for band in table.bands))
        for band in layer.bands:
            name = band.name and (table.canonical(band.name) or band.name)
            if wanted is None or name is None or name in wanted:
                yield metres, np.dtype(band.dtype).itemsize


def _metres(grid: PixelGrid, usual: float) -> float:
    """Return the side of a pixel; that of the sensor where the grid is in degrees or not known."""
    if grid.transform is None:
        return usual
    side = math.hypot(grid.transform.a, grid.transform.d)
    return side if side > 0.1 else side * 111_320


def _bytes_of(dtype: str | None) -> int | None:
    try:
        return None if dtype is None else np.dtype(dtype).itemsize
    except TypeError:  # STAC has types that numpy has not
        return None


def _assumed(scene: Scene, band: str) -> str:
    kind = kind_of_name(band)
    if kind is not None and SENSORS[scene.sensor].canonical(band) is None:
        return _OPTICAL if kind in ("qa_pixel", "qa60") else _CLASS
    return _RADAR if scene.radar else _OPTICAL


def _lines(plan: Plan) -> Iterator[str]:
    dates = len({(item.place, item.modality, item.day) for item in plan.items})
    counts = f"{_count(len(plan.places), 'place')}, {_count(dates, 'date')}, {_count(plan.files, 'file')}"
    yield f"{counts}, at most {_size(plan.bytes)} of pixels."
    yield "Bytes: what the files hold of the places, not compressed, at each band's own"
    yield "pixel size. Dates are by the sun at the place. Clouds are those of the scene."
    if plan.assumed:
        yield from _wrapped(f"Not stated, and assumed to count bytes: {', '.join(plan.assumed)}.")
    for place in plan.places[:_PLACES]:
        yield from _lines_of(place, [item for item in plan.items if item.place == place.id])
    if rest := {place.id for place in plan.places[_PLACES:]}:
        own = [item for item in plan.items if item.place in rest]
        yield ""
        yield f"... {_count(len(rest), 'more place')}, {_size(sum(item.bytes for item in own))}"
    if plan.failures:
        yield ""
        yield f"{_count(len(plan.failures), 'place')} would fail:"
        for failure in plan.failures[:_FAILURES]:
            yield from _wrapped(f"{failure.id}: {failure.reason}", "  ", "    ")
        if len(plan.failures) > _FAILURES:
            yield f"  ... {len(plan.failures) - _FAILURES} more"


def _lines_of(place: PlannedPlace, items: Sequence[PlannedScene]) -> Iterator[str]:
    grids = ", ".join(f"{name} {side} x {side} pixels of {size:g} m" for name, (side, size) in place.grids.items())
    yield ""
    yield from _wrapped(f"{place.id}: {grids}, {place.crs}")
    yield f"  {'date':10}  {'images':8}  {'clouds':>7}  {'files':>5}  {'bytes':>8}  scene"
    for item in items[:_SCENES]:
        said = item.orbit[:7] if item.cloud is None else f"{item.cloud:.1f} %"
        name = PurePosixPath(item.scene).name
        start = f"  {item.day}  {item.modality[:8]:8}  {said or '?':>7}  {len(item.files):5}  {_size(item.bytes):>8}  "
        room = _WIDTH - len(start)
        # Of a long id the end tells most: the mission and the date come first.
        yield start + (name if len(name) <= room else f"...{name[3 - room :]}")
    if rest := items[_SCENES:]:
        yield f"  ... {_count(len(rest), 'more scene')}, {_size(sum(item.bytes for item in rest))}"
    for note in place.notes:
        yield from _wrapped(note, "  ", "    ")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _size(number: int) -> str:
    power = 0 if number < 1000 else min(4, int(math.log10(number) / 3))
    return f"{number / 1000**power:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"


def _wrapped(text: str, first: str = "", later: str = "  ") -> list[str]:
    """Return a text in lines; dates and addresses stay whole."""
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=later,
        break_on_hyphens=False,
        break_long_words=False,
    )
