"""Which items of an export are finished, so that a run that was killed goes on where it was.

A batch counts once its entry is there, and an entry is written after all files of its batch. What a crash leaves
without an entry is made again, and so is what would not come out the same now: an item whose inputs are others, or
whose files are damaged.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from eo_core.file_state import FileState, Verify, file_state, written_state
from eo_core.files import remove_file_or_folder, write_text
from eo_core.fingerprint import plain_values
from eo_core.memory import in_order
from eo_embed.export.record.finished import FinishedItems, Key
from eo_embed.export.record.manifest import Manifest, read_manifest
from eo_embed.export.record.review import STATED_DATES, STATED_PLACE, Fate, InputCheck, InputsOf, OutputCheck, Review
from eo_embed.export.record.tiles_together import TilesTogether
from eo_embed.writers.layout import MANIFEST, PARTS, POOLED
from eo_embed.writers.rasters.makers import intact_tiles, raster_file
from eo_embed.writers.rasters.work import WORK, WorkFile, remove_other_work

#: Folder of the entries of finished batches.
PROGRESS = "progress"
#: In it, the states of files that many items share.
_SHARED = "shared.json"
_TABLE = Path(POOLED).suffix
_AT_ONCE = 20_000  # entries that are sorted in memory, of some 3 kB each
_raster_of = itemgetter("raster_id", "layer")


class Ledger:
    """The record of finished items of all processes, to which this process adds its own.

    Parameters
    ----------
    folder : str or Path
        Folder of the export.
    rank : int
        Number of this process.
    """

    def __init__(self, folder: str | Path, rank: int = 0) -> None:
        self.folder = Path(folder)
        self.rank = rank
        #: Number of the next entry of this process; no file has it yet.
        self.next_number = 1 + max(
            (_rank_and_number(path)[1] for path in (self.folder / PROGRESS).glob(f"{rank}-*.json")), default=-1
        )
        #: Items that are to be made again, with the entry that counts no more.
        self._unfinished: dict[Key, dict[str, Any]] = {}
        #: State of the files of samples of a data set that moved.
        self._moved: dict[str, list[dict[str, Any]]] = {}
        self._adopted: Callable[[Sequence[str] | None], Iterable[dict[str, Any]]] | None = None

    def finished(self) -> dict[Key, list[str]]:
        """Return the files, relative to the folder, of each finished item by (id, layer); see `review`."""
        found, _ = self.review()
        return {key: list(entry["files"]) for key, entry, _ in self._newest() if key in found}

    def review(
        self,
        known: InputsOf | None = None,
        root: Path | None = None,
        verify: Verify = "stat",
        before: Path | None = None,
        together: Mapping[str, str] | None = None,
    ) -> tuple[FinishedItems, Review]:
        """Look at every item: would it come out the same now, and is all of it there as it was written.

        Two processes may have made the same item, as DDP's sampler lets them: it is one item here. Items that are to be
        made again do not count among `inputs`, unless they are recorded again.

        Parameters
        ----------
        known : callable, optional
            Gives what a sample is made of now by its id, ``None`` if there is no such sample. Without it, the recorded
            files are looked at where they still are.
        root : Path, optional
            Folder that recorded paths start from.
        verify : {'stat', 'content'}
            As in `eo_core.file_state.is_unchanged`.
        before : Path, optional
            Where the data set was when the items were made, if that is another place.
        together : mapping, optional
            Ids of samples and of their rasters, where no tile can be added to a finished raster: if one is missing, all
            are made again.

        Returns
        -------
        FinishedItems, Review
            Id and layer of the finished items; and what became of all items.

        Raises
        ------
        ValueError
            If an entry cannot be read.
        """
        self._unfinished.clear()
        inputs = InputCheck(known, root, verify, before)
        begun = self._newest() if (self.folder / WORK).is_dir() else ()
        tiles = intact_tiles(self.folder, (entry for _, entry, _ in begun))
        outputs = OutputCheck(self.folder, self._shared_states(), verify, tiles)
        found, missing, kept, last = FinishedItems(), dict(together or {}), 0, ""
        seen: dict[Fate, dict[str, None]] = {"changed": {}, "damaged": {}, "gone": {}}
        for key, entry, since in self._newest():
            fate = inputs.fate(entry)
            if fate != "changed" and not outputs.are_whole(entry, since):
                fate = "damaged"
            if fate == "kept":
                kept, last = kept + (key[0] != last), key[0]
            else:
                seen[fate][key[0]] = None
            if fate == "kept" and before is not None:
                self._moved[key[0]] = self._moved.get(key[0]) or inputs.sources_now(key[0])
            if fate in ("kept", "gone"):
                found.add(key)
                missing.pop(key[0], None)
            else:
                self._unfinished[key] = entry
        broken = {raster for raster in missing.values() if raster}
        others = TilesTogether.of(self._unfinished.values(), broken, tiles, seen)
        for key, entry, _ in self._newest() if others.broken else ():
            if others.again(entry):
                self._unfinished[key] = entry
                found.discard(key)
        return found, Review(kept, **{fate: tuple(ids) for fate, ids in seen.items()})

    def record(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Note a batch as finished, whose files are in place.

        Parameters
        ----------
        items : sequence of mapping
            Per item and layer: ``id``, ``layer``, ``files`` (relative to the folder), ``inputs`` (state of the files
            that it was made of and stated dates, as `eo_data.dataset.sample_reader.Inputs.state` gives it) or
            ``sources`` (paths), and what else the manifest shall say of it, such as ``dates``.

        Raises
        ------
        ValueError
            If an item comes twice, has no files, or a file is not there; or if another run writes to the folder.
        """
        if not items:
            return
        keys = [(item["id"], item.get("layer", "")) for item in items]
        if repeated := [key for key, count in Counter(keys).items() if count > 1]:
            msg = f"A batch holds an item twice: {repeated[:3]}. Ids must be unique; use the path relative to the root."
            raise ValueError(msg)
        states: dict[str, dict[str, Any]] = {}
        self._write([self._entry(item, states) for item in items])
        for key in keys:
            self._unfinished.pop(key, None)

    def adopt(self, entries: Callable[[Sequence[str] | None], Iterable[dict[str, Any]]]) -> None:
        """Take items as finished that other exports have made, and whose files are in place here.

        They are not recorded: what a crash leaves is begun again.

        Parameters
        ----------
        entries : callable
            Gives the entries of their manifests, sorted by id and layer, with the files as they are named here; of each
            what is asked for, as `Manifest.items`.
        """
        self._adopted = entries

    def _write(self, entries: Sequence[Mapping[str, Any]]) -> None:
        path = self.folder / PROGRESS / f"{self.rank}-{self.next_number:06d}.json"
        if path.exists():
            msg = f"{path} is there already: another run writes to {self.folder}. Let one run at a time write there."
            raise ValueError(msg)
        write_text(path, json.dumps(entries, default=plain_values, allow_nan=False))
        self.next_number += 1

    def inputs(self) -> Iterator[dict[str, Any]]:
        """Yield the entries of all finished items for the manifest, sorted by id and layer.

        To be called when the parts are merged: vectors are then said to be in ``embeddings.parquet``.
        """
        merged = (self.folder / POOLED).exists()
        for _, entry in self._finished_entries():
            files = [POOLED if merged and file.startswith(f"{PARTS}/") else file for file in entry["files"]]
            if all((merged and file == POOLED) or self._is_there(file, entry) for file in files):
                written = {file: state for file, state in entry.pop("written", {}).items() if file in files}
                entry.pop("run", None)
                yield entry | {"files": files} | ({"written": written} if written else {})

    def _is_there(self, file: str, entry: Mapping[str, Any]) -> bool:
        begun = file == raster_file(entry) and WorkFile(self.folder, entry["raster_id"], entry["layer"]).exists
        return begun or (self.folder / file).exists()

    def rows(self) -> Iterator[tuple[Key, str]]:
        """Yield which table, a part or that of an earlier run, holds the vector of each finished item; as `inputs`."""
        for key, entry in self._finished_entries(("id", "layer", "files")):
            yield from itertools.islice(((key, file) for file in entry["files"] if file.endswith(_TABLE)), 1)

    def rasters(self) -> Iterator[tuple[Key, list[dict[str, Any]]]]:
        """Yield the finished tiles of each raster that have no file of their own, sorted by its id and layer."""
        tiles = (entry for _, entry in self._finished_entries() if raster_file(entry))
        by_raster = in_order(tiles, _raster_of, self.folder)
        yield from ((raster, list(group)) for raster, group in itertools.groupby(by_raster, _raster_of))

    def rasters_again(self) -> set[Key]:
        """Return id and layer of rasters with tiles that are to be made again."""
        return {_raster_of(entry) for entry in self._unfinished.values() if raster_file(entry)}

    def remove_outdated_work(self) -> bool:
        """Remove work files of which no tile counts: of other rasters, by now. Say if any; then look at all again."""
        tiles = (entry for _, entry in self._finished_entries() if raster_file(entry))
        return remove_other_work(self.folder, map(_raster_of, tiles))

    def remove_outdated(self) -> None:
        """Remove grids of items that were to be made again and were not, as they could be taken for what is there."""
        if not self._unfinished:
            return
        made, kept = set[Key](), set[str | None]()
        for key, entry in self._finished_entries():
            kept.add(raster_file(entry))
            made |= {key} & self._unfinished.keys()
        for key, entry in self._unfinished.items():
            for file in () if key in made else entry["files"]:
                if file not in kept and file != POOLED and not file.startswith(f"{PARTS}/"):
                    remove_file_or_folder(self.folder / file)

    def will_write(self, file: str, partial: Path) -> None:
        """Note the state of a file that many items share, before it gets its name.

        Parameters
        ----------
        file : str
            Its name, relative to the folder.
        partial : Path
            The file, which is written already.
        """
        noted = self.folder / PROGRESS / _SHARED
        before = json.loads(noted.read_text(encoding="utf-8")) if noted.is_file() else {}
        write_text(noted, json.dumps({**before, file: written_state(partial)}))

    def adds_nothing_to(self, complete: Manifest) -> bool:
        """Whether a complete manifest holds all entries, and all is as it says."""
        shared = {"files": list(complete.written), "written": complete.written}
        whole = OutputCheck(self.folder).are_whole(shared, _time_of(complete.folder / MANIFEST))
        return whole and not self._unfinished and not self._moved and self.is_covered_by(complete)

    def is_covered_by(self, complete: Manifest) -> bool:
        """Whether a complete manifest holds all entries, so that they are only what a crash has left."""
        if next(self._progress(), None) is None:
            return True
        for _, held, recorded in self._by_key(complete):
            made_of = {json.dumps(entry["sources"]) for entry, _ in recorded}
            if made_of and (held is None or made_of != {json.dumps(held["sources"])}):
                return False
        return True

    def is_whole(self) -> bool:
        """Whether all files of all finished items are as they were written."""
        outputs = OutputCheck(self.folder, self._shared_states())
        return all(outputs.are_whole(entry, since) for _, entry, since in self._newest())

    def close(self) -> None:
        """Remove the entries and parts of all processes, once the manifest is complete and holds all of it.

        Work files of rasters stay: only a shard still has some, for the merge.
        """
        shutil.rmtree(self.folder / PROGRESS, ignore_errors=True)
        if any((self.folder / WORK).rglob("*.raw")):
            for part in (self.folder / PARTS).glob(f"*{_TABLE}"):
                part.unlink()
        else:
            shutil.rmtree(self.folder / PARTS, ignore_errors=True)

    @functools.cached_property
    def _run(self) -> int:
        """Number of this run among those of the export."""
        if not (self.folder / MANIFEST).is_file():
            return 0
        current = read_manifest(self.folder)
        # Of a complete export, the manifest says with the first new item that another run goes on with it.
        return len(current.content["earlier_runs"]) + current.is_complete

    def _entry(self, item: Mapping[str, Any], states: dict[str, dict[str, Any]]) -> dict[str, Any]:
        files = list(map(str, item["files"]))
        own_files = [file for file in files if file != raster_file({**item, "files": files})]
        for file in own_files:
            if file not in states and (state := written_state(self.folder / file)):
                states[file] = state
        if (missing := [file for file in own_files if file not in states]) or not files:
            msg = f"{item['id']}: its files must be in place before it is recorded, missing: {missing or 'all'}."
            raise ValueError(msg)
        own, inputs = {key: value for key, value in item.items() if key != "inputs"}, item.get("inputs")
        if inputs is None:
            own["sources"] = [{"path": str(path), **_plain_state(path)} for path in item.get("sources", ())]
        else:
            own |= {"sources": inputs["files"], STATED_DATES: inputs["dates"]}
            own |= {STATED_PLACE: inputs["place"]} if "place" in inputs else {}
        return {
            "layer": "",
            **own,
            "files": files,
            "written": {file: states[file] for file in own_files},
            "run": self._run,
        }

    def _finished_entries(self, needed: Sequence[str] | None = None) -> Iterator[tuple[Key, dict[str, Any]]]:
        """Yield what counts of each item, without what a review has found to be made again and is not made yet."""
        if self._adopted is not None:
            yield from (((entry["id"], entry["layer"]), entry) for entry in self._adopted(needed))
            return
        for key, entry, _ in self._newest():
            if key not in self._unfinished or entry.get("run", 0) > self._unfinished[key].get("run", 0):
                yield key, entry | ({"sources": self._moved[key[0]]} if self._moved.get(key[0]) else {})

    def _newest(self) -> Iterator[tuple[Key, dict[str, Any], float]]:
        """Yield the entry that counts of each item, that of the last run that made it, and when it was written."""
        manifest = self.folder / MANIFEST
        current = read_manifest(self.folder) if manifest.is_file() else None
        since = 0.0 if current is None else _time_of(manifest)
        for key, held, recorded in self._by_key(current):
            if recorded:
                yield key, *recorded[-1]
            elif held is not None:
                yield key, held, since

    def _by_key(
        self, manifest: Manifest | None
    ) -> Iterator[tuple[Key, dict[str, Any] | None, list[tuple[dict[str, Any], float]]]]:
        """Yield what a manifest and all entries of batches, with their times, hold of each item, sorted by its key.

        Of two entries the one of the later run comes last. Whatever the number of items, memory holds few of them.
        """
        held = ((entry, None) for entry in manifest.items()) if manifest is not None else iter(())
        recorded = in_order(
            self._progress(), lambda found: (*_key(found), found[0].get("run", 0)), self.folder, _AT_ONCE
        )
        for key, group in itertools.groupby(heapq.merge(held, recorded, key=_key), _key):
            found = list(group)
            stated = found[0][0] if found[0][1] is None else None
            yield key, stated, [(entry, time) for entry, time in found if time is not None]

    def _shared_states(self) -> dict[str, list[tuple[FileState, float]]]:
        """States in which a file that many items share may be: that of the manifest, and the one that was to follow."""
        manifest, shared = self.folder / MANIFEST, self.folder / PROGRESS / _SHARED
        stated = [(read_manifest(self.folder).written, _time_of(manifest))] if manifest.is_file() else []
        stated += [(json.loads(shared.read_text(encoding="utf-8")), 0.0)] if shared.is_file() else []
        found: dict[str, list[tuple[FileState, float]]] = {}
        for files, since in stated:
            for file, plain in files.items():
                if (state := FileState.of_plain(plain)) is not None:
                    found.setdefault(file, []).append((state, since))
        return found

    def _progress(self) -> Iterator[tuple[dict[str, Any], float]]:
        """Yield all entries of batches, and when each was written."""
        for path in sorted((self.folder / PROGRESS).glob("*-*.json"), key=_rank_and_number):
            try:
                time = _time_of(path)
                yield from ((entry, time) for entry in json.loads(path.read_text(encoding="utf-8")))
            except ValueError as error:
                msg = f"{path} cannot be read: {error}. Remove this file; its items are then made again."
                raise ValueError(msg) from error


def _rank_and_number(path: Path) -> tuple[int, int]:
    """Read ``<rank>-<number>`` at the end of a name.

    Raises
    ------
    ValueError
        If it is another name.
    """
    rank, number = path.stem.split("-")[-2:]
    if not (rank.isdigit() and number.isdigit()):
        msg = f"{path} is no file of an export, expected <rank>-<number>. Move it to another folder."
        raise ValueError(msg)
    return int(rank), int(number)


def _time_of(path: Path) -> float:
    """Time at which a file got its name."""
    return path.stat().st_ctime


def _plain_state(path: str | Path) -> dict[str, Any]:
    return {} if (state := file_state(path)) is None else state.plain()


def _key(found: Sequence[Any]) -> Key:
    """Id and layer of an entry, which comes with its time."""
    return found[0]["id"], found[0]["layer"]
