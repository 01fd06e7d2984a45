"""Where a file is: a path, a URL, or a name that GDAL gives to what lies within another file.

Only paths may be joined to a root folder and looked for on the disk. URLs (``https://...``), GDAL's virtual file
systems (``/vsizip/...``) and sub-datasets (``NETCDF:"x.nc":v``) are handed to GDAL as they are written, and shown
without credentials and signatures.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath
from urllib.parse import parse_qs

from eo_core.addresses import logs_without_credentials, without_credentials
from eo_core.text import composed

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
#: ``/vsicurl?url=...`` is a form with options.
_VIRTUAL = re.compile(r"/vsi[a-z0-9_]+[/?]")
#: Virtual file systems of servers.
_OF_SERVERS = re.compile(r"/vsi(?:curl|s3|gs|az|adls|oss|swift|webhdfs|hdfs)(?:_streaming)?[/?]")
#: A driver's name before a colon; drive letters of Windows have one letter only.
_SUBDATASET = re.compile(r"[A-Z][A-Z0-9_]+:")
#: The beginning of an address with a slash too few, which would be a path.
_ONE_SLASH = re.compile(r"(https?|s3|gs|az|adl):/?(?!/)(?=[^/])")
#: Any of these; one look at a path instead of three, as there may be a hundred thousand.
_ELSEWHERE = re.compile("|".join(kind.pattern for kind in (_URL, _VIRTUAL, _SUBDATASET)))
_QUOTED = re.compile(r'"([^"]+)"')


@dataclass(frozen=True, order=True, repr=False)
class Href:
    """Where a file is.

    As a text (``str``, messages, manifests) it has no credentials, see `shown`; only what opens it takes ``text``.

    Parameters
    ----------
    text : str
        A path, a URL, a path in a virtual file system of GDAL, or the name of a sub-dataset: what GDAL opens.
    cache : Path, optional
        Folder in which the fetched parts of a URL are kept; it does not say which file is meant.
    service : str
        Address of the service by which requests for a URL are signed when it is read, see
        `eo_data.raster.remote.signing`; nor does it.
    """

    text: str
    cache: Path | None = field(default=None, compare=False)
    service: str = field(default="", compare=False)

    @classmethod
    def from_root(cls, text: str, root: Path) -> Href:
        """Return what a text means that is stated relative to a root folder.

        Parameters
        ----------
        text : str
            A path from ``root`` on or an absolute one; anything else is taken as it is. A file that exists counts as
            one, even if its name looks like that of a sub-dataset (``B:4.tif``). Where nothing is at a path with
            backslashes, as Windows writes them, but with slashes, that is meant.
        root : Path
            The folder.

        Raises
        ------
        ValueError
            If a path with backslashes may be either of two files, or an address lacks a slash.
        """
        named = cls(text)
        if (typo := _ONE_SLASH.match(text)) and not is_there(root / text):
            meant = without_credentials(f"{typo[1]}://{text[typo.end() :]}")
            msg = f"{text[: typo.end()]!r} begins no path and no address. Did you mean {meant}?"
            raise ValueError(msg)
        if not named.is_local and not is_there(root / text):
            return named
        if "\\" not in text or os.sep == "\\":
            return cls(str(root / text))
        return cls(str(root / _with_slashes(text, root)))

    def __str__(self) -> str:
        """Return `shown`."""
        return self.shown

    def __repr__(self) -> str:
        """Return the class and `shown`."""
        return f"Href({self.shown!r})"

    @property
    def shown(self) -> str:
        """The text without passwords, tokens and signatures: what messages, manifests and tags may hold.

        It is the same when an address is signed anew, and so is what is named or compared by it.
        """
        return self.text if self.is_local else without_credentials(self.text)

    @property
    def is_remote(self) -> bool:
        """Whether a server has the file."""
        return not self.is_local and any(
            url.group() != "file://" for url in [*_URL.finditer(self.text), *_OF_SERVERS.finditer(self.text)]
        )

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
                f"{self.shown} is no path on this machine, as this kind of file needs. Download the file and give its "
                "path, or give a file that GDAL reads."
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
        return self.is_local and not is_there(self.text)

    @property
    def is_local_file(self) -> bool:
        """Whether this is a path at which a file is."""
        return self.is_local and Path(self.text).is_file()

    def below(self, root: Path | None) -> str:
        """Return the path from ``root`` on with forward slashes, or the name if it lies elsewhere or is no path.

        It is for comparisons, hence in Unicode's composed form, and may not be that by which the file opens.
        """
        path = Path(self.text)
        if root is None or not self.is_local or not path.is_relative_to(root):
            return composed(self.name)
        return composed(path.relative_to(root).as_posix())

    def relative(self, root: Path | None) -> str:
        """Return what manifests and tables call the file: its path from ``root`` on, with forward slashes.

        What lies elsewhere is called by its last folder and its name, as the folders above may tell more than they
        should. Addresses are `shown`.
        """
        place = self.text if self.is_local else next(map(str, self.containers), None)
        if place is None:
            return self.shown
        start = "" if root is None else f"{root}/"
        if place.startswith(start) and start:
            name = place[len(start) :]
        else:
            name = "/".join(PurePath(place).parts[-2:]).lstrip("/")
        return PurePath(name).as_posix() if self.is_local else self.shown.replace(place, name)

    def unreadable(self, error: BaseException) -> str:
        """Return the message for a file that could not be read: what failed, and what to do, without credentials."""
        cause = error.__cause__ or error
        reason = without_credentials(str(cause)).rstrip(".") or type(cause).__name__
        if isinstance(error, LookupError | MemoryError | TypeError | AttributeError):  # which say little without it
            reason = f"{type(error).__name__}: {reason}"
        if self.is_remote:
            return (
                f"{self} cannot be read: {reason}. It must be reachable from this machine: check the network, the "
                "address and the right to read it (a signature may have expired; none is shown here), or download the "
                "file: local copies are read."
            )
        if self.is_local:
            return f"{self} cannot be read: {reason}. The file may be truncated or no raster; copy it again."
        return (
            f"{self} cannot be read: {reason}. Check that the file is there and holds this part, or unpack it: local "
            "files are read."
        )

    @contextmanager
    def opening(self) -> Iterator[str]:
        """Give the text for GDAL to open; what rasterio logs meanwhile has no credentials."""
        with nullcontext() if self.shown == self.text else logs_without_credentials("rasterio"):
            yield self.text

    @property
    def containers(self) -> list[Path]:
        """Paths on this machine that are opened to read this: the path, or what files a name of GDAL's holds."""
        if self.is_local:
            return [Path(self.text)]
        if self.is_remote:
            return []
        inner = self._file
        while virtual := _VIRTUAL.match(inner):
            inner = inner[virtual.end() :]
        inner = inner.removeprefix("file://")
        # ``/vsizip/{a.zip}/x.tif``, ``/vsisubfile/0_9,a.bin``, ``/vsicached?file=a.tif``
        named = [inner, *(part.lstrip("{") for part in re.split(r"[,=}]", inner))]
        paths = [Path(part) for part in dict.fromkeys(named) if part and not _URL.match(part)]
        found = [
            next((one for one in (path, *path.parents) if one.exists() and not one.is_dir()), None) for path in paths
        ]
        return [path for path in found if path is not None]

    @property
    def _file(self) -> str:
        """The path or URL within the name of a sub-dataset or the options of ``/vsicurl?``; else the text."""
        if (options := _VIRTUAL.match(self.text)) and options.group().endswith("?"):
            return parse_qs(self.text[options.end() :]).get("url", [self.text])[0]
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


def cause_to_show(error: BaseException) -> BaseException | None:
    """Return an error as the cause of another, or nothing if it shows credentials: a traceback prints all causes."""
    link: BaseException | None = error
    while link is not None:
        if without_credentials(str(link)) != str(link):
            return None
        link = link.__cause__ or link.__context__
    return error


def is_there(path: str | Path) -> bool:
    """Whether something is at a path; of a text that is too long for one, too, this only says no."""
    return os.path.exists(path)  # noqa: PTH110


def _with_slashes(text: str, root: Path) -> str:
    """Return a path with backslashes as the file that is there calls it."""
    slashes = text.replace("\\", "/")
    if not is_there(root / slashes):
        return text
    if is_there(root / text):
        msg = (
            f"{text!r} may be the file of that name or {slashes!r}: both are below {root}. Write forward slashes "
            "between folders, or rename the file with the backslash."
        )
        raise ValueError(msg)
    return slashes
