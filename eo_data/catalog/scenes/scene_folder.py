"""A folder of products or images as a source of scenes, with an index of what lies where and when."""

from __future__ import annotations

import functools
import json
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from eo_core.file_state import file_state
from eo_core.files import write_file
from eo_core.text import table_errors
from eo_data.catalog.hrefs import Href
from eo_data.catalog.scenes.scene import Scene, TimeWindow, orbit_of
from eo_data.catalog.scenes.scene_candidates import Candidate, candidates_below
from eo_data.temporal.calendar_date import parse_date

#: The index in the folder itself; its name begins with a dot, as the folder walk leaves such files out.
INDEX_NAME = ".scenes.parquet"
#: Opens files and says what scene they are: takes its id, the files, and the band of each where each has its own. It
#: raises ValueError or OSError, with the reason, for what is none.
type Describe = Callable[[str, Sequence[Href], Sequence[str]], Scene]
#: Changes with the columns, and with what they mean: an index of another one is made anew.
_VERSION = 2
#: Lists of the scene, which are kept as JSON: plain columns suit every reader.
_LISTS = ("files", "bands", "band_files")


@dataclass(frozen=True, eq=False)
class Entry:
    """What a folder holds at one place.

    Parameters
    ----------
    name : str
        Path of the file from the folder on; of a scene with a file for each band, of the first one.
    state : str
        What tells the files, as they were, from others.
    scene : Scene or None
        ``None`` for what cannot be used.
    reason : str
        Why it cannot be used.
    """

    name: str
    state: str
    scene: Scene | None
    reason: str = ""


@dataclass(frozen=True, eq=False)
class FolderOfScenes:
    """A `eo_data.catalog.scenes.scene.SceneSource` of the products and images below a folder.

    Every file is opened once; what it says is kept in an index (GeoParquet), and looked at again when its size or time
    changes. The folder is listed when it is first searched: make another object to see what came later.

    Parameters
    ----------
    folder : Path
        Products (folders, zips), images of all bands, and images with a file for each band (``scene_B02.tif``).
    describe : callable
        Says what scene files are, see `Describe`.
    index : Path, optional
        Where the index is; in the folder by default. Where it cannot be written, it is made anew each time.
    settings : str
        What else the answers of ``describe`` depend on: an index of other settings is made anew.
    """

    folder: Path
    describe: Describe
    index: Path | None = None
    settings: str = ""

    def search(self, geometry: BaseGeometry, time: TimeWindow | None, sensors: Collection[str]) -> list[Scene]:
        """Return the scenes that intersect a geometry, by id; see `SceneSource`.

        Raises
        ------
        ValueError
            If there is no folder.
        """
        scenes, tree = self.scenes, self._tree
        found = [scenes[i] for i in sorted(tree.query(geometry, predicate="intersects"))]
        return [
            scene
            for scene in found
            if (not sensors or scene.sensor in sensors) and (time is None or time[0] <= scene.day < time[1])
        ]

    def __str__(self) -> str:
        """Return what it covers."""
        scenes, lost = self.scenes, self.unusable
        rest = f"; {len(lost)} more cannot be used (first: {lost[0].name}: {lost[0].reason})" if lost else ""
        if not scenes:
            return f"{self.folder} (no scenes{rest})"
        west, south, east, north = shapely.total_bounds([scene.footprint for scene in scenes])
        sensors = ", ".join(f"{count} {sensor}" for sensor, count in Counter(own.sensor for own in scenes).items())
        days = min(scene.day for scene in scenes), max(scene.day for scene in scenes)
        place = f"longitude {west:.4g} to {east:.4g}, latitude {south:.4g} to {north:.4g}"
        return f"{self.folder} (scenes: {sensors}; {days[0]} to {days[1]}; {place}{rest})"

    @functools.cached_property
    def scenes(self) -> list[Scene]:
        """All scenes, in the order of their ids."""
        return [entry.scene for entry in self.entries if entry.scene is not None]

    @property
    def unusable(self) -> list[Entry]:
        """What cannot be used, with the reason."""
        return [entry for entry in self.entries if entry.scene is None]

    @functools.cached_property
    def entries(self) -> list[Entry]:
        """All that the folder holds, in the order of their names; the index is brought up to date."""
        path = self.index or self.folder / INDEX_NAME
        candidates = candidates_below(self.folder)
        known = self._known(path)
        entries = [self._entry(candidate, known) for candidate in candidates]
        if entries and [id(entry) for entry in entries] != [id(entry) for entry in known.values()]:
            self._store(path, entries)
        return entries

    @functools.cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree([scene.footprint for scene in self.scenes])

    def _known(self, path: Path) -> dict[str, Entry]:
        try:
            return read_index(path, self.folder, self.settings)
        except ValueError as error:
            warnings.warn(f"{error} The index is made anew.", stacklevel=4)
            return {}

    def _entry(self, candidate: Candidate, known: dict[str, Entry]) -> Entry:
        """What the index has of unchanged files, or else what the files say."""
        state = json.dumps(list(self._states(candidate)))
        old = known.get(candidate.name)
        if old is not None and old.state == state:
            return old
        files = [Href(str(self.folder / name)) for name in candidate.files]
        try:
            return Entry(candidate.name, state, self.describe(candidate.name, files, candidate.bands))
        except (ValueError, OSError) as error:
            return Entry(candidate.name, state, None, str(error) or type(error).__name__)

    def _states(self, candidate: Candidate) -> Iterator[tuple[str, int, float | None]]:
        for name in candidate.files:
            state = file_state(self.folder / name, digest=False)
            yield (name, -1, None) if state is None else (name, state.size, state.mtime)

    def _store(self, path: Path, entries: Sequence[Entry]) -> None:
        try:
            write_index(path, self.folder, self.settings, entries)
        except OSError as error:
            warnings.warn(
                f"The index of scenes {path} cannot be written ({error}): all {len(entries)} files will be opened "
                "again next time. State another place for it.",
                stacklevel=4,
            )


def read_index(path: Path, root: Path, settings: str) -> dict[str, Entry]:
    """Return the entries of an index by name; none if there is none of these settings.

    Parameters
    ----------
    path : Path
        The index.
    root : Path
        Folder of the scenes.
    settings : str
        What else the entries depend on.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    if not path.is_file():
        return {}
    import geopandas  # noqa: PLC0415  (takes a second)

    with table_errors("The index of scenes", path):
        table = geopandas.read_parquet(path)
        rows = table.to_dict("records")
        if not rows or rows[0]["settings"] != _settings(settings):
            return {}
        return {row["name"]: _entry(row, root) for row in rows}


def write_index(path: Path, root: Path, settings: str, entries: Sequence[Entry]) -> None:
    """Write an index whole or not at all.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    import geopandas  # noqa: PLC0415

    rows = [_row(entry, root) | {"settings": _settings(settings)} for entry in entries]
    shapes = [None if entry.scene is None else entry.scene.footprint for entry in entries]
    table = geopandas.GeoDataFrame(rows, geometry=shapes, crs="EPSG:4326")
    write_file(path, lambda file: table.to_parquet(file, index=False, write_covering_bbox=True))


def _settings(settings: str) -> str:
    return f"{_VERSION} {settings}"


def _row(entry: Entry, root: Path) -> dict[str, Any]:
    scene = entry.scene
    row: dict[str, Any] = {"name": entry.name, "state": entry.state, "reason": entry.reason}
    lists: Mapping[str, Sequence[str]] = {}
    if scene is not None:
        files = [href.path.relative_to(root).as_posix() for href in scene.files]
        lists = {"files": files, "bands": scene.bands, "band_files": scene.band_files}
    return row | {
        "id": scene.id if scene else "",
        "sensor": scene.sensor if scene else "",
        "kind": scene.kind if scene else "",
        "tile": scene.tile if scene else "",
        "crs": scene.crs if scene else "",
        "orbit": scene.orbit if scene else "",
        "cloud": "" if scene is None or scene.cloud is None else repr(scene.cloud),
        "day": scene.day.isoformat() if scene else "",
        "started": scene.started.isoformat() if scene and scene.started else "",
        **{name: json.dumps(list(lists.get(name, ()))) for name in _LISTS},
    }


def _entry(row: Mapping[str, Any], root: Path) -> Entry:
    if row["reason"]:
        return Entry(row["name"], row["state"], None, row["reason"])
    files, bands, band_files = (tuple(json.loads(row[name])) for name in _LISTS)
    started = datetime.fromisoformat(row["started"]).astimezone(UTC) if row["started"] else None
    scene = Scene(
        row["id"],
        row["sensor"],
        row["kind"],
        tuple(Href(str(root / name)) for name in files),
        bands,
        row["geometry"],
        parse_date(row["day"]),
        started,
        band_files,
        row["tile"],
        row["crs"],
        cloud=float(row["cloud"]) if row["cloud"] else None,
        orbit=orbit_of(row["orbit"]),
    )
    return Entry(row["name"], row["state"], scene)
