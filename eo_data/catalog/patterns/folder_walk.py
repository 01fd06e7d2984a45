"""All files below a folder: linked folders are followed, loops of links end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eo_core.text import composed
from eo_data.catalog.patterns.product_folders import is_product_folder, is_store


@dataclass(frozen=True)
class Found:
    """A file below a folder.

    Parameters
    ----------
    name : str
        Its path from that folder on with forward slashes, as the file system has it.
    linked : bool
        Whether the file or a folder above it is a link.
    product : bool
        Whether it is the folder of a product, of which the files are listed, too.
    """

    name: str
    linked: bool
    product: bool = False


#: Device and number of a folder: the same by whatever path or link one comes to it.
type _Identity = tuple[int, int]


def files_below(folder: Path) -> list[Found]:
    """List the files below a folder in the order of their names, without hidden ones.

    Folders that are a Zarr store count as files; those that are a product are listed, and so are their files.

    Linked folders are followed, but not back into a folder in which one already is. Of two folders that link to each
    other, each is listed by its own name only.

    Parameters
    ----------
    folder : Path
        Where to start.
    """
    place = folder.resolve()
    walk = _Walk()
    found = list(walk.direct(str(folder), "", frozenset(_identity(str(path)) for path in place.parents)))
    for path, name, above in walk.links:
        found += walk.linked(path, name, above)
    return sorted(found, key=lambda file: file.name.split("/")) if walk.links else found


class _Walk:
    """One walk; ``folders`` holds what lies above each folder that is reached without a link, ``links`` the others."""

    def __init__(self) -> None:
        self.folders: dict[_Identity, frozenset[_Identity]] = {}
        self.links: list[tuple[str, str, frozenset[_Identity]]] = []

    def direct(self, path: str, prefix: str, above: frozenset[_Identity]) -> Iterator[Found]:
        """Yield what is reached without a linked folder."""
        own = _identity(path)
        self.folders[own] = above
        inside = above | {own}
        for entry, is_folder in _entries(path):
            name = prefix + entry.name
            if not is_folder or is_product_folder(entry.name):
                yield Found(name, entry.is_symlink(), product=is_folder)
            if not is_folder:
                continue
            if entry.is_symlink():
                self.links.append((entry.path, name, inside))
            else:
                yield from self.direct(entry.path, f"{name}/", inside)

    def linked(self, path: str, name: str, above: frozenset[_Identity]) -> list[Found]:
        """Return what a linked folder holds, or nothing for one that is part of a loop."""
        target = _identity(path)
        if target in above:
            return []
        found: list[Found] = []
        met: set[_Identity] = set()
        todo = [(path, f"{name}/", above | {target})]
        while todo:
            place, prefix, inside = todo.pop()
            for entry, is_folder in _entries(place):
                own = _identity(entry.path) if is_folder else None
                if own is None or is_product_folder(entry.name):
                    found.append(Found(prefix + entry.name, linked=True, product=own is not None))
                if own is None:
                    continue
                if own in inside:
                    met.add(own)
                else:
                    todo.append((entry.path, f"{prefix}{entry.name}/", inside | {own}))
        beside = met & (above - self.folders.get(target, above))
        return [] if beside else found


def _entries(path: str) -> Iterator[tuple[os.DirEntry[str], bool]]:
    """Yield what is in a folder, in order, and whether it is a folder to go into."""
    with os.scandir(path) as listed:
        entries = sorted((entry for entry in listed if entry.name[0] != "."), key=lambda entry: entry.name)
    for entry in entries:
        # Of a link that leads to itself, `entry.is_dir` raises an error.
        is_folder = os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()  # noqa: PTH112
        yield entry, is_folder and not is_store(entry.name)


def _identity(path: str) -> _Identity:
    found = os.stat(path)  # noqa: PTH116  (by text: there may be a hundred thousand)
    return found.st_dev, found.st_ino


def folder_of_name(root: Path, name: str) -> Path:
    """Return a folder below ``root``, also if the file system spells its accents in the other way (NFC or NFD).

    Parameters
    ----------
    root : Path
        Where to start.
    name : str
        Path from there with forward slashes.

    Returns
    -------
    Path
        As named if nothing is there in any spelling.
    """
    folder = root / name
    if name.isascii() or folder.is_dir():
        return folder
    place = root
    for part in Path(name).parts:
        own = place / part
        if not own.is_dir() and place.is_dir():
            own = next((path for path in sorted(place.iterdir()) if composed(path.name) == composed(part)), own)
        place = own
    return place if place.is_dir() else folder
