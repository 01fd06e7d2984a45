"""Whether an item of an export would come out the same now, and whether what was written of it is still there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from eo_core.file_state import FileState, Verify, is_unchanged
from eo_data.catalog.hrefs import Href
from eo_embed.writers.quantise import DType
from eo_embed.writers.rasters.makers import raster_file
from eo_embed.writers.rasters.work import Part

logger = logging.getLogger(__name__)

#: How many ids a warning names.
_NAMED = 3
#: Most files that were looked at and are remembered, as items share them: more are looked at again.
_REMEMBERED = 10_000
#: Key of an entry for the dates that an index states; version 0.1 did not record them.
STATED_DATES = "stated_dates"
#: Key of an entry for the grid of a place, where a sample is read on one.
STATED_PLACE = "stated_place"

Fate = Literal["kept", "changed", "damaged", "gone"]


class Inputs(Protocol):
    """What a sample is made of now, such as `eo_data.dataset.sample_reader.Inputs`."""

    @property
    def files(self) -> Mapping[str, Path | None]:
        """Every file that is read, by its path from the root on; ``None`` for what a server has."""
        ...

    def state(self, verify: Verify = "stat") -> dict[str, Any]:
        """Return what tells these inputs, as they are now, from others."""
        ...

    def unchanged_since(self, state: Mapping[str, Any], verify: Verify = "stat", *, moved: bool = False) -> bool:
        """Tell whether these are the inputs that they were."""
        ...


#: Gives what a sample is made of by its id; ``None`` if there is no such sample.
type InputsOf = Callable[[str], Inputs | None]


class DataSet(Protocol):
    """Samples that know what they are made of, such as `eo_data.dataset.dataset.EoDataset`.

    Batches of samples that are ``finished`` need not be read: they may hold nothing but ``id``.
    """

    records: Sequence[Any]
    finished: Collection[str]
    verify: Verify

    def inputs(self, index: int) -> Inputs:
        """Return what the sample of a record is made of now."""
        ...


def inputs_of(dataset: DataSet) -> InputsOf:
    """Return a function that gives what a sample is made of by its id."""
    places = {record.id: i for i, record in enumerate(dataset.records)}
    return lambda name: dataset.inputs(places[name]) if name in places else None


def made_together(dataset: DataSet | None, dtype: DType) -> dict[str, str]:
    """Return the rasters of tiles by their ids, where a finished raster cannot take more of them.

    One scale is for all tiles then, or what each of them said has gone into the blend.
    """
    if dataset is None:
        return {}
    tiles = dataset.records
    if dtype != "int8" and not any(record.window is not None and record.window.reach for record in tiles):
        return {}
    return {record.id: record.raster_id for record in tiles}


@dataclass(frozen=True)
class Review:
    """What became of the items of an export since they were made; ids, each once.

    Parameters
    ----------
    kept : int
        How many samples would come out the same; these are usually all.
    changed : tuple of str
        Their files or stated dates are others.
    damaged : tuple of str
        What was written of them is missing or spoilt.
    gone : tuple of str
        They are not among the samples of this run; what was made of them stays.
    """

    kept: int = 0
    changed: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()

    def report(self) -> None:
        """Log a warning for whatever is no routine."""
        for ids, text in (
            (self.changed, "will be made again, with their batches, as their files or dates have changed"),
            (self.damaged, "will be made again, with their batches, as what was written is missing or damaged"),
            (self.gone, "will stay as made, though not among the samples of this run (overwrite: true starts again)"),
        ):
            if ids:
                named = ", ".join(ids[:_NAMED]) + (" ..." if len(ids) > _NAMED else "")
                logger.warning("%d of the finished items %s: %s", len(ids), text, named)


@dataclass(frozen=True)
class InputCheck:
    """Compares what items were made of with what there is now.

    Parameters
    ----------
    known : callable, optional
        Gives what a sample is made of now. Without it, the recorded files are looked at where they still are.
    root : Path, optional
        Folder that recorded paths start from.
    verify : {'stat', 'content'}
        As in `eo_core.file_state.is_unchanged`.
    before : Path, optional
        Where the data set was when the items were made, if that is another place.
    """

    known: InputsOf | None = None
    root: Path | None = None
    verify: Verify = "stat"
    before: Path | None = None
    _of_samples: dict[str, tuple[object, Fate]] = field(default_factory=dict, repr=False)

    def fate(self, entry: Mapping[str, Any]) -> Fate:
        """Tell whether an item would be made of the same. Layers of a sample are compared once."""
        made_of = (entry["sources"], entry.get(STATED_DATES), entry.get(STATED_PLACE))
        before = self._of_samples.get(entry["id"])
        if before is None or before[0] != made_of:
            self._of_samples.clear()  # layers of one sample come together
            before = self._of_samples[entry["id"]] = (made_of, self._fate(entry))
        return before[1]

    def _fate(self, entry: Mapping[str, Any]) -> Fate:
        if self.known is None:
            return "kept" if all(self._same_where_it_is(source) for source in entry["sources"]) else "changed"
        inputs = self.known(entry["id"])
        if inputs is None:
            return "gone"
        sources = [{**source, "path": self._from_root(source, entry)} for source in entry["sources"]]
        if STATED_DATES in entry:
            state = {"files": sources, "dates": entry[STATED_DATES], "place": entry.get(STATED_PLACE, "")}
            same = inputs.unchanged_since(state, self.verify, moved=self.before is not None)
        else:
            same = all(self._same_as_in_0_1(source, inputs) for source in sources)
        return "kept" if same else "changed"

    def sources_now(self, name: str) -> list[dict[str, Any]]:
        """Return the state of the files of a sample of a data set that moved, by which it is known from now on."""
        inputs = None if self.known is None else self.known(name)
        return [] if inputs is None else inputs.state(self.verify)["files"]

    def _from_root(self, source: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
        """Return a recorded path from the root on; version 0.1 recorded it as it was opened."""
        path = str(source["path"])
        if not Path(path).is_absolute() and STATED_DATES in entry:
            return path
        return Href(path).relative(self.before if self.before and Path(path).is_relative_to(self.before) else self.root)

    def _same_as_in_0_1(self, source: Mapping[str, Any], inputs: Inputs) -> bool:
        """Compare one image; of masks and metadata beside it, version 0.1 recorded nothing."""
        path, before = inputs.files.get(source["path"]), FileState.of_plain(source)
        if path is None or before is None:
            return source["path"] in inputs.files and path is None and before is None
        return is_unchanged(path, before, self.verify, moved=self.before is not None)

    def _same_where_it_is(self, source: Mapping[str, Any]) -> bool:
        before, path = FileState.of_plain(source), Path(source["path"])
        if before is None:
            return True
        places = [path] if self.root is None else [self.root / path, path]
        found = next((place for place in places if place.exists()), None)
        return found is None or is_unchanged(found, before, self.verify)


@dataclass(frozen=True)
class OutputCheck:
    """Compares the files of items with what was written.

    Parameters
    ----------
    folder : Path
        Folder of the export.
    shared : mapping of str to sequence of (FileState, float)
        Of files that many items share, such as the merged table: the states in which they may be, and since when.
    verify : {'stat', 'content'}
        As in `eo_core.file_state.is_unchanged`.
    tiles : mapping
        Of rasters whose tiles are being written: which cells are there, as `intact_tiles` gives it.
    """

    folder: Path
    shared: Mapping[str, Sequence[tuple[FileState, float]]] = field(default_factory=dict)
    verify: Verify = "stat"
    tiles: Mapping[str, Mapping[Part, bool]] = field(default_factory=dict)
    _known: dict[str, bool] = field(default_factory=dict, repr=False)

    def are_whole(self, entry: Mapping[str, Any], since: float) -> bool:
        """Tell whether all files of an item are as they were written; version 0.1 recorded only their names.

        Parameters
        ----------
        entry : mapping
            Of the ledger or manifest.
        since : float
            When it was written, in seconds since 1970.
        """
        raster = raster_file(entry)
        if raster is not None and raster in self.tiles and not self.tiles[raster].get(Part.of_entry(entry)):
            return False
        files = [file for file in entry["files"] if file != raster or file not in self.tiles]
        return all(self._is_whole(file, entry.get("written", {}).get(file), since) for file in files)

    def _is_whole(self, file: str, written: Mapping[str, Any] | None, since: float) -> bool:
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        if file not in self._known:
            own = None if written is None else FileState.of_plain(written)
            states = [*self.shared.get(file, ()), *([(own, since)] if own else [])]
            path = self.folder / file
            self._known[file] = (
                any(is_unchanged(path, state, self.verify, since=time) for state, time in states)
                if states
                else path.exists()
            )
        return self._known[file]
