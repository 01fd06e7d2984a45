"""The shards below a folder: whether all are there, finished, and of one export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eo_core.files import PARTIAL
from eo_core.fingerprint import differences, sha256_of_file
from eo_core.locks import LOCK, FolderLock
from eo_data.catalog.shards import SHARDS, Shard
from eo_embed.export.folder import FolderState, state_of
from eo_embed.export.record.manifest import Manifest, read_manifest
from eo_embed.writers.layout import MANIFEST

#: How many shards or differences an error lists.
_LISTED = 20


@dataclass(frozen=True, eq=False)
class FinishedShard:
    """A shard whose export is complete.

    Parameters
    ----------
    shard : Shard
        Which one.
    manifest : Manifest
        Of its export.
    sha256 : str
        Of the manifest, by which a later run of the shard is noticed.
    """

    shard: Shard
    manifest: Manifest
    sha256: str

    @classmethod
    def read(cls, shard: Shard, folder: Path) -> FinishedShard:
        """Read the manifest of a shard."""
        sha256 = sha256_of_file(folder / MANIFEST)
        return cls(shard, read_manifest(folder), sha256)

    @property
    def folder(self) -> Path:
        """Folder of its export."""
        return self.manifest.folder

    @property
    def told(self) -> dict[str, Any]:
        """What the manifest of the whole tells of its run: which shard, where, from when to when."""
        content = self.manifest.content
        own: Mapping[str, Any] = content["provenance"]
        runs = [*content["earlier_runs"], own]
        times = {"start": runs[0]["start"], "end": own["end"], "runs": len(runs)}
        return {**own["shard"], **times, "manifest_sha256": self.sha256}

    def check_ids(self) -> None:
        """Check that the items of the shard are those of no other.

        Raises
        ------
        ValueError
            For the first that is not in this shard.
        """
        for entry in self.manifest.items(("id",)):
            if not self.shard.holds(entry["id"]):
                msg = (
                    f"{self.folder} holds {entry['id']!r}, which is not in shard {self.shard}: it was made of other "
                    "samples, or its ids were changed. Remove it, and run the shard again."
                )
                raise ValueError(msg)

    def check_unchanged(self) -> None:
        """Check that the shard was not run again since its manifest was read.

        Raises
        ------
        ValueError
            If it was.
        """
        if sha256_of_file(self.folder / MANIFEST) != self.sha256:
            msg = f"{self.folder} was written to while it was merged. Wait until its run has ended, and merge again."
            raise ValueError(msg)


def finished_shards(folder: Path, *, take_over: bool = False) -> list[FinishedShard]:
    """Return all shards of an export, by their index; nothing is changed.

    Parameters
    ----------
    folder : Path
        Folder of the whole.
    take_over : bool
        Whether shards count whose lock a run on another machine has left.

    Raises
    ------
    ValueError
        If a shard is missing, not finished or still running; or they have different settings or counts, or something
        else lies there.
    """
    known = _named(folder)
    of = next(iter(known)).of
    states = {shard: state_of(shard.folder(folder)) for shard in sorted(known, key=lambda shard: shard.index)}
    _refuse_holes(folder, of, states)
    for shard in states:
        lock = FolderLock(shard.folder(folder), take_over=take_over)
        with lock.held():  # tells who runs it
            pass
    found = [FinishedShard.read(shard, shard.folder(folder)) for shard in states]
    for one in found:
        _refuse_other(found[0], one)
    return found


def _named(folder: Path) -> set[Shard]:
    """Return the shards that folders are named after."""
    place = folder / SHARDS
    names = [path.name for path in place.iterdir() if path.name != LOCK] if place.is_dir() else []
    known = {name: Shard.named(name) for name in sorted(names) if not name.startswith(PARTIAL)}
    if not known:
        msg = (
            f"There are no shards in {place}. Give the folder that the runs with shard: {{index: ..., of: ...}} were "
            "given."
        )
        raise ValueError(msg)
    shards = {shard for shard in known.values() if shard is not None}
    if foreign := [name for name, shard in known.items() if shard is None]:
        msg = (
            f"{place} holds what is no shard: {', '.join(foreign[:_LISTED])}. Shards are named such as 0-of-3. Move "
            "it to another place."
        )
        raise ValueError(msg)
    counts = sorted({shard.of for shard in shards})
    if len(counts) > 1:
        listed = ", ".join(name for name in list(known)[:_LISTED])
        msg = (
            f"{place} holds shards of {' and of '.join(map(str, counts))} ({listed}). All shards of a whole are of one "
            "count. Remove those that do not belong to it."
        )
        raise ValueError(msg)
    return shards


def _refuse_holes(folder: Path, of: int, states: Mapping[Shard, FolderState]) -> None:
    missing = [i for i in range(of) if states.get(Shard(i, of), FolderState.NEW) is FolderState.NEW]
    begun = [shard.index for shard, state in states.items() if state is FolderState.INTERRUPTED]
    if not missing and not begun:
        return
    first = min([*missing, *begun])
    what = [f"missing: {_listed(missing)}"] if missing else []
    what += [f"not finished: {_listed(begun)}{_running(folder, of, begun)}"] if begun else []
    msg = (
        f"{folder} is not whole: of {of} shards, {of - len(missing) - len(begun)} are finished; {'; '.join(what)}. "
        "Nothing was written. Run the command of the others with shard.index "
        f"{first} (terratorch predict ... --data.init_args.shard.index {first}, or eo embed ... --shard {first}/{of})"
        f"{' and so on' if len(missing) + len(begun) > 1 else ''}, which goes on where it was, and merge again."
    )
    raise ValueError(msg)


def _running(folder: Path, of: int, indices: Sequence[int]) -> str:
    """Say who holds the locks of shards."""
    holders = {index: FolderLock(Shard(index, of).folder(folder)).holder() for index in indices[:_LISTED]}
    listed = [f"{index} by {holder}" for index, holder in holders.items() if holder and not holder.is_gone]
    return f" (locked: {'; '.join(listed)})" if listed else ""


def _listed(indices: Sequence[int]) -> str:
    more = f" and {len(indices) - _LISTED} more" if len(indices) > _LISTED else ""
    return ", ".join(map(str, indices[:_LISTED])) + more


def _refuse_other(first: FinishedShard, other: FinishedShard) -> None:
    """Refuse a shard that is not what its folder says, or that was made in another way than the first."""
    stated = other.manifest.content["provenance"].get("shard")
    if stated is None or (stated["index"], stated["of"]) != (other.shard.index, other.shard.of):
        made = "without shards" if stated is None else f"as shard {stated['index']}/{stated['of']}"
        msg = f"{other.folder} holds an export that was made {made}. Remove it, and run shard {other.shard}."
        raise ValueError(msg)
    if lines := differences(first.manifest.facts, other.manifest.facts):
        more = [f"... and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
        listed = "\n  ".join([*lines[:_LISTED], *more])
        msg = (
            f"{other.folder} was made in another way than {first.folder} (there -> here):\n  {listed}\nRun all shards "
            "with one config and one checkpoint: those that differ again, with overwrite: true."
        )
        raise ValueError(msg)
