"""How much memory there is, amounts of it as text, and order for what does not fit into it."""

from __future__ import annotations

import functools
import heapq
import itertools
import os
import pickle
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from eo_core.files import PARTIAL

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)
#: Where the limit of a container stands: of cgroups of version 2, and of version 1.
_LIMITS = ("memory.max", "memory.limit_in_bytes")
_CGROUPS = Path("/sys/fs/cgroup")
#: Values that are put down together, so that keys of mappings are stored once for them.
_TOGETHER = 20


def as_bytes(name: str, value: int | float | str) -> int:
    """Return an amount of memory in bytes.

    Parameters
    ----------
    name : str
        Of the setting, for messages.
    value : int, float or str
        Bytes, or a text such as ``4GB``, ``500 MB``, ``2GiB``.

    Raises
    ------
    ValueError
        If it is none, or not above 0.
    """
    found = _AMOUNT.fullmatch(str(value).strip())
    if found is not None and not isinstance(value, bool):
        number, unit, binary = found.groups()
        power = 3 * "KMGT".find(unit.upper()) + 3 if unit else 0
        amount = int(float(number) * (1024 ** (power // 3) if binary else _UNITS[unit.upper()]))
        if amount > 0:
            return amount
    msg = f"{name} must be a number of bytes or a text such as 4GB or 500MB, got {value!r}."
    raise ValueError(msg)


def as_amount(count: int) -> str:
    """Return a number of bytes as a text such as ``1.5 GB``, which `as_bytes` reads back."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"


def in_order[T](values: Iterable[T], key: Callable[[T], Any], folder: Path, at_once: int = 50_000) -> Iterator[T]:
    """Yield values sorted by a key, of which memory holds only so many at once; equal ones keep their order.

    Parameters
    ----------
    values : iterable
        Values of plain types: text, numbers, tuples, lists and dicts.
    key : callable
        Gives what a value is sorted by.
    folder : Path
        Where temporary files go, if there are more values. They are removed when the last value was taken, and what a
        crash leaves bears a name of `eo_core.files.PARTIAL`.
    at_once : int
        Values that memory holds, and that one temporary file holds. All of the files are open at once, and most systems
        let a process open 1024.
    """
    values = iter(values)
    chunk = sorted(itertools.islice(values, at_once), key=key)
    if len(chunk) < at_once:
        yield from chunk
        return
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=folder) as temporary:
        runs: list[Path] = []
        while chunk:
            runs.append(Path(temporary) / str(len(runs)))
            with runs[-1].open("wb") as file:
                for some in itertools.batched(chunk, _TOGETHER):
                    pickle.dump(some, file)
            chunk.clear()  # before the next values are read
            chunk = sorted(itertools.islice(values, at_once), key=key)
        yield from heapq.merge(*map(_put_down, runs), key=key)


def _put_down(run: Path) -> Iterator[Any]:
    with run.open("rb") as file:
        while file.peek(1):
            yield from pickle.load(file)  # noqa: S301  (of a folder that only this user can write to)


@functools.cache
def memory_of_machine() -> int:
    """Return the memory in bytes that this process may use: of the machine, or of its container."""
    own = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([own, *_limits_of_groups()])


def _limits_of_groups() -> list[int]:
    """Limits of the control groups around this process; none where the system has no such groups."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        base = _CGROUPS / controllers
        for folder in (base / place.strip("/"), *(base / place.strip("/")).parents):
            found += [limit for name in _LIMITS if (limit := _number(folder / name))]
            if folder == base:
                break
    return found


def _number(file: Path) -> int:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0
