"""Whether a file or folder is the one that it was: its size, its times, and a digest of its content."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from eo_core.fingerprint import sha256_of_file

#: How files are compared with their earlier state: by size and times where these say enough, or always by content.
Verify = Literal["stat", "content"]
VERIFY: tuple[Verify, ...] = get_args(Verify)
#: Files, and folders as a whole, of up to this many bytes get a digest of their content in any case.
SMALL = 1 << 20
#: Mark digests that do not stand for the whole content: of names, sizes and times in a large folder; of blocks all over
#: a large file.
_LISTED, _SAMPLED = "listed:", "sampled:"
_BLOCK, _BLOCKS = 1 << 16, 16
_DIGITS = 32


@dataclass(frozen=True)
class FileState:
    """What tells one state of a file or folder from another.

    Parameters
    ----------
    size : int
        Bytes; of a folder, of all files in it.
    mtime, ctime : float or None
        Seconds since 1970 of the last change of the content, and of the last change of the content or of what the file
        system says of it, which no program can set back. Of a folder the latest. ``None`` where they are not known.
    digest : str or None
        Of the content, in hexadecimal digits; of a large file, of blocks all over it; of a large folder, of the names,
        sizes and times of its files. ``None`` where nothing was read.
    """

    size: int
    mtime: float | None = None
    ctime: float | None = None
    digest: str | None = None

    def plain(self) -> dict[str, Any]:
        """Return what is known as plain JSON values."""
        known = {"size": self.size, "mtime": self.mtime, "ctime": self.ctime, "digest": self.digest}
        return {key: value for key, value in known.items() if value is not None}

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> FileState | None:
        """Return the state behind `plain`; ``None`` if none is stated."""
        if "size" not in plain:
            return None
        return cls(int(plain["size"]), plain.get("mtime"), plain.get("ctime"), plain.get("digest"))


def file_state(path: str | Path, verify: Verify = "stat", *, digest: bool = True) -> FileState | None:
    """Return the state of a regular file or a folder; ``None`` if there is none that can be looked at.

    Parameters
    ----------
    path : str or Path
        The file or folder.
    verify : {'stat', 'content'}
        ``content`` reads large files, too, for their digest.
    digest : bool
        Whether files are read at all.
    """
    seen = _seen(path)
    if seen is None:
        return None
    if not digest:
        return FileState(seen.size, seen.mtime, seen.ctime)
    whole = seen.size <= SMALL or verify == "content"
    return FileState(seen.size, seen.mtime, seen.ctime, _digest(path, seen, whole=whole))


def written_state(path: Path) -> dict[str, Any]:
    """Return size and digest of what was written, as plain JSON values; empty if it is not there.

    Without times, so that two runs tell the same: that of the record is later.
    """
    state = file_state(path, "content")
    return {} if state is None else FileState(state.size, digest=state.digest).plain()


def is_unchanged(
    path: str | Path, before: FileState, verify: Verify = "stat", *, moved: bool = False, since: float | None = None
) -> bool:
    """Tell whether a file or folder is what it was.

    Size and both times are enough where they are equal. Where times differ, as those of a copy do, the digest of the
    content decides; without one, the file counts as changed, unless it is a copy elsewhere that has kept the time of
    the content, in which blocks all over it are the same.

    Parameters
    ----------
    path : str or Path
        The file or folder.
    before : FileState
        An earlier state, by `file_state`.
    verify : {'stat', 'content'}
        ``content`` compares the digest, if one was made, even where size and times are equal.
    moved : bool
        Whether ``path`` was another one then.
    since : float, optional
        When it is known to have been so, in seconds since 1970 by the file system: no ``ctime`` after that stands for
        equal times.
    """
    seen = _seen(path)
    if seen is None or seen.size != before.size:
        return False
    same_times = seen.mtime == before.mtime and before.ctime in (None, seen.ctime)
    same_times = same_times if since is None else seen.ctime <= since
    if before.digest is None or (same_times and verify == "stat"):
        return same_times
    whole = not before.digest.startswith((_LISTED, _SAMPLED))
    tells = whole or same_times or (moved and seen.mtime == before.mtime)
    return tells and _digest(path, seen, whole=whole) == before.digest


@dataclass(frozen=True)
class _Seen:
    """What the file system says of a file, or of a folder with its members: name from the folder on, and status."""

    size: int
    mtime: float
    ctime: float
    members: tuple[tuple[str, os.stat_result], ...] | None = None


def _digest(path: str | Path, seen: _Seen, *, whole: bool) -> str | None:
    """Return the digest of all content, or the quicker one; ``None`` if something cannot be read."""
    if seen.members is None:
        return _of_content(path) if whole else _of_blocks(path, seen.size)
    own = hashlib.sha256()
    for name, status in seen.members:
        content = _of_content(Path(path, name)) if whole else f"{status.st_size} {status.st_mtime_ns}"
        if content is None:
            return None
        own.update(f"{name}\0{content}\0".encode("utf-8", "surrogateescape"))
    return ("" if whole else _LISTED) + own.hexdigest()[:_DIGITS]


def _of_blocks(path: str | Path, size: int) -> str | None:
    """Return the digest of blocks at equal distances, the first and the last among them."""
    own = hashlib.sha256()
    try:
        with Path(path).open("rb") as file:
            for i in range(_BLOCKS):
                file.seek((size - _BLOCK) * i // (_BLOCKS - 1))
                own.update(file.read(_BLOCK))
    except OSError:
        return None
    return _SAMPLED + own.hexdigest()[:_DIGITS]


def _seen(path: str | Path) -> _Seen | None:
    status = _status(path)
    if status is None:
        return None
    if stat.S_ISREG(status.st_mode):
        return _Seen(status.st_size, status.st_mtime, status.st_ctime)
    if not stat.S_ISDIR(status.st_mode):
        return None
    found = [("", status), *_below(str(path), "")]
    members = tuple(sorted((name, own) for name, own in found if stat.S_ISREG(own.st_mode)))
    times = [own.st_mtime for _, own in found], [own.st_ctime for _, own in found]
    return _Seen(sum(own.st_size for _, own in members), max(times[0]), max(times[1]), members)


def _below(folder: str, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield all files and folders below a folder that can be looked at; loops of links are not followed."""
    try:
        with os.scandir(folder) as listed:
            entries = list(listed)
    except OSError:
        return
    for entry in entries:
        status = _status(entry.path)
        if status is None:
            continue
        yield prefix + entry.name, status
        if stat.S_ISDIR(status.st_mode) and not entry.is_symlink():
            yield from _below(entry.path, f"{prefix}{entry.name}/")


def _status(path: str | Path) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116  (by text: there may be a million)
    except (OSError, ValueError):  # the latter for a NUL in the name
        return None


def _of_content(path: str | Path) -> str | None:
    try:
        return sha256_of_file(path)[:_DIGITS]
    except ValueError:
        return None
