"""What is read of small Sentinel-2 products, and the numbers that are put in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from small_files import image_reader, record_of
from small_products import SIDE, SIZES

RANDOM = np.random.default_rng(15)
GRANULE = "GRANULE/L2A_T32UQV_A033753_20230823T095553"
B02 = f"{GRANULE}/IMG_DATA/R10m/T32UQV_20230823T095559_B02_10m.jp2"


def level(product: Path) -> str:
    return "sentinel2_l1c" if "L1C" in product.name else "sentinel2_l2a"


def reflectance(product: Path, *bands: str, **options: Any) -> np.ndarray:
    """Physical values ``(C, H, W)`` that a source of digital numbers gives, which states nothing else."""
    reader = image_reader(bands=list(bands), sensor=level(product), **options)
    return reader.read(record_of(product)).raster.pixels


def noise(number: str) -> np.ndarray:
    side = SIDE // SIZES[number]
    return RANDOM.integers(1100, 6000, (side, side)).astype(np.uint16)
