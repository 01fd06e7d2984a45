"""One writer at a time: a lock on a folder that names who holds it, and that ends with its process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from eo_core.files import make_folder

#: File in the folder that is locked.
LOCK = ".lock"
#: File systems that know no locks answer with these; the entry in the file must do there.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_TRIES = 8


@dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Parameters
    ----------
    host : str
        Name of the machine.
    process : int
        Number of the process there.
    process_start : str
        When the process began, as the machine counts it, so that another process of the same number is told from it;
        empty where it cannot be known.
    since : str
        When the lock was taken, ISO 8601 in UTC.
    """

    host: str
    process: int
    process_start: str
    since: str

    @classmethod
    def this_process(cls) -> Holder:
        """Return this process, with the time of now."""
        own = os.getpid()
        return cls(socket.gethostname(), own, _start_of(own), datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def is_gone(self) -> bool:
        """Whether this was a process of this machine that has ended."""
        return self.host == socket.gethostname() and (
            not _is_running(self.process) or _start_of(self.process) != self.process_start
        )

    @property
    def is_here(self) -> bool:
        """Whether this is the process that asks."""
        return (self.host, self.process) == (socket.gethostname(), os.getpid())

    def __str__(self) -> str:
        """Return what a message says of it."""
        return f"process {self.process} on {self.host} since {self.since}"


class FolderLock:
    """The right to write to a folder, for one process at a time.

    The operating system holds the lock, and lets go of it when the process ends, however that happens. What a killed
    process left on this machine is taken over. Of one on another machine it cannot be known whether it still runs. In
    one process the last object gets the lock, and `check` tells the others.

    Parameters
    ----------
    folder : str or Path
        Made if it is missing.
    take_over : bool
        Whether a lock is taken over that a process on another machine has left.
    """

    def __init__(self, folder: str | Path, *, take_over: bool = False) -> None:
        self.path = Path(folder) / LOCK
        self.take_over = take_over
        self._handle: int | None = None
        self._leader: Holder | None = None

    def acquire(self) -> None:
        """Take the lock, unless it is held already by this object.

        Raises
        ------
        ValueError
            If another process or object holds it; the message says which, and what to do.
        OSError
            If the folder cannot be written to.
        """
        if self._handle is not None:
            return
        make_folder(self.path.parent)
        for _ in range(_TRIES):
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                if self._is_taken(handle):
                    self._handle, handle = handle, -1
                    self._enter(self._handle)
                    return
            finally:
                if handle >= 0:
                    os.close(handle)
        raise ValueError(self._held_by(self.holder()))

    def follow(self, leader: Holder | None) -> None:
        """Have `check` look whether another process still holds the lock, for which this one works.

        Parameters
        ----------
        leader : Holder or None
            That process; ``None`` if it has no lock, so that there is nothing to look at.
        """
        self._leader = leader

    def check(self) -> None:
        """Check that the lock is still held by this object, if it was taken, or by the process that it follows.

        Raises
        ------
        ValueError
            If somebody else has taken it over.
        OSError
            If the folder has vanished, or the lock in it.
        """
        if self._handle is None:
            kept = self._leader is None or self.holder() == self._leader
        else:
            kept = _is_at(self._handle, self.path)
        if kept:
            return
        if not self.path.exists():
            gone = f"its {LOCK}" if self.path.parent.is_dir() else "it"
            msg = (
                f"{self.path.parent} is not there as it was: {gone} was removed or renamed, or the run that leads this "
                "one has ended. This run stops writing there. Put the folder back, and run again to go on."
            )
            raise OSError(msg)
        msg = f"{self.path.parent} was taken over by {self.holder() or 'another run'}: this run stops writing there."
        raise ValueError(msg)

    def release(self) -> None:
        """Give the lock back; nothing happens if it is not held."""
        if self._handle is None:
            return
        with contextlib.suppress(OSError):  # the folder may be gone
            if _is_at(self._handle, self.path):
                self.path.unlink()
        os.close(self._handle)
        self._handle = None

    def __del__(self) -> None:
        """Give the lock back, as nobody else can any more."""
        self.release()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock for a block.

        Raises
        ------
        ValueError, OSError
            As `acquire`.
        """
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def holder(self) -> Holder | None:
        """Return who wrote the lock last; ``None`` if there is none, or its entry cannot be read."""
        try:
            return Holder(**json.loads(self.path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def _is_taken(self, handle: int) -> bool:
        """Try to lock an open file; ``False`` if another file has its name now, so that it must be tried again.

        Raises
        ------
        ValueError
            If the lock is somebody else's.
        """
        free = _locked(handle)
        holder = self.holder()
        if not _is_at(handle, self.path):
            return False
        if not free:
            if holder is None or not (holder.is_gone or holder.is_here):
                raise ValueError(self._held_by(holder))
            # Held by children of a killed process, which may live some seconds longer, or by an object of this process
            # that was given up: it notices when it checks.
            if _is_at(handle, self.path):
                self.path.unlink(missing_ok=True)
            return False
        here = holder is not None and holder.host == socket.gethostname()
        if holder is not None and not here and not self.take_over:
            msg = (
                f"{self.path.parent} is locked by {holder}. That may be a run that still writes there, or one that was "
                "killed. If it has ended, set take_over: true, or remove the file "
                f"{LOCK} there; else wait, or write to another folder."
            )
            raise ValueError(msg)
        return True

    def _enter(self, handle: int) -> None:
        """Write into the lock who holds it; where that fails, nothing is left."""
        try:
            _write(handle, Holder.this_process())
        except OSError as error:
            self.release()
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def _held_by(self, holder: Holder | None) -> str:
        return (
            f"{self.path.parent} is in use: {holder or 'another process'} writes there. Wait until it has ended, stop "
            "it, or write to another folder."
        )


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _write(handle: int, holder: Holder) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(asdict(holder)).encode(), 0)
    os.fsync(handle)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _start_of(process: int) -> str:
    """Start of a process in clock ticks since the machine started, where Linux tells it; also of one that is a zombie.

    Source: proc(5), field 22 of ``/proc/[pid]/stat``; the name in brackets may hold spaces.
    """
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
