"""Rasters with a place, where their pixels lie on the map, and VRTs of other files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from affine import Affine

from eo_data.raster.raster import Raster


def plain_raster(pixels: np.ndarray, transform: Affine | None = None) -> Raster:
    pixels = pixels.astype(np.float32)
    return Raster(pixels, np.ones(pixels.shape[-2:], bool), transform, None)


def located(transform: Affine, columns: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    t = transform
    return t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f


def write_vrt(path: Path, side: int, bands: Sequence[str], extra: str = "") -> Path:
    """Write a VRT of 10 m pixels on the grid that the fixture `write_tif` uses, from bands of `vrt_band`."""
    head = f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}"><SRS>EPSG:32632</SRS>'
    place = "<GeoTransform>500000,10,0,5000000,0,-10</GeoTransform>"
    path.write_text(f"{head}{place}{''.join(bands)}{extra}</VRTDataset>")
    return path


def vrt_band(
    number: int, file: str, name: str, inside: str = "", *, kind: str = "UInt16", band: int | None = None
) -> str:
    """Return a band of a VRT: the same one of a file in its folder unless told otherwise."""
    return (
        f'<VRTRasterBand dataType="{kind}" band="{number}"><Description>{name}</Description>{inside}<SimpleSource>'
        f'<SourceFilename relativeToVRT="1">{file}</SourceFilename><SourceBand>{band or number}</SourceBand>'
        "</SimpleSource></VRTRasterBand>"
    )
