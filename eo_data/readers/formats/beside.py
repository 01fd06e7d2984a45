"""Which files on this machine are read for an image: itself, and what lies beside it and says of it."""

from __future__ import annotations

import bisect
import os
from collections.abc import Iterator
from pathlib import Path

from eo_data.catalog.hrefs import Href
from eo_data.catalog.patterns.product_folders import is_product_metadata
from eo_data.readers.formats.limits import sources_of_vrt
from eo_data.readers.formats.sidecars import product_files, sidecar_names

#: Endings that follow the whole name of a raster (masks, GDAL's metadata), or its name without the suffix.
_AFTER_NAME = (".aux.xml", ".msk", ".hdr", ".json", ".xml")
_AFTER_STEM = (
    ".aux",
    ".hdr",
    ".ige",
    ".imd",
    ".prj",
    ".rpb",
    "_rpc.txt",
    ".tab",
    ".wld",
    ".xml",
)


class FilesBeside:
    """Finds the files that are read together with others. Folders are listed once, as they may hold many."""

    def __init__(self) -> None:
        self._folders: dict[str, _Folder] = {}

    def of(self, href: Href) -> list[Path]:
        """Return the files, or folder of a store or product, that are read for a file; none if a server has it.

        Parameters
        ----------
        href : Href
            The file. If it lies within another one, that counts.
        """
        found: dict[str, None] = {}
        for file in [href.text] if href.is_local else map(str, href.containers):
            self._add(file, found)
        return [Path(file) for file in found]

    def _add(self, file: str, found: dict[str, None]) -> None:
        """Add a file with what lies beside it, and of a VRT its sources, which may be VRTs themselves."""
        if file in found:
            return
        place, name = os.path.split(file)
        if is_product_metadata(name):
            found[place] = None
            return
        found[file] = None
        if place not in self._folders:
            self._folders[place] = _Folder(place)
        folder = self._folders[place]
        if name in folder.folders:
            return
        found |= dict.fromkeys(folder.beside(name))
        if name.lower().endswith(".vrt") and Path(file).is_file():
            for source in _sources(Path(file)):
                self._add(str(source), found)


class _Folder:
    """The names in a folder, and the metadata of the product that it is part of."""

    def __init__(self, place: str) -> None:
        self._place = place
        names: list[str] = []
        self.folders: set[str] = set()
        try:
            with os.scandir(place or ".") as entries:
                for entry in entries:
                    names.append(entry.name)
                    if entry.is_dir():
                        self.folders.add(entry.name)
        except OSError:
            pass
        self._lower = sorted((name.lower(), name) for name in names)
        self._names = dict(self._lower)
        self._product = [str(path) for path in product_files(Path(place)) if path.is_file()]

    def beside(self, name: str) -> list[str]:
        """Return the paths of what is read together with a file."""
        stem = name.rpartition(".")[0] or name
        near = {*self._starting(f"{stem}."), *self._starting(f"{stem}_")} - {name.lower()}
        wanted = {*(near and _near_names(name)), *(each.lower() for each in sidecar_names(name, self._last))}
        there = sorted(self._names[lower] for lower in wanted if lower in self._names and lower != name.lower())
        return [*(os.path.join(self._place, other) for other in there), *self._product]  # noqa: PTH118  (text)

    @property
    def _last(self) -> str:
        return os.path.basename(self._place)  # noqa: PTH119  (text)

    def _starting(self, prefix: str) -> Iterator[str]:
        """Yield the names with this beginning, in small letters."""
        start = prefix.lower()
        for i in range(bisect.bisect_left(self._lower, (start,)), len(self._lower)):
            if not self._lower[i][0].startswith(start):
                return
            yield self._lower[i][0]


def _sources(vrt: Path) -> list[Path]:
    """Return the sources of a VRT on this machine; none of a damaged one, which cannot be read anyway."""
    try:
        return [path for source, _ in sources_of_vrt(vrt) for path in source.containers]
    except (OSError, ValueError):
        return []


def _near_names(name: str) -> list[str]:
    """Return what files may be called, in small letters, that GDAL reads beside a raster.

    Sources: GDAL's documentation of world files (first and last letter of the suffix and a ``w``, or the suffix and a
    ``w``), of ``.aux.xml``, ``.msk`` and of headers of its drivers.
    """
    stem, _, suffix = name.lower().rpartition(".")
    found = [name.lower() + ending for ending in _AFTER_NAME] + [stem + ending for ending in _AFTER_STEM]
    return [*found, f"{stem}.{suffix[0]}{suffix[-1]}w", f"{stem}.{suffix}w"] if suffix else found
