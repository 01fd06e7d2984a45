"""The files of a Sentinel-3 product (``.SEN3``): its manifest, and variables of its NetCDF files.

Source: Sentinel-3 SAFE, "Product Data Format Specification - OLCI/SLSTR Level 1", EUMETSAT and ESA.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eo_data.catalog.hrefs import Href
from eo_data.readers.formats.limits import USUAL, check_file
from eo_data.readers.products.package import Package
from eo_data.readers.products.sentinel3.swath import Samples
from eo_data.temporal.calendar_date import parse_instant

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

MANIFEST = "xfdumanifest.xml"
#: What is asked of the manifest, whatever the prefix of its names: ``<sentinel-safe:startTime>2017-...</...>``.
_ENTRY = r"<(?:[\w-]+:)?{name}(?:\s[^<>]*)?>\s*([^<>]*?)\s*</"
ALL = slice(None)


@dataclass(frozen=True, eq=False)
class Flags:
    """Flags of samples.

    Parameters
    ----------
    stored : ndarray
        int64 ``(N,)``.
    bits : mapping of str to int
        By the name of each flag.
    """

    stored: np.ndarray
    bits: Mapping[str, int]

    def raised(self, *names: str) -> np.ndarray:
        """Return where one of some flags is raised, bool ``(N,)``; one that the product does not know never is."""
        wanted = 0
        for name in names:
            wanted |= self.bits.get(name, 0)
        return np.asarray((self.stored & wanted) != 0)


@dataclass(frozen=True, eq=False)
class Sen3:
    """An open product.

    Parameters
    ----------
    package : Package
        Its files.
    kind : str
        Type by its manifest, without what fills it up: ``OL_1_EFR``, ``SL_1_RBT``.
    name : str
        Name of the product by its manifest, without ``.SEN3``.
    started : datetime or None
        When sensing began, UTC.
    folder : Path
        For what has to be unpacked.
    """

    package: Package
    kind: str
    name: str
    started: datetime | None
    folder: Path

    @property
    def tags(self) -> dict[str, str]:
        """What the manifest says, for those who look for a date."""
        return {} if self.started is None else {"START_DATETIME": self.started.isoformat()}

    def has(self, file: str) -> bool:
        """Whether a file is there."""
        return file in self.package.names

    def require(self, files: Mapping[str, str]) -> None:
        """Refuse a product that lacks one of the files, each with what it holds.

        Raises
        ------
        ValueError
            For the first that is not there.
        """
        for file, what in files.items():
            self.package.only(file, what)

    def read(self, file: str, variable: str, rows: slice = ALL) -> np.ndarray:
        """Return a variable in its unit: scaled, NaN where it is missing.

        Parameters
        ----------
        file, variable : str
            Name of the file and of the variable in it.
        rows : slice
            What to read along its first axis.

        Raises
        ------
        ValueError
            If the file cannot be read, has no such variable, or would take too much memory.
        """
        with self._variable(file, variable, decoded=True) as array:
            return np.asarray(array[rows].values)

    def read_at(self, samples: Samples, file: str, variable: str) -> np.ndarray:
        """Return the values ``(N,)`` of a variable at samples of the swath, as `read` does."""
        with self._variable(file, variable, samples.shape, decoded=True) as array:
            return samples.of(lambda *part: array[part].values)

    def flags_at(self, samples: Samples, file: str, variable: str) -> Flags:
        """Return the flags of a variable at samples of the swath.

        Parameters
        ----------
        samples : Samples
            The samples.
        file, variable : str
            Name of the file and of the variable in it, with ``flag_meanings`` and ``flag_masks``.

        Raises
        ------
        ValueError
            As `read`, and if the variable does not say what its bits mean.
        """
        with self._variable(file, variable, samples.shape, decoded=False) as array:
            meanings = str(array.attrs.get("flag_meanings", "")).split()
            masks = np.atleast_1d(np.asarray(array.attrs.get("flag_masks", ())))
            if not meanings or len(meanings) != len(masks) or array.dtype.kind not in "iu":
                msg = f"{file}: {variable} does not say what its bits mean (flag_meanings, flag_masks)."
                raise ValueError(msg)
            # A mask of the highest bit is negative where numbers are signed, and so are the numbers.
            stored = samples.of(lambda *part: array[part].values).astype(np.int64)
        return Flags(stored, {name: int(mask) for name, mask in zip(meanings, masks, strict=True)})

    def attributes(self, file: str) -> dict[str, object]:
        """Return the attributes of a file."""
        with self._opened(file, decoded=False) as data:
            return dict(data.attrs)

    @contextmanager
    def _variable(
        self, file: str, variable: str, shape: tuple[int, ...] | None = None, *, decoded: bool
    ) -> Iterator[DataArray]:
        with self._opened(file, decoded=decoded) as data:
            if variable not in data.variables:
                msg = f"{file} has no variable {variable}, it has {', '.join(map(str, data.variables))[:200]}."
                raise ValueError(msg)
            array = data[variable]
            if array.ndim not in (1, 2) or (shape is not None and array.shape != shape):
                size = "one or two axes" if shape is None else f"{shape}, as the geolocation"
                msg = f"{file}: {variable} has the shape {array.shape}, expected {size}. Download the product again."
                raise ValueError(msg)
            USUAL.refuse_large(2 * 8 * array.size, f"{variable} in {file}")
            yield array

    @contextmanager
    def _opened(self, file: str, *, decoded: bool) -> Iterator[Dataset]:
        import xarray  # noqa: PLC0415

        path = self.package.unpacked(file, self.folder)
        try:
            check_file(Href(str(path)))
            opened = xarray.open_dataset(path, mask_and_scale=decoded, decode_times=False, decode_coords=False)
        except (OSError, ValueError) as error:
            msg = f"its file {file} cannot be read ({str(error)[:200]}). Download or unpack the product again."
            raise ValueError(msg) from error
        with opened as data:
            yield data


@contextmanager
def opened_sen3(href: Href) -> Iterator[Sen3]:
    """Open a product: a folder, an archive of one, or its manifest.

    Raises
    ------
    ValueError
        If it has no manifest, or that does not say what the product is.
    """
    package = Package.of(href, MANIFEST.__eq__, MANIFEST)
    text = package.read(MANIFEST).decode("utf-8", "replace")
    kind, name = _entry(text, "productType"), _entry(text, "productName")
    kind = (kind or name[4:15]).rstrip("_")
    if not kind:
        msg = f"its {MANIFEST} states neither productType nor productName. Download it again."
        raise ValueError(msg)
    with tempfile.TemporaryDirectory(prefix="sen3-") as folder:
        name = (name or package.name).removesuffix(".SEN3")
        yield Sen3(package, kind, name, _time(_entry(text, "startTime")), Path(folder))


def _entry(text: str, name: str) -> str:
    found = re.search(_ENTRY.format(name=name), text)
    return found.group(1) if found else ""


def _time(text: str) -> datetime | None:
    try:
        return parse_instant(text) if text else None
    except ValueError as error:
        msg = f"its {MANIFEST} does not say when sensing began. {error}"
        raise ValueError(msg) from error
