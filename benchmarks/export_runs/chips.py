"""Chips to export: windows of a real image where the reference data are at hand, else smooth noise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

BANDS = (
    *("BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3"),
    *("NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"),
)
#: The peer's names of them.
NUMBERS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
#: An image of Sentinel-2 L1C with 13 bands; the places of `BANDS` among them, counted from 1.
REAL = Path("data", "sen1floods11_v1.1", "data", "S2L1CHand", "Spain_7370579_S2Hand.tif")
PLACES = (2, 3, 4, 5, 6, 7, 8, 9, 12, 13)


def write_chips(folder: Path, count: int, side: int) -> str:
    """Write chips of Sentinel-2 as GeoTIFFs ``chip00.tif`` ..., and return what their pixels are.

    They lie side by side in one UTM zone with pixels of 10 m, wherever their pixels are from.
    """
    real = Path(__file__).resolve().parents[2].parent / "shared" / REAL
    made, about = (_windows(real, count, side), f"windows of {real.name}") if real.is_file() else (None, "smooth noise")
    folder.mkdir(parents=True, exist_ok=True)
    for number, pixels in enumerate(made or _noise(count, side)):
        transform = rasterio.transform.from_origin(500_000 + 10 * side * number, 4_200_000, 10, 10)
        profile = {"count": len(BANDS), "height": side, "width": side, "dtype": "int16", "compress": "deflate"}
        path = folder / f"chip{number:03d}.tif"
        with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32630", transform=transform, **profile) as file:
            file.write(pixels)
            file.descriptions = BANDS
    return about


def _windows(path: Path, count: int, side: int) -> Iterator[np.ndarray]:
    """Yield windows that overlap, so many that one image is enough."""
    steps = int(np.ceil(np.sqrt(count)))
    with rasterio.open(path) as file:
        offsets = [(file.height - side) * step // max(steps - 1, 1) for step in range(steps)]
        for number in range(count):
            row, column = offsets[number // steps], offsets[number % steps]
            yield file.read(PLACES, window=Window(column, row, side, side))


def _noise(count: int, side: int) -> Iterator[np.ndarray]:
    for number in range(count):
        coarse = np.random.default_rng(number).integers(300, 4000, (len(BANDS), side // 8 + 1, side // 8 + 1))
        yield np.kron(coarse, np.ones((8, 8)))[:, :side, :side].astype(np.int16)
