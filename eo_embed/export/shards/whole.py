"""From finished shards to one export, as one process would have made it."""

from __future__ import annotations

import heapq
import itertools
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eo_core.files import PARTIAL, link_or_copy, partial_path, remove_file_or_folder, remove_partials, sync_folder
from eo_core.locks import FolderLock
from eo_core.memory import in_order
from eo_data.catalog.shards import SHARDS
from eo_embed.export.completing import complete
from eo_embed.export.flow.summary import Counts
from eo_embed.export.folder import clear_export
from eo_embed.export.record.blank_tiles import rasters_with_data
from eo_embed.export.record.failures import Failures, OnError
from eo_embed.export.record.ledger import Ledger
from eo_embed.export.record.manifest import Manifest, read_manifest
from eo_embed.export.settings import ExportSettings
from eo_embed.export.shards.found import FinishedShard, finished_shards
from eo_embed.writers.formats import FORMATS
from eo_embed.writers.layout import MANIFEST, PARTS, POOLED
from eo_embed.writers.rasters.makers import raster_file
from eo_embed.writers.rasters.work import Part, WorkFile

#: Items that are looked at together, and what of each.
_AT_ONCE, _NEEDED = 1000, ("id", "layer", "files", "raster_id", "other")
#: Most shards whose items are read side by side; those of more are sorted through temporary files.
_MOST_OPEN = 200
#: What the manifest of the whole tells of each shard, and what it takes from the first.
_TOLD, _OF_ONE = "shards", ("start", "end", "shard")


@dataclass(frozen=True)
class Merged:
    """What a merge has made.

    Parameters
    ----------
    counts : mapping
        Of the whole: ``done``, ``skipped``, ``failed``, ``cells`` and ``bytes``, added up over the last runs of the
        shards.
    items, shards : int
        How many items and layers the whole has, and of how many shards it was made.
    failures : tuple of mapping
        Items that could not be exported, with the reason, of all shards.
    on_error : {'raise', 'skip'}
        Whether these are an error, which they are if they are one for any shard.
    """

    counts: Mapping[str, int]
    items: int
    shards: int
    failures: tuple[Mapping[str, str], ...]
    on_error: OnError


def merge_shards(folder: str | Path, *, remove: bool = False, take_over: bool = False) -> Merged:
    """Make one export of all shards below a folder, as one process would have made it.

    The shards stay as they are: the whole has its own names (hard links) of their grids, which take no space. Where
    the file system has none, grids are copied. A merge that was killed is begun again by the next; one that has nothing
    to do changes nothing.

    Parameters
    ----------
    folder : str or Path
        Folder of the export, with the shards in ``shards/``.
    remove : bool
        Whether to remove the shards once the whole is there.
    take_over : bool
        Whether to go on where a run on another machine has left a lock.

    Raises
    ------
    ValueError
        If shards are missing, not finished, still running, of different settings or counts, or do not fit their
        samples; or the folder holds an export that was not made of shards. Nothing is written then.
    OSError
        If something cannot be written.
    """
    folder = Path(folder)
    if not folder.is_dir():
        msg = f"There is no folder {folder}. Give the folder that the shards were exported to."
        raise ValueError(msg)
    with FolderLock(folder, take_over=take_over).held():
        before = _made_of_shards(folder)
        if before is None or not before.is_complete or (folder / SHARDS).is_dir():
            shards = finished_shards(folder, take_over=take_over)
            if before is None or not _is_whole(before, shards):
                before = _Merge(folder, shards).run()
        if remove and (folder / SHARDS).is_dir():
            _remove(folder / SHARDS)
        Ledger(folder).close()  # which a merge that was killed may not have come to, as to the end of a removal
        for left in folder.glob(f"{PARTIAL}*"):
            remove_file_or_folder(left)
        return _merged(before)


def _made_of_shards(folder: Path) -> Manifest | None:
    """Return the manifest that an earlier merge has written, finished or not.

    Raises
    ------
    ValueError
        If the folder holds another export.
    """
    if (folder / MANIFEST).is_file():
        manifest = read_manifest(folder)
        if _TOLD in manifest.content["provenance"]:
            return manifest
        made = [MANIFEST]
    else:
        made = [name for name in (POOLED, *(form.root for form in FORMATS.values())) if (folder / name).exists()]
    if made:
        msg = (
            f"{folder} holds an export that was not made of shards ({made[0]}). Move it, or move {SHARDS} to a new "
            "folder and merge there."
        )
        raise ValueError(msg)
    return None


def _is_whole(manifest: Manifest, shards: Sequence[FinishedShard]) -> bool:
    """Whether a merge of just these shards is there, and nothing of it is missing or damaged."""
    if not manifest.is_complete or manifest.content["provenance"][_TOLD] != [shard.told for shard in shards]:
        return False
    ledger = Ledger(manifest.folder)
    return ledger.adds_nothing_to(manifest) and ledger.is_whole()


class _Merge:
    """One merge: the shards become what ranks are to a run, and the run is completed."""

    def __init__(self, folder: Path, shards: Sequence[FinishedShard]) -> None:
        self._folder, self._shards = folder, shards
        self._facts = shards[0].manifest.facts
        self._settings = ExportSettings.of_facts(self._facts)
        self._touched: set[Path] = set()

    def run(self) -> Manifest:
        """Merge, and return the manifest of the whole."""
        for shard in self._shards:
            shard.check_ids()
        if (self._folder / MANIFEST).is_file():
            clear_export(self._folder)
        remove_partials(self._folder)
        data_set = self._shards[0].manifest.content.get("data_set")
        manifest = Manifest.create(self._folder, self._facts, self._provenance(), None, data_set)
        ledger, failures = Ledger(self._folder), Failures(self._folder)
        ledger.adopt(self._entries)
        for shard in self._shards:
            self._take(shard)
            for row in shard.manifest.content["failures"]:
                failures.add(row["id"], row["reason"], row["file"])
        for folder in sorted(self._touched):
            sync_folder(folder)
        for shard in self._shards:
            shard.check_unchanged()
        stac = next((own for one in self._shards if "emb:dimensions" in (own := one.manifest.content)), {})
        described = (stac.get("emb:dimensions", 0), stac.get("gsd", 0.0))
        failed = failures.merge(lambda: rasters_with_data(manifest, ledger))
        complete(self._settings, manifest, ledger, failed, self._counts(), *described)
        return manifest

    def _take(self, shard: FinishedShard) -> None:
        """Name the files of a shard here."""
        entries, placed, part = shard.manifest.items(_NEEDED), set[str](), _part_of(shard)
        while batch := list(itertools.islice(entries, _AT_ONCE)):
            for entry in batch:
                for file in set(entry["files"]) - placed - {raster_file(entry)}:
                    self._place(shard.folder / file, self._folder / (part if file == POOLED else file))
                    placed |= {file} & {POOLED}  # which all items of a shard name
            self._add_tiles(shard, batch)

    def _entries(self, columns: Sequence[str] | None) -> Iterator[dict[str, Any]]:
        """Yield the items of all shards, sorted by id and layer, with their files as they are named here."""
        of_each = [_as_named_here(shard, columns) for shard in self._shards]
        if len(of_each) <= _MOST_OPEN:
            return heapq.merge(*of_each, key=_key)
        return in_order(itertools.chain.from_iterable(of_each), _key, self._folder)

    def _add_tiles(self, shard: FinishedShard, entries: Sequence[Mapping[str, Any]]) -> None:
        """Add the cells of tiles to the work files of their rasters."""
        tiles: dict[tuple[str, str], list[Part]] = {}
        for entry in entries:
            if raster_file(entry):
                tiles.setdefault((entry["raster_id"], entry["layer"]), []).append(Part.of_entry(entry))
        for key, parts in tiles.items():
            theirs = WorkFile(shard.folder, *key)
            if not theirs.exists:
                msg = f"{theirs.path} is recorded and is not there. Run the shard again: it is then made again."
                raise ValueError(msg)
            WorkFile(self._folder, *key).add(theirs, parts)

    def _place(self, source: Path, path: Path) -> None:
        """Give a file, or a folder in a store with the groups above it, its name in the whole."""
        if source.is_dir():
            for file in sorted(file for file in source.rglob("*") if file.is_file()):
                self._link(file, path / file.relative_to(source))
            self._place_groups(source, path)
        else:
            self._link(source, path)

    def _place_groups(self, source: Path, path: Path) -> None:
        root = self._folder / self._settings.format.root
        for above, own in zip(source.parents, path.parents, strict=False):
            if not own.is_relative_to(root):
                return
            for file in above.iterdir():
                if file.is_file() and not (own / file.name).exists():
                    self._link(file, own / file.name)

    def _link(self, source: Path, path: Path) -> None:
        try:
            link_or_copy(source, path)
        except FileNotFoundError as error:
            msg = f"{source} is recorded and is not there. Run the shard again: what is missing is then made again."
            raise ValueError(msg) from error
        self._touched.add(path.parent)

    def _provenance(self) -> dict[str, Any]:
        """Return what is told of the first shard, and where and when each of them ran."""
        own = [shard.manifest.content["provenance"] for shard in self._shards]
        told: dict[str, Any] = {key: value for key, value in own[0].items() if key not in _OF_ONE}
        notes: dict[str, Counter[str]] = {}
        for one in own:
            for modality, counts in one.get("notes", {}).items():
                notes.setdefault(modality, Counter()).update(counts)
        told |= {"notes": {name: dict(counts.most_common()) for name, counts in notes.items()}} if notes else {}
        return {**told, _TOLD: [shard.told for shard in self._shards]}

    def _counts(self) -> Counts:
        counts = [shard.manifest.content["counts"] for shard in self._shards]
        return sum(
            (Counts(one["done"], one["skipped"], one["cells"], blank=one.get("blank", 0)) for one in counts), Counts()
        )


def _part_of(shard: FinishedShard) -> str:
    """Return the name in the whole of the table of vectors of a shard."""
    return f"{PARTS}/part-{shard.shard.index:04d}-000000.parquet"


def _as_named_here(shard: FinishedShard, columns: Sequence[str] | None) -> Iterator[dict[str, Any]]:
    part = _part_of(shard)
    for entry in shard.manifest.items(columns):
        yield entry | {"files": [part if file == POOLED else file for file in entry["files"]]}


def _key(entry: Mapping[str, Any]) -> tuple[str, str]:
    return entry["id"], entry["layer"]


def _merged(manifest: Manifest) -> Merged:
    content = manifest.content
    told = content["provenance"][_TOLD]
    strict = any(shard["on_error"] == "raise" for shard in told)
    return Merged(
        content["counts"], manifest.count, len(told), tuple(content["failures"]), "raise" if strict else "skip"
    )


def _remove(shards: Path) -> None:
    """Remove the shards; a crash leaves all of them, or what the next run takes for rubbish."""
    away = partial_path(shards)
    shards.replace(away)
    sync_folder(shards.parent)
    shutil.rmtree(away)
