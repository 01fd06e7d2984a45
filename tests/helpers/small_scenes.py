"""GeoTIFFs that say of themselves what must be known: bands, scale, unit, date."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

S2_BANDS = (
    *("BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3"),
    *("NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"),
)
#: A corner in UTM zone 32 N at a multiple of 160 m.
CORNER = Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 4_999_840.0)


def numbers(bands: int = 10, side: int = 64, seed: int = 0) -> np.ndarray:
    """Digital numbers of a landscape, uint16 ``(C, H, W)``, as those of Sentinel-2 without an offset."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(400, 4000, (bands, side // 8 + 1, side // 8 + 1))
    return (np.kron(coarse, np.ones((8, 8)))[:, :side, :side] + rng.normal(0, 20, (bands, side, side))).astype("uint16")


def write_scene(
    path: Path,
    pixels: np.ndarray,
    bands: Sequence[str] = S2_BANDS,
    transform: Affine = CORNER,
    crs: str = "EPSG:32632",
    *,
    scale: float | None = 1e-4,
    unit: str = "",
    **tags: str,
) -> Path:
    """Write pixels ``(C, H, W)`` with the names of their bands, a scale and tags."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = pixels.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": pixels.dtype.name}
    with rasterio.open(path, "w", crs=crs, transform=transform, **profile) as file:
        file.write(pixels)
        file.descriptions = list(bands)
        if scale is not None:
            file.scales = [scale] * count
        if unit:
            file.units = [unit] * count
        file.update_tags(**tags)
    return path
