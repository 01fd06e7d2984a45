"""A raster on a server, a window of it, and how it is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from range_server import RangeServer
from rasterio.windows import Window

from eo_data.catalog.hrefs import Href
from eo_data.raster.remote.opener import open_remote
from eo_data.raster.remote.ranges import Patience

QUICK = Patience(timeout=0.5, waits=(0.01, 0.02, 0.04), longest_wait=3.0, trust=0.0)
SIDE, TILE = 512, 128
WINDOW = Window(100, 140, 200, 100)
BANDS = ("BLUE", "GREEN")


def write_remote(path: Path, seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(300, 5000, (2, SIDE, SIDE), dtype="uint16")
    place = {"crs": "EPSG:32631", "transform": Affine(10, 0, 500_000, 0, -10, 4_000_000)}
    profile = {"driver": "COG", "blocksize": TILE, "compress": "deflate", "overviews": "none"}
    size = {"count": 2, "height": SIDE, "width": SIDE, "dtype": "uint16"}
    with rasterio.open(path, "w", **profile, **size, **place) as file:
        file.write(pixels)
        file.descriptions = BANDS
    return pixels


def href_of(server: RangeServer, cache: Path | None = None, query: str = "") -> Href:
    return Href(f"http://{server.host}/x.tif{query}", cache)


def read_window(href: Href, patience: Patience = QUICK) -> np.ndarray:
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE"), open_remote(href, patience) as file:
        return np.asarray(file.read(window=WINDOW))


def window_of(pixels: np.ndarray) -> np.ndarray:
    return pixels[:, 140:240, 100:300]


def tile_bytes(path: Path) -> int:
    """Bytes of the tiles that the window touches, by the file's own table."""
    with rasterio.open(path) as file:

        def tag(what: str, column: int, row: int, band: int) -> int:
            return int(file.get_tag_item(f"BLOCK_{what}_{column}_{row}", "TIFF", bidx=band))

        # Bands may share a tile, hence the offsets.
        sizes = {
            tag("OFFSET", column, row, band): tag("SIZE", column, row, band)
            for band in (1, 2)
            for row in range(140 // TILE, 239 // TILE + 1)
            for column in range(100 // TILE, 299 // TILE + 1)
        }
    return sum(sizes.values())
