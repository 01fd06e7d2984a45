"""Runs in forked processes that are stopped, starved of disk, or started together."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

#: A run of the small export takes about a second; one that takes this long hangs.
SECONDS = 40.0
#: What Python says of before it touches the disk.
_EVENTS = frozenset(("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate"))


def started(function: Callable[..., None], *arguments: Any, log: Path) -> int:
    """Run a function in a forked process, and return its number; what it prints goes to a file."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        function(*arguments)
        status = 0
    except BaseException:  # noqa: BLE001  (the exit code tells it)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def ended(child: int, seconds: float = SECONDS) -> int | None:
    """Return the exit code of a process, negative for a signal; ``None`` if it had to be killed because it hung."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        process, status = os.waitpid(child, os.WNOHANG)
        if process:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def in_child(function: Callable[..., None], *arguments: Any, log: Path) -> int | None:
    """Run a function in a forked process, and return its exit code as :func:`ended` does."""
    return ended(started(function, *arguments, log=log))


def stopped_at(step: int, by: int, folder: Path, function: Callable[[], None]) -> None:
    """Send this process a signal when it touches files below a folder for the ``step``-th time."""
    seen, below = 0, str(folder)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in _EVENTS and isinstance(arguments[0], (str, os.PathLike)) and str(arguments[0]).startswith(below):
            seen += 1
            if seen == step:
                os.kill(os.getpid(), by)

    sys.addaudithook(watch)
    function()
    (folder.parent / "steps").write_text(str(seen))


def moved_at(step: int, folder: Path, away: Path, function: Callable[[], None]) -> None:
    """Rename a folder when this process touches files below it for the ``step``-th time."""
    seen, below = 0, str(folder)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in _EVENTS and isinstance(arguments[0], (str, os.PathLike)) and str(arguments[0]).startswith(below):
            seen += 1
            if seen == step:
                folder.rename(away)

    sys.addaudithook(watch)
    function()


def stopped_after(seconds: float, function: Callable[[], None]) -> None:
    """Kill this process after a time, wherever it is."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    function()
    signal.setitimer(signal.ITIMER_REAL, 0)


def with_short_files(limit: int, function: Callable[[], None]) -> None:
    """Run with files that cannot grow beyond ``limit`` bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    function()


@cache
def can_mount() -> bool:
    """Whether a process may have a small disk of its own."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    try:
        mount_small(Path("/tmp"), 64 << 10)  # noqa: S108  (in a namespace that ends with the process)
    except OSError:
        os._exit(1)
    os._exit(0)


def mount_small(folder: Path, size: int) -> None:
    """Put a disk of so many bytes at a folder, for this process and its children alone."""
    os.unshare(os.CLONE_NEWNS)
    _mount("none", "/", "", _MS_REC | _MS_PRIVATE, "")
    _mount("tmpfs", str(folder), "tmpfs", 0, f"size={size}")


def grow(folder: Path, size: int) -> None:
    """Give the small disk at a folder another size."""
    _mount("tmpfs", str(folder), "tmpfs", _MS_REMOUNT, f"size={size}")


_MS_REMOUNT, _MS_REC, _MS_PRIVATE = 32, 1 << 14, 1 << 18


def _mount(what: str, where: str, kind: str, flags: int, options: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(what.encode(), where.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), where)
