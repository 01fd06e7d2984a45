"""What below a folder may be a scene, by the names of its files: a product, an image, or a file for each band."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from eo_data.catalog.patterns.folder_walk import Found, files_below
from eo_data.catalog.patterns.product_folders import is_product_folder
from eo_data.sensors.tables import SENSORS

#: Suffixes of images of which each may hold one band.
_IMAGES = (".tif", ".tiff", ".gtiff", ".jp2", ".j2k", ".vrt", ".img")
#: Those of all images, and of archives of products; any other file is no scene.
_SUFFIXES = (*_IMAGES, ".nc", ".nc4", ".h5", ".he5", ".zarr", ".zip", ".tar")
#: Quality layers that lie beside bands in files of their own.
_QUALITY = ("SCL", "QA_PIXEL", "Fmask", "QA60")


@dataclass(frozen=True)
class Candidate:
    """What may be a scene.

    Parameters
    ----------
    files : tuple of str
        Paths from the folder on.
    bands : tuple of str
        Of files that look as if each held one band: the band of each, as it is written.
    """

    files: tuple[str, ...]
    bands: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its first file, or what the files of all bands have in common."""
        return _BandName.of(self.files[0]).scene if self.bands else self.files[0]


def candidates_below(root: Path) -> list[Candidate]:
    """Return what may be scenes below a folder, in the order of their names; what lies within a product is part of it.

    Raises
    ------
    ValueError
        If there is no such folder.
    """
    if not root.is_dir():
        msg = f"There is no folder {root}. Give the folder of the scenes."
        raise ValueError(msg)
    whole: list[Candidate] = []
    by_scene: dict[str, dict[str, _BandName]] = {}
    for entry in _outer(root, files_below(root)):
        own = None if is_product_folder(PurePosixPath(entry.name).name) else _BandName.find(entry.name)
        if own is None:
            whole.append(Candidate((entry.name,)))
            continue
        bands = by_scene.setdefault(own.scene, {})
        # Of one band in several sizes, the finest.
        if own.band not in bands or own.size < bands[own.band].size:
            bands[own.band] = own
    split = [Candidate(tuple(own.file for own in bands.values()), tuple(bands)) for bands in by_scene.values()]
    return sorted([*whole, *split], key=lambda own: own.name)


def _outer(root: Path, entries: list[Found]) -> Iterator[Found]:
    """Files and products that lie in no other product."""
    products: set[str] = set()
    for entry in entries:
        path = PurePosixPath(entry.name)
        if any(str(parent) in products for parent in path.parents):
            continue
        if is_product_folder(path.name) and (root / entry.name).is_dir():
            products.add(entry.name)
            yield entry
        elif path.suffix.lower() in _SUFFIXES:
            yield entry


@dataclass(frozen=True)
class _BandName:
    """The name of a file of one band.

    ``T32UQV_20220601_B02_10m.jp2`` is of the scene ``T32UQV_20220601``, ``S2A_32UQV_20220601_0_L2A/B02.tif`` of the one
    that its folder is named after.
    """

    file: str
    scene: str
    band: str
    size: int = 0

    @classmethod
    def find(cls, file: str) -> _BandName | None:
        path = PurePosixPath(file)
        match = _pattern().fullmatch(path.stem)
        if match is None or path.suffix.lower() not in _IMAGES:
            return None
        scene = path.parent / (match["scene"] or "")
        return cls(file, str(scene), match["band"], int(match["size"] or 0)) if scene.name else None

    @classmethod
    def of(cls, file: str) -> _BandName:
        return cls.find(file) or cls(file, file, "")


@functools.cache
def _pattern() -> re.Pattern[str]:
    names = {name for table in SENSORS.values() for band in table.bands for name in (band.name, *band.aliases)}
    known = "|".join(re.escape(name) for name in sorted(names | set(_QUALITY), key=len, reverse=True))
    # As much as may be is the band: ``SR_B2`` and ``QA_PIXEL`` of Landsat are of one scene.
    return re.compile(rf"(?:(?P<scene>.+?)[_.-])?(?P<band>{known})(?:[_-](?P<size>\d+)m)?", re.IGNORECASE)
