"""Which files on this machine are read for an image: itself, and what lies beside it and says of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from eo_data.catalog.hrefs import Href
from eo_data.readers.formats.limits import sources_of_vrt
from eo_data.readers.formats.sidecars import sidecar_names

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
        self._listed: dict[Path, dict[str, str]] = {}

    def of(self, href: Href) -> list[Path]:
        """Return the files, or folder of a store, that are read for a file; none if a server has it.

        Parameters
        ----------
        href : Href
            The file. If it lies within another one, that counts.
        """
        found: dict[Path, None] = {}
        for file in href.containers:
            self._add(file, found)
        return list(found)

    def _add(self, file: Path, found: dict[Path, None]) -> None:
        """Add a file with what lies beside it, and of a VRT its sources, which may be VRTs themselves."""
        if file in found:
            return
        found[file] = None
        if file.is_dir():
            return
        there = self._names(file.parent)
        beside = {there[name.lower()] for name in _names_beside(file) if name.lower() in there}
        found |= dict.fromkeys(file.parent / name for name in sorted(beside - {file.name}))
        elsewhere = (path for path in sidecar_names(file) if path.parent != file.parent)
        found |= dict.fromkeys(path for path in elsewhere if path.is_file())
        if file.suffix.lower() == ".vrt" and file.is_file():
            for source in _sources(file):
                self._add(source, found)

    def _names(self, folder: Path) -> dict[str, str]:
        """Names in a folder by their spelling in small letters."""
        if folder not in self._listed:
            try:
                self._listed[folder] = {name.lower(): name for name in os.listdir(folder)}  # noqa: PTH208  (names)
            except OSError:
                self._listed[folder] = {}
        return self._listed[folder]


def _sources(vrt: Path) -> list[Path]:
    """Return the sources of a VRT on this machine; none of a damaged one, which cannot be read anyway."""
    try:
        return [path for source, _ in sources_of_vrt(vrt) for path in source.containers]
    except (OSError, ValueError):
        return []


def _names_beside(file: Path) -> Iterator[str]:
    """Yield what files may be called that GDAL or we read beside a raster.

    Sources: GDAL's documentation of world files (first and last letter of the suffix and a ``w``, or the suffix and a
    ``w``), of ``.aux.xml``, ``.msk`` and of headers of its drivers; for products `eo_data.readers.formats.sidecars`.
    """
    name, stem, suffix = file.name, file.stem, file.suffix[1:]
    yield from (name + ending for ending in _AFTER_NAME)
    yield from (stem + ending for ending in _AFTER_STEM)
    if suffix:
        yield f"{stem}.{suffix[0]}{suffix[-1]}w"
        yield f"{stem}.{suffix}w"
    yield from (path.name for path in sidecar_names(file) if path.parent == file.parent)
