"""What was fetched of files on servers, kept on the disk by address, version and range.

Names are digests of addresses without credentials; files hold the bytes of one range and their checksum. They are
written whole or not at all and never changed, so that processes need not know of each other, and a killed one leaves
only what the next tidying removes.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

from eo_core.files import PARTIAL, write_bytes

_RANGE = re.compile(r"(\d+)-(\d+)")
_CHECKSUM = 4
#: Below the folder that users name, which may hold other things.
_OWN = "remote-ranges"
#: Tidying looks at all files, hence at most once in this many seconds.
_TIDY_EVERY = 60.0
#: Nobody writes one range for so many seconds.
_ABANDONED = 3600.0
_LEFT = 0.8


@dataclass(frozen=True)
class RangeCache:
    """A cache in a folder.

    Parameters
    ----------
    folder : Path
        Made with the first range that is kept.
    max_bytes : int
        What it may hold, but for what comes within a minute; what was used longest ago goes first.
    """

    folder: Path
    max_bytes: int = 20_000_000_000

    @classmethod
    def of(cls, folder: Path | None) -> RangeCache | None:
        """Return the cache in a folder, or nothing without one."""
        return None if folder is None else cls(folder)

    @property
    def own(self) -> Path:
        """The folder below which everything lies."""
        return self.folder / _OWN

    def knows(self, address: str) -> bool:
        """Whether anything of a file is kept, in whatever version; ``address`` has no credentials."""
        return (self.own / _digest(address)).is_dir()

    def entry(self, address: str, size: int, version: str) -> CacheEntry:
        """Return what is kept of one version of a file.

        Parameters
        ----------
        address : str
            Without credentials.
        size, version : int and str
            As the server states them.
        """
        return CacheEntry(self.own / _digest(address) / _digest(f"{size} {version}"))

    def tidy(self) -> None:
        """Remove what killed processes left, and the oldest if there is too much; at most once a minute."""
        mark = self.own / ".tidied"
        now = time.time()
        if not self.own.is_dir() or (mark.exists() and abs(now - mark.stat().st_mtime) < _TIDY_EVERY):
            return
        try:
            mark.touch()
        except OSError:  # a full disk; the others go on without keeping, too
            return
        found: list[tuple[float, int, Path]] = []
        for path in self.own.rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # another process tidies, too
                state = path.stat()
                if path.name.startswith(PARTIAL) and now - state.st_mtime > _ABANDONED:
                    path.unlink()
                elif _RANGE.fullmatch(path.name):
                    found.append((state.st_mtime, state.st_size, path))
        held = sum(size for _, size, _ in found)
        if held <= self.max_bytes:
            return
        for _, size, path in sorted(found):
            path.unlink(missing_ok=True)
            held -= size
            if held <= _LEFT * self.max_bytes:
                return


class CacheEntry:
    """What is kept of one version of a file.

    Parameters
    ----------
    folder : Path
        Its own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ranges(self) -> list[tuple[int, int]]:
        """Return the ranges ``[start, stop)`` that are kept."""
        names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        return [(int(found[1]), int(found[2])) for found in map(_RANGE.fullmatch, names) if found]

    def read(self, start: int, stop: int) -> bytes | None:
        """Return the bytes of a range that is kept; nothing if it is gone or damaged."""
        path = self._path(start, stop)
        try:
            content = path.read_bytes()
            with contextlib.suppress(OSError):
                path.touch()  # it was used last
        except OSError:  # it was tidied away, or the disk is ill: then it is fetched again
            return None
        data, checksum = content[:-_CHECKSUM], content[-_CHECKSUM:]
        if len(data) == stop - start and checksum == _checksum(data):
            return data
        with contextlib.suppress(OSError):
            path.unlink()
        return None

    def write(self, start: int, data: bytes) -> None:
        """Keep the bytes of a range; if that cannot be done, warn: what was fetched counts all the same."""
        self._write(self._path(start, start + len(data)), data + _checksum(data))

    def lacks(self, name: str) -> bool:
        """Whether it was noted that no file of this name lies beside this one."""
        return self._absence(name).exists()

    def note_absent(self, name: str) -> None:
        """Note that no file of this name lies beside this version."""
        self._write(self._absence(name), b"")

    def _write(self, path: Path, content: bytes) -> None:
        try:
            write_bytes(path, content)
        except OSError as error:
            # The same text for all ranges, so that Python shows it once.
            msg = (
                f"The cache of files on servers takes no more ({error.strerror or 'it cannot be written'}): the run "
                "goes on, and what is not kept is fetched again by the next one. Make room on its disk, or state "
                "another folder as remote_cache."
            )
            warnings.warn(msg, stacklevel=2)

    def _path(self, start: int, stop: int) -> Path:
        return self.folder / f"{start}-{stop}"

    def _absence(self, name: str) -> Path:
        return self.folder / f"absent-{_digest(name)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _checksum(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(_CHECKSUM, "big")
