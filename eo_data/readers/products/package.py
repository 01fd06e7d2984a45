"""The files of a product, whether it is a folder or an archive of one."""

from __future__ import annotations

import fnmatch
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from eo_data.catalog.hrefs import Href
from eo_data.readers.formats.limits import USUAL

#: Metadata are read as a whole; a larger file is none.
_LARGEST_METADATA = 64_000_000
_ZIP, _TAR = ".zip", ".tar"


@dataclass(frozen=True)
class Package:
    """The files of a product by their names in it.

    Parameters
    ----------
    path : Path
        The folder, or the archive (zip or tar).
    names : tuple of str
        Its files, from the folder of the product on, with forward slashes, sorted.
    prefix : str
        What stands before these names in an archive.
    """

    path: Path
    names: tuple[str, ...]
    prefix: str = ""

    @classmethod
    def of(cls, href: Href, marker: Callable[[str], bool], metadata: str = "") -> Package:
        """List the files of a product.

        Parameters
        ----------
        href : Href
            The folder, the archive, or a file directly in the folder, such as the product's metadata.
        marker : callable
            Tells by a file's name whether it lies directly in the folder of the product: one that every product of
            this kind has. In an archive, the folder of the product is where such a file lies.
        metadata : str
            What such a file is called, for messages.

        Raises
        ------
        ValueError
            If no file is one, or an archive holds several products.
        """
        path = href.path
        if path.is_dir():
            return cls._of_folder(path, marker, metadata)
        if path.suffix.lower() in (_ZIP, _TAR):
            return cls._of_archive(path, marker, metadata)
        return cls._of_folder(path.parent, marker, metadata)

    @classmethod
    def _of_folder(cls, path: Path, marker: Callable[[str], bool], metadata: str) -> Package:
        names = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
        if not any(marker(name) for name in names if "/" not in name):
            raise ValueError(_without_metadata(len(names), metadata))
        return cls(path, tuple(names))

    @classmethod
    def _of_archive(cls, path: Path, marker: Callable[[str], bool], metadata: str) -> Package:
        names = sorted(_names_in(path))
        homes = sorted({str(PurePosixPath(name).parent) for name in names if marker(PurePosixPath(name).name)})
        if not homes:
            raise ValueError(_without_metadata(len(names), metadata))
        if len(homes) > 1:
            msg = (
                f"it holds {len(homes)} products ({', '.join(homes[:3])}), and one is read at a time. Unpack it, and "
                "give one of them."
            )
            raise ValueError(msg)
        prefix = "" if homes[0] == "." else f"{homes[0]}/"
        inside = (name.removeprefix(prefix) for name in names if name.startswith(prefix))
        return cls(path, tuple(inside), prefix)

    @property
    def is_archive(self) -> bool:
        """Whether the files lie in an archive."""
        return self.path.suffix.lower() in (_ZIP, _TAR) and not self.path.is_dir()

    @property
    def name(self) -> str:
        """Name of the product's folder, also of one within an archive."""
        return PurePosixPath(self.prefix).name or self.path.name.removesuffix(_ZIP).removesuffix(_TAR)

    def find(self, pattern: str) -> list[str]:
        """Return the files whose names match a pattern (``GRANULE/*/MTD_TL.xml``, in which ``*`` may hold slashes)."""
        return fnmatch.filter(self.names, pattern)

    def only(self, pattern: str, what: str) -> str:
        """Return the one file that matches a pattern.

        Raises
        ------
        ValueError
            If there is none, or are several; ``what`` says what the product lacks then.
        """
        found = self.find(pattern)
        if len(found) == 1:
            return found[0]
        if not found:
            msg = f"it has no {what} ({pattern}): the product is incomplete. Download or unpack it again."
        else:
            msg = f"it has {len(found)} files that may be its {what} ({', '.join(found[:3])}), and one is expected."
        raise ValueError(msg)

    def read(self, name: str) -> bytes:
        """Return the content of one of the metadata files.

        Raises
        ------
        ValueError
            If it is too large to be one.
        OSError
            If it cannot be read.
        """
        if self.is_archive and self._is_tar:
            with tarfile.open(self.path, "r:") as tar:
                self._refuse_large(name, tar.getmember(self.prefix + name).size)
                content = tar.extractfile(self.prefix + name)
                return b"" if content is None else content.read()
        if self.is_archive:
            with zipfile.ZipFile(self.path) as archive:
                self._refuse_large(name, archive.getinfo(self.prefix + name).file_size)
                return archive.read(self.prefix + name)
        file = self.path / name
        self._refuse_large(name, file.stat().st_size)
        return file.read_bytes()

    def href(self, name: str) -> Href:
        """Return where one of the files is, for GDAL also of an archive."""
        if self.is_archive:
            return Href(f"/vsi{'tar' if self._is_tar else 'zip'}/{{{self.path.absolute()}}}/{self.prefix}{name}")
        return Href(str(self.path / name))

    def unpacked(self, name: str, folder: Path) -> Path:
        """Return where one of the files lies on the disk, for readers that know no archives (zip).

        Parameters
        ----------
        name : str
            The file.
        folder : Path
            Where it is unpacked to, once, if it lies in an archive.

        Raises
        ------
        ValueError
            If it would be larger than what may be read at once.
        """
        if not self.is_archive:
            return self.path / name
        place = folder / PurePosixPath(name).name
        if not place.exists():
            with zipfile.ZipFile(self.path) as archive:
                USUAL.refuse_large(archive.getinfo(self.prefix + name).file_size, f"{name}, unpacked,")
                with archive.open(self.prefix + name) as packed, place.open("wb") as file:
                    shutil.copyfileobj(packed, file)
        return place

    @property
    def _is_tar(self) -> bool:
        return self.path.suffix.lower() == _TAR

    def _refuse_large(self, name: str, size: int) -> None:
        if size > _LARGEST_METADATA:
            msg = f"{name} has {size} bytes, which is more than metadata have. Download the product again."
            raise ValueError(msg)


def _names_in(path: Path) -> list[str]:
    """Return the names of the files in an archive."""
    if path.suffix.lower() == _TAR:
        with tarfile.open(path, "r:") as tar:
            return [member.name for member in tar.getmembers() if member.isfile()]
    with zipfile.ZipFile(path) as archive:
        return [name for name in archive.namelist() if not name.endswith("/")]


def _without_metadata(count: int, metadata: str) -> str:
    named = f" ({metadata})" if metadata else ""
    return (
        f"it lacks its metadata{named}: none of its {count} files is that of a product of this kind. Download or "
        "unpack it again, as a whole."
    )
