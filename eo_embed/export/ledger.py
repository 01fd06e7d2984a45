"""Which items of an export are finished, so that a run that was killed goes on where it was.

A batch counts once its entry is there, and an entry is written after all files of its batch. What a crash leaves
without an entry is made again.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from eo_core.files import write_text
from eo_core.fingerprint import plain_values
from eo_embed.export.manifest import Manifest, read_manifest
from eo_embed.writers.layout import MANIFEST, PARTS, POOLED

logger = logging.getLogger(__name__)

#: Folder of the entries of finished batches.
PROGRESS = "progress"


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

    def finished(self) -> dict[tuple[str, str], list[str]]:
        """Return the files, relative to the folder, of each finished item by (id, layer).

        An item whose files are not all there, or whose sources have another size or time than when it was read, is
        not finished. Two processes may have made the same item, as DDP's sampler lets them: it is one item here.

        Raises
        ------
        ValueError
            If an entry cannot be read.
        """
        found: dict[tuple[str, str], list[str]] = {}
        changed = 0
        for entry in self._entries():
            key = (entry["id"], entry["layer"])
            if key in found or not all((self.folder / file).exists() for file in entry["files"]):
                continue
            if _sources_changed(entry):
                changed += 1
                continue
            found[key] = list(entry["files"])
        if changed:
            logger.warning("%d finished items are made again because their sources changed since.", changed)
        return found

    def record(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Note a batch as finished, whose files are in place.

        Parameters
        ----------
        items : sequence of mapping
            Per item and layer: ``id``, ``layer``, ``files`` (relative to the folder), ``sources`` (paths), and what
            else the manifest shall say of it, such as ``dates``.

        Raises
        ------
        ValueError
            If an item comes twice, has no files, or a file is not there; or if another run writes to the folder.
        """
        if not items:
            return
        entries = [self._entry(item) for item in items]
        keys = [(entry["id"], entry["layer"]) for entry in entries]
        repeated = [key for key, count in Counter(keys).items() if count > 1]
        if repeated:
            msg = f"A batch holds an item twice: {repeated[:3]}. Ids must be unique; use the path relative to the root."
            raise ValueError(msg)
        path = self.folder / PROGRESS / f"{self.rank}-{self.next_number:06d}.json"
        if path.exists():
            msg = f"{path} is there already: another run writes to {self.folder}. Let one run at a time write there."
            raise ValueError(msg)
        write_text(path, json.dumps(entries, allow_nan=False))
        self.next_number += 1

    def inputs(self) -> list[dict[str, Any]]:
        """Return the entries of all finished items for the manifest, sorted by id and layer.

        To be called when the parts are merged: vectors are then said to be in ``embeddings.parquet``.
        """
        merged = (self.folder / POOLED).exists()
        entries: dict[tuple[str, str], dict[str, Any]] = {}
        for entry in self._entries():
            key = (entry["id"], entry["layer"])
            files = [POOLED if merged and file.startswith(f"{PARTS}/") else file for file in entry["files"]]
            older = entries.get(key)
            if all((self.folder / file).exists() for file in files) and (older is None or _sources_changed(older)):
                entries[key] = {**entry, "files": files}
        return [entries[key] for key in sorted(entries)]

    def is_covered_by(self, complete: Manifest) -> bool:
        """Whether a complete manifest holds all entries, so that they are only what a crash has left."""
        held = {_identity(entry) for entry in complete.content["inputs"]}
        return all(_identity(entry) in held for entry in self._progress())

    def close(self) -> None:
        """Remove the entries and parts of all processes, once the manifest is complete and holds all of it."""
        for folder in (PROGRESS, PARTS):
            shutil.rmtree(self.folder / folder, ignore_errors=True)

    def _entry(self, item: Mapping[str, Any]) -> dict[str, Any]:
        files = [Path(file).as_posix() for file in item["files"]]
        missing = [file for file in files if not (self.folder / file).exists()]
        if not files or missing:
            msg = f"{item['id']}: its files must be in place before it is recorded, missing: {missing or 'all'}."
            raise ValueError(msg)
        sources = [_stat(path) or {"path": str(path)} for path in item.get("sources", ())]
        entry: dict[str, Any] = plain_values({"layer": "", **item, "files": files, "sources": sources})
        return entry

    def _entries(self) -> Iterator[dict[str, Any]]:
        """Yield the entries of all processes by rank and number, then those of the run that completed the export."""
        yield from self._progress()
        if (self.folder / MANIFEST).is_file():
            yield from read_manifest(self.folder).content["inputs"]

    def _progress(self) -> Iterator[dict[str, Any]]:
        for path in sorted((self.folder / PROGRESS).glob("*-*.json"), key=_rank_and_number):
            try:
                yield from json.loads(path.read_text(encoding="utf-8"))
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


def _stat(path: str | Path) -> dict[str, Any] | None:
    """Path as given, size in bytes and time of change in seconds, or ``None`` for what is no file here."""
    file = Path(path)
    if not file.is_file():
        return None
    stat = file.stat()
    return {"path": str(path), "size": stat.st_size, "mtime": stat.st_mtime}


def _sources_changed(entry: Mapping[str, Any]) -> bool:
    """Whether a source of an entry has another size or time now; one that is not here any more has not changed."""
    return any("size" in source and _stat(source["path"]) not in (None, source) for source in entry["sources"])


def _identity(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    return entry["id"], entry["layer"], json.dumps(entry["sources"])
