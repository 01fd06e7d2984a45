"""Empty files, pixels of one value a band, the source that most tests of readers use, and paths as hrefs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import TileWindow
from eo_data.catalog.sources import ImageSource
from eo_data.readers.file_raster import FileRaster
from eo_data.readers.files import read_file


def touch(root: Path, *names: str) -> None:
    """Make empty files, with their folders."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")


def constant_bands(*values: float, side: int = 4, dtype: str = "uint16") -> np.ndarray:
    """Return ``(C, side, side)`` with one value per band."""
    return np.stack([np.full((side, side), value, dtype=dtype) for value in values])


def level2a(*bands: str, **options: Any) -> ImageSource:
    """Return a source of digital numbers of Sentinel-2, of blue and green unless told otherwise."""
    return ImageSource("x.tif", bands or ("B2", "B3"), sensor="sentinel2_l2a", unit="digital_number", **options)


def hrefs(*paths: Path) -> tuple[Href, ...]:
    """Return paths as records hold them."""
    return tuple(Href(str(path)) for path in paths)


def read(path: Path, source: ImageSource, window: TileWindow | None = None) -> FileRaster:
    """Read a file by its path."""
    return read_file(Href(str(path)), source, window)
