"""Which paths may be touched, and which ids can name a file.

The rule for ids is `fault_of_name`; whoever makes a path of an id goes by it (`path_of_name`).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from eo_core.files import PARTIAL

#: Longest file name of common file systems, less what a temporary name puts before it.
LONGEST_NAME = 255 - len(f"{PARTIAL}{'0' * 32}-")
#: Longest path that Linux opens.
_LONGEST_PATH = 4095
#: Most names are at fault in nothing: one look at them, as there may be a hundred thousand.
_PLAIN = re.compile(r"[\w-][\w.+-]{,50}(?:/[\w-][\w.+-]{,50}){,9}", re.ASCII)
_PLAIN_LONGEST = 50
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|/vsi[a-z0-9_]+/")


@dataclass(frozen=True)
class Roots:
    """Places below which files must lie; none stands for no limit.

    Parameters
    ----------
    places : tuple of str
        Folders, or beginnings of addresses (``https://host/folder/``, ``/vsis3/bucket/``).
    """

    places: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is a limit."""
        return bool(self.places)

    def hold(self, path: str | os.PathLike[str]) -> bool:
        """Whether a path lies below one of the folders, whether or not something is there.

        A link below a folder counts as lying there, wherever it leads: who owns the folder made it. ``..`` and paths
        from elsewhere on count by where they lead.
        """
        if not self._folders:
            return not self.places
        absolute = os.fspath(path)  # by text: there may be a hundred thousand
        if not absolute.startswith("/"):
            absolute = os.path.join(os.getcwd(), absolute)  # noqa: PTH109, PTH118
        if absolute.startswith(self._folders) and ".." not in absolute.split("/"):
            return True
        return f"{os.path.realpath(absolute)}/".startswith(self._real_folders)

    def allow(self, address: str) -> bool:
        """Whether an address begins as one of those that are listed."""
        return address.startswith(self._addresses) if self._addresses else False

    @property
    def shown(self) -> str:
        """The folders and addresses, for messages."""
        return ", ".join(self.places)

    @cached_property
    def _addresses(self) -> tuple[str, ...]:
        return tuple(place for place in self.places if _ADDRESS.match(place))

    @cached_property
    def _folders(self) -> tuple[str, ...]:
        own = [place for place in self.places if place not in self._addresses]
        return tuple(_with_slash(os.path.abspath(place)) for place in own)  # noqa: PTH100

    @cached_property
    def _real_folders(self) -> tuple[str, ...]:
        return tuple(_with_slash(os.path.realpath(folder)) for folder in self._folders)


def _with_slash(folder: str) -> str:
    return folder if folder.endswith("/") else f"{folder}/"


def fault_of_file(path: str | os.PathLike[str]) -> str:
    """Return why what is at a path must not be opened, or nothing for a regular file, a folder, or no file at all.

    A pipe would be waited for without an end, and a device may be anything.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except (OSError, ValueError):
        return ""
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return ""
    kinds = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a disk"}
    found = kinds.get(stat.S_IFMT(mode), "no file")
    return f"it is {found}; only regular files (and folders of Zarr or of products) are read"


def fault_of_name(name: str, suffix: str = "") -> str:
    """Return why an id cannot name a file, or nothing if it can; a ``/`` in it is a folder.

    Parameters
    ----------
    name : str
        The id.
    suffix : str
        Suffix of the file.
    """
    if _PLAIN.fullmatch(name) and len(suffix) < _PLAIN_LONGEST:
        return ""
    parts = name.split("/")
    longest = max(_length(part) for part in [*parts[:-1], parts[-1] + suffix])
    faults = {
        "it is an absolute path": name.startswith("/"),
        "it has nothing before, after or between its slashes": "" in parts,
        "it holds '..' or '.' between its slashes": bool({"..", "."} & {*parts}),
        "it holds a backslash": "\\" in name,
        "it holds a control character or another one that cannot be printed": not name.isprintable(),
        f"a part of it begins with {PARTIAL!r}, as unfinished files do": any(p.startswith(PARTIAL) for p in parts),
        f"a part of it is longer than {LONGEST_NAME} bytes": longest > LONGEST_NAME,
        f"it is longer than {_LONGEST_PATH} bytes": _length(name + suffix) > _LONGEST_PATH,
    }
    return next((fault for fault, found in faults.items() if found), "")


def _length(name: str) -> int:
    return len(name.encode("utf-8", "surrogatepass"))


def path_of_name(folder: Path, name: str, suffix: str) -> Path:
    """Return ``<folder>/<name><suffix>`` for an id.

    Raises
    ------
    ValueError
        If the id cannot name a file; see `fault_of_name`.
    """
    if fault := fault_of_name(name, suffix):
        msg = f"The id {name[:200]!r} cannot name a file. Expected a relative path such as a/tile, but {fault}."
        raise ValueError(msg)
    return folder / f"{name}{suffix}"


def equal_but_for_case(names: Iterable[str]) -> tuple[str, str] | None:
    """Return the first two names that are one file where case does not count, or ``None``."""
    known: dict[str, str] = {}
    for name in names:
        first = known.setdefault(name.casefold(), name)
        if first != name:
            return first, name
    return None


def as_folders(name: str, given: Sequence[str]) -> tuple[str, ...]:
    """Return a list of folders as text.

    Raises
    ------
    ValueError
        If it is no list of paths.
    """
    if isinstance(given, str) or not all(isinstance(one, str | Path) and str(one) for one in given):
        msg = f"{name} must be a list of folders, such as [/data/archive], got {given!r}."
        raise ValueError(msg)
    return tuple(str(one) for one in given)
