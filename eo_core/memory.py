"""How much memory there is, and amounts of it as text."""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)
#: Where the limit of a container stands: of cgroups of version 2, and of version 1.
_LIMITS = ("memory.max", "memory.limit_in_bytes")
_CGROUPS = Path("/sys/fs/cgroup")


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
