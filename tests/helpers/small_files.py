"""Empty files, pixels of one value a band, the source that most tests of readers use, and paths as hrefs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import Record, TileWindow
from eo_data.catalog.sources import ImageSource
from eo_data.readers.formats.file_raster import FileRaster
from eo_data.readers.image_bands import read_file
from eo_data.readers.images import ImageReader
from eo_data.temporal.frame_policy import FramePolicy


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


def image_reader(
    frames: FramePolicy | None = None, index: Mapping[str, date | Sequence[date]] | None = None, **options: Any
) -> ImageReader:
    """Return a reader of the modality S2: blue and green of Sentinel-2 in digital numbers, unless told otherwise."""
    defaults = {"bands": ["B2", "B3"], "sensor": "sentinel2_l2a", "unit": "digital_number"}
    return ImageReader("S2", ImageSource(**(defaults | options)), frames, index or {})


def record_of(*paths: Path, **fields: Any) -> Record:
    """Return the sample x, whose modality S2 has these files."""
    return Record("x", {"S2": hrefs(*paths)}, **fields)


def two_modalities(root: Path, write_tif: Callable[..., Path], with_s1: str, **options: Any) -> dict[str, ImageSource]:
    """Return the sources of chips of the fixture `chips` and of radar images, which are written for some of them."""
    for name in with_s1:
        write_tif(root / "s1" / f"{name}_S1.tif", np.full((2, 16, 16), -10.0, dtype=np.float32), ("VV", "VH"))
    return {
        "S2": ImageSource("img/{id}_S2.tif", ["B2", "B3"], sensor="sentinel2_l2a", unit="digital_number", **options),
        "S1": ImageSource("s1/{id}_S1.tif", ["VV", "VH"], sensor="sentinel1", unit="decibel", optional=True, **options),
    }
