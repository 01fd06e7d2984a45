"""Where a file is: a path, a URL, or a name that GDAL gives to what lies within another file.

Only paths may be joined to a root folder and looked for on the disk. URLs (``https://...``), GDAL's virtual file
systems (``/vsizip/...``) and sub-datasets (``NETCDF:"x.nc":v``) are handed to GDAL as they are written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_VIRTUAL = re.compile(r"/vsi[a-z0-9_]+/")
#: A driver's name before a colon; drive letters of Windows have one letter only.
_SUBDATASET = re.compile(r"[A-Z][A-Z0-9_]+:")
#: Any of these; one look at a path instead of three, as there may be a hundred thousand.
_ELSEWHERE = re.compile("|".join(kind.pattern for kind in (_URL, _VIRTUAL, _SUBDATASET)))
_QUOTED = re.compile(r'"([^"]+)"')


@dataclass(frozen=True, order=True)
class Href:
    """Where a file is.

    Parameters
    ----------
    text : str
        A path, a URL, a path in a virtual file system of GDAL, or the name of a sub-dataset.
    """

    text: str

    @classmethod
    def from_root(cls, text: str, root: Path) -> Href:
        """Return what a text means that is stated relative to a root folder.

        Parameters
        ----------
        text : str
            A path from ``root`` on or an absolute one; anything else is taken as it is. A file that exists counts as
            one, even if its name looks like that of a sub-dataset (``B:4.tif``).
        root : Path
            The folder.
        """
        named = cls(text)
        return cls(str(root / text)) if named.is_local or (root / text).exists() else named

    def __str__(self) -> str:
        """Return the text: what GDAL opens and manifests list."""
        return self.text

    @property
    def is_local(self) -> bool:
        """Whether this is a path on this machine."""
        return _ELSEWHERE.match(self.text) is None

    @property
    def path(self) -> Path:
        """The path on this machine.

        Raises
        ------
        ValueError
            If this is no path.
        """
        if not self.is_local:
            msg = (
                f"{self.text} is no path on this machine, as this kind of file needs. Give a path, or a file for GDAL."
            )
            raise ValueError(msg)
        return Path(self.text)

    @property
    def name(self) -> str:
        """Name of the file with its suffix, without folders, the query of a URL, and the name of a sub-dataset."""
        return self._pure.name

    @property
    def stem(self) -> str:
        """Name of the file without its suffix."""
        return self._pure.stem

    @property
    def suffix(self) -> str:
        """Last suffix of the file in lower case, with its dot."""
        return self._pure.suffix.lower()

    @property
    def is_missing(self) -> bool:
        """Whether this is a path at which nothing is; of anything else only an attempt to read tells."""
        return self.is_local and not Path(self.text).exists()

    @property
    def is_local_file(self) -> bool:
        """Whether this is a path at which a file is."""
        return self.is_local and Path(self.text).is_file()

    def below(self, root: Path | None) -> str:
        """Return the path from ``root`` on with forward slashes, or the name if it lies elsewhere or is no path."""
        path = Path(self.text)
        if root is None or not self.is_local or not path.is_relative_to(root):
            return self.name
        return path.relative_to(root).as_posix()

    def state(self) -> list[tuple[int, int]]:
        """Return size in bytes and time of the last change in nanoseconds of what is read from this machine.

        Of a folder (a Zarr) for everything in it, of what lies within another file for that file; nothing for a URL.

        Raises
        ------
        OSError
            If it is a path at which nothing is.
        """
        container = self._container
        if container is None:
            return []
        parts = sorted(container.rglob("*")) if container.is_dir() else [container]
        return [(part.stat().st_size, part.stat().st_mtime_ns) for part in parts]

    @property
    def _file(self) -> str:
        """The path or URL within the name of a sub-dataset; else the text."""
        if not _SUBDATASET.match(self.text) or _URL.match(self.text):
            return self.text
        if quoted := _QUOTED.search(self.text):
            return quoted.group(1)
        parts = self.text.split(":")[1:]
        return next((part for part in parts if "/" in part or "." in part), parts[-1])

    @property
    def _pure(self) -> PurePath:
        if self.is_local:
            return PurePath(self.text)
        return PurePosixPath(self._file.partition("?")[0])

    @property
    def _container(self) -> Path | None:
        """The file on this machine that holds the pixels, if there is one."""
        if self.is_local:
            return Path(self.text)
        inner = self._file
        while virtual := _VIRTUAL.match(inner):
            inner = inner[virtual.end() :]
        if _URL.match(inner):
            return None
        inside = Path(inner)
        return next((path for path in (inside, *inside.parents) if path.is_file()), None)
