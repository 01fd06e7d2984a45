"""A folder of products or images as a source of scenes, with an index of what lies where and when."""

from __future__ import annotations

import functools
import json
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import shapely
from shapely.geometry.base import BaseGeometry

from eo_core.file_state import file_state
from eo_data.catalog.hrefs import Href
from eo_data.catalog.scenes.scene import Scene, TimeWindow
from eo_data.catalog.scenes.scene_candidates import Candidate, candidates_below
from eo_data.catalog.scenes.scene_index import Entry, read_index, write_index

#: The index in the folder itself; its name begins with a dot, as the folder walk leaves such files out.
INDEX_NAME = ".scenes.parquet"
#: Opens files and says what scene they are: takes its id, the files, and the band of each where each has its own. It
#: raises ValueError or OSError, with the reason, for what is none.
type Describe = Callable[[str, Sequence[Href], Sequence[str]], Scene]


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
