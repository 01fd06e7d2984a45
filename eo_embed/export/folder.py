"""The folder of an export: begun, gone on with, or refused.

A folder is in one of three states, which :func:`state_of` tells. What a run does with it:

=========== =============================== ===================================================
state       run with the same settings      run with ``overwrite``
=========== =============================== ===================================================
new         begins                          begins
interrupted goes on with what is missing    removes what an export makes, then begins
complete    reports that nothing is missing removes what an export makes, then begins
=========== =============================== ===================================================

Other settings are refused without ``overwrite``; files that no export makes are never removed.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from eo_core.files import PARTIAL, remove_partials
from eo_core.fingerprint import differences
from eo_core.locks import LOCK
from eo_data.catalog.shards import SHARDS
from eo_embed.export.facts import data_set_of
from eo_embed.export.record import failures
from eo_embed.export.record.failures import Failures
from eo_embed.export.record.ledger import PROGRESS, Ledger
from eo_embed.export.record.manifest import TABLES, Manifest, begins_like_manifest, read_manifest
from eo_embed.export.record.review import Review
from eo_embed.export.settings import ExportSettings
from eo_embed.writers.formats import FORMATS
from eo_embed.writers.layout import GRIDS, MANIFEST, PARTS, POOLED
from eo_embed.writers.merging import keys_of
from eo_embed.writers.rasters.work import WORK

logger = logging.getLogger(__name__)

#: What an export makes besides grids, as patterns below its folder.
_MADE = (
    f"{PROGRESS}/*.json",
    TABLES,
    POOLED,
    failures.NAME,
    f"{PARTS}/part-*.parquet",
    f"{WORK}/**/*",
    *(f"pictures/**/*.{suffix}" for suffix in ("tif", "png")),
)
#: How many differences a refusal lists.
_LISTED = 20


class FolderState(Enum):
    """How far the export in a folder has come."""

    #: There is no export: the folder is missing, empty, or holds what a run left that ended before its first item.
    NEW = "new"
    #: There is an export that is not finished, or entries that its complete manifest does not hold.
    INTERRUPTED = "interrupted"
    #: The manifest is complete and holds all entries.
    COMPLETE = "complete"


def state_of(folder: Path) -> FolderState:
    """Tell how far the export in a folder has come; nothing is changed.

    Raises
    ------
    ValueError
        If the path is a file, the folder holds files but no export, or its manifest or an entry cannot be read.
    """
    if not _holds_export(folder):
        return FolderState.NEW
    current = read_manifest(folder)
    if not (current.is_complete or current.count or any((folder / PROGRESS).glob("*-*.json"))):
        return FolderState.NEW
    whole = current.is_complete and Ledger(folder).is_covered_by(current)
    return FolderState.COMPLETE if whole else FolderState.INTERRUPTED


def _holds_export(folder: Path, *, damaged: bool = False) -> bool:
    """Whether there is an export, in whatever state; if ``damaged``, also one whose manifest cannot be read.

    Raises
    ------
    ValueError
        If the path is a file, or the folder holds files but no export of ours.
    """
    if folder.exists() and not folder.is_dir():
        msg = f"{folder} is a file. Give a folder for the export."
        raise ValueError(msg)
    if (folder / MANIFEST).exists():
        if not (damaged and begins_like_manifest(folder / MANIFEST)):
            read_manifest(folder)
        return True
    # A crash before the first manifest leaves only its temporary file.
    others = [path.name for path in folder.glob("*") if not path.name.startswith((PARTIAL, LOCK))]
    if SHARDS in others:
        msg = (
            f"{folder} holds shards of an export. State which shard this run is (shard: {{index: 0, of: 3}}), make the "
            f"whole of them (python -m eo_embed.merge {folder}), or give another folder."
        )
        raise ValueError(msg)
    if others:
        msg = (
            f"{folder} holds files but no {MANIFEST}, so it is no export: {', '.join(sorted(others)[:5])}. Give "
            "a new or empty folder."
        )
        raise ValueError(msg)
    return False


def open_export(
    folder: str | Path,
    facts: Mapping[str, Any],
    overwrite: bool = False,  # noqa: FBT001, FBT002
    rank: int = 0,
    provenance: Mapping[str, Any] | None = None,
    stac: Mapping[str, Any] | None = None,
    data_set: Mapping[str, Any] | None = None,
) -> tuple[Manifest, Ledger]:
    """Begin an export, or go on with one that was interrupted or is to get more items.

    Rank 0 must return from this before another process calls it (``strategy.barrier()``).

    Parameters
    ----------
    folder : str or Path
        Folder of the export.
    facts : mapping
        Everything that changes the numbers.
    overwrite : bool
        Remove the export that is there, the same or another one, and start again. Files that no export makes stay.
    rank : int
        Number of this process.
    provenance, stac, data_set : mapping, optional
        What the manifest shows besides the facts.

    Returns
    -------
    tuple of Manifest, Ledger
        A complete export is reported by ``manifest.is_complete`` and stays as it is. If there are items that it does
        not have, call ``manifest.resume`` and go on.

    Raises
    ------
    ValueError
        If the folder holds an export made with other facts, or files but no export; or for another process than the
        first, if there is no export yet.
    """
    place = Path(folder)
    if rank:
        return _joined(place, facts, rank)
    state = FolderState.NEW if overwrite else state_of(place)
    if state is not FolderState.NEW:
        return _gone_on_with(place, state, facts, provenance or {})
    if _holds_export(place, damaged=overwrite):
        clear_export(place)
    remove_partials(place)
    return Manifest.create(place, facts, provenance or {}, stac, data_set), Ledger(place)


def _gone_on_with(
    folder: Path, state: FolderState, facts: Mapping[str, Any], provenance: Mapping[str, Any]
) -> tuple[Manifest, Ledger]:
    """Open an export that is there: as it is if it is complete, else without what a crash left."""
    current = read_manifest(folder)
    _refuse_other(current, facts)
    remove_partials(folder)
    Failures(folder).forget()
    if state is FolderState.COMPLETE:
        logger.info("%s holds a complete export of %d items.", folder, current.count)
        Ledger(folder).close()
    else:
        _remove_orphans(folder)
        current.resume(provenance)
    return current, Ledger(folder)


def place_before(manifest: Manifest, root: Path | None) -> Path | None:
    """Return the root of the data set of an export as far as it is told, if it was another place than ``root``."""
    if root is None:
        return None
    recorded = manifest.content.get("data_set")
    if recorded is None:  # by version 0.1
        text = manifest.content["provenance"].get("root")
        return Path(text) if text and Path(text).resolve() != root.resolve() else None
    return None if recorded["place"] == data_set_of(root)["place"] else Path(recorded["root"])


def refuse_another_data_set(manifest: Manifest, root: Path | None, review: Review) -> None:
    """Refuse to go on with an export whose samples have the ids of this data set, but other files.

    Raises
    ------
    ValueError
        If more of them are made of other files than of the same.
    """
    if len(review.changed) <= review.kept:
        return
    before = manifest.content.get("data_set", manifest.content["provenance"])["root"]
    msg = (
        f"{manifest.folder} holds an export of another data set: it was begun with root {before!r}, and of "
        f"{len(review.changed) + review.kept} samples with the same ids in {root}, {len(review.changed)} "
        "have other files or dates. Export to another folder, or start again there with overwrite: true. If this is "
        "the same data set, copied: copy it with its times (cp -p, rsync -t)."
    )
    raise ValueError(msg)


def refuse_beside_whole(folder: Path, shard: Path, *, overwrite: bool) -> None:
    """Refuse to begin a shard in a folder whose export is no longer, or never was, one of shards.

    Parameters
    ----------
    folder : Path
        Of the whole.
    shard : Path
        Folder of the shard.
    overwrite : bool
        Whether a shard may be made again that was merged and removed.

    Raises
    ------
    ValueError
        If the export was made without shards, or of shards that were removed.
    """
    if not (folder / MANIFEST).is_file():
        return
    whole = read_manifest(folder)
    if "shards" not in whole.content["provenance"]:
        msg = (
            f"{folder} holds an export that was made without shards. Go on with it without shard, or give the shards "
            "another folder."
        )
        raise ValueError(msg)
    if whole.is_complete and not shard.exists() and not overwrite:
        msg = (
            f"{folder} is whole, and {shard.name} is merged and was removed. There is nothing to do; to make the "
            "shards again, set overwrite: true, or give another folder."
        )
        raise ValueError(msg)


def checked(folder: Path, settings: ExportSettings, inputs: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the items of an export that is to be complete, and compare them with its rows and grids on the way.

    Parameters
    ----------
    folder : Path
        Folder of the export.
    settings : ExportSettings
        What was exported.
    inputs : iterable of mapping
        The items, sorted by id and layer, as `Ledger.inputs` gives them.

    Raises
    ------
    ValueError
        After the last item, if one has no row or no grid, or there are more rows than items.
    """
    rows = keys_of(folder / POOLED) if settings.writes_vectors else iter(())
    row, count, wrong = next(rows, None), 0, list[tuple[str, str]]()
    for entry in inputs:
        key = (entry["id"], entry["layer"])
        while row is not None and row < key:
            count += 1
            wrong += [row] if count <= _LISTED else []
            row = next(rows, None)
        if (settings.writes_vectors and row != key) or (settings.writes_grids and not set(entry["files"]) - {POOLED}):
            count += 1
            wrong += [key] if count <= _LISTED else []
        row = next(rows, None) if row == key else row
        yield entry
    left = [] if row is None else [row, *rows]
    count += len(left)
    if count:
        msg = (
            f"{folder} is not complete: {count} items differ between {POOLED}, the grids and the record of what is "
            f"finished (first: {', '.join(map(str, [*wrong, *left][:_LISTED]))}). Run again: they are then made again. "
            "If it happens again, check the disk."
        )
        raise ValueError(msg)


def _joined(folder: Path, facts: Mapping[str, Any], rank: int) -> tuple[Manifest, Ledger]:
    """Open the export that rank 0 has opened; nothing is changed."""
    current = read_manifest(folder)
    _refuse_other(current, facts)
    return current, Ledger(folder, rank)


def _refuse_other(current: Manifest, facts: Mapping[str, Any]) -> None:
    """Refuse to mix embeddings that were made in two ways."""
    lines = differences(current.facts, facts)
    if lines:
        more = [f"... and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
        listed = "\n  ".join([*lines[:_LISTED], *more])
        msg = (
            f"{current.folder} holds an export that was made in another way (there -> now):\n  {listed}\n"
            "Export to another folder, or start again there with overwrite: true."
        )
        raise ValueError(msg)


def _remove_orphans(folder: Path) -> None:
    """Remove parts of batches that were killed before their entry was written."""
    known = {file for _, file in Ledger(folder).rows()}
    for path in folder.glob(f"{PARTS}/part-*.parquet"):
        if path.relative_to(folder).as_posix() not in known:
            path.unlink()


def clear_export(folder: Path) -> None:
    """Remove what an export makes, and the folders that are empty then; its shards stay.

    The manifest stays until the next one replaces it, so that a crash in between leaves a folder that can be opened.
    """
    remove_partials(folder)
    Failures(folder).forget()
    made = list(_made(folder))
    for path in made:
        path.unlink()
    for form in FORMATS.values():
        if form.in_store and (folder / form.root).is_dir():
            shutil.rmtree(folder / form.root)
    emptied = {folder / name for name in (PROGRESS, PARTS) if (folder / name).is_dir()}
    emptied |= {parent for path in made for parent in path.parents if folder in parent.parents}
    for parent in sorted(emptied, key=lambda path: len(path.parts), reverse=True):
        if not any(parent.iterdir()):
            parent.rmdir()


def _made(folder: Path) -> Iterator[Path]:
    """Yield the files of an export, but its manifest and its stores."""
    for pattern in _MADE:
        yield from (path for path in folder.glob(pattern) if path.is_file())
    for form in FORMATS.values():
        if not form.in_store:
            yield from form.grids_below(folder / GRIDS)
