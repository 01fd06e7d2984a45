"""Measure the seams that tiles leave, by the halo, on a real scene against the same scene in one piece.

    python benchmarks/seams.py scene.tif --encoder thor_v1_tiny
    python benchmarks/seams.py scene.tif --encoder thor_v1_base --ckpt weights.pt --side 480

The scene is a GeoTIFF of Sentinel-2 L1C or L2A with 10 bands or more (``--bands``), of which the middle is taken. The
distance of a cell is one minus the cosine of its vector by tiles and in one piece, both less the mean of the scene in
one piece, as vectors of one encoder have much in common. At seams are the cells next to a border of a core inside of
the scene; inside are those at least two cells from any. Without ``--ckpt`` weights are random, of seed 0.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch

from eo_data.catalog.tiles import Tiling

HALOS = (0, 16, 32, 48, 96)
#: Band names of Sentinel-2's 13 bands in the order of a file.
L1C = (
    *("COASTAL_AEROSOL", "BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3", "NIR_BROAD", "NIR_NARROW"),
    *("WATER_VAPOR", "CIRRUS", "SWIR_1", "SWIR_2"),
)
#: What an encoder needs so that tiles are prepared as the whole is: no resampling, no statistics of a tile.
OPTIONS: dict[str, dict[str, Any]] = {
    "thor": {"max_native_side": 4096, "max_native_tokens": 10**6},
    "anysat": {"image_size": None, "normalization": "unit_scale"},
}


def middle(path: Path, side: int) -> np.ndarray:
    """Return the middle of a scene, ``(C, side, side)``."""
    with rasterio.open(path) as file:
        top, left = (file.height - side) // 2, (file.width - side) // 2
        pixels: np.ndarray = file.read(window=rasterio.windows.Window(left, top, side, side))
    return pixels


def distances(tiled: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """One minus the cosine of each cell, ``(h, w)``."""
    mean = whole.mean(axis=(1, 2), keepdims=True)
    one, other = tiled - mean, whole - mean
    lengths = np.linalg.norm(one, axis=0) * np.linalg.norm(other, axis=0)
    found: np.ndarray = 1 - (one * other).sum(axis=0) / lengths
    return found


def from_border(tiling: Tiling, side: int, cells: int) -> np.ndarray:
    """Cells between each cell and the next border of a core inside of the scene, 0 for those at it, ``(h, w)``."""
    borders = np.array([first * cells / side for _, first, _ in tiling.axis(side)[1:]])
    apart = np.abs(np.arange(cells)[:, None] + 0.5 - borders).min(axis=1) - 0.5 if len(borders) else np.full(cells, 99)
    return np.minimum(apart[:, None], apart[None])


def main() -> None:
    """Print a line for each halo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path)
    parser.add_argument("--encoder", default="thor_v1_tiny")
    parser.add_argument("--ckpt")
    parser.add_argument("--side", type=int, default=480, help="of the scene, in pixels")
    parser.add_argument("--tile", type=int, default=288)
    parser.add_argument("--halos", type=int, nargs="+", default=HALOS)
    parser.add_argument("--bands", nargs="+", default=list(L1C), help="of the file, in its order")
    parser.add_argument("--sensor", default="sentinel2_l1c")
    given = parser.parse_args()
    from eo_embed import embed

    torch.manual_seed(0)
    pixels = middle(given.scene, given.side)
    kind = next(name for name in OPTIONS if given.encoder.startswith(name))
    dates = {"dates": ["2019-09-18"]} if kind == "anysat" else {}
    weights = {"ckpt": given.ckpt} if given.ckpt else {"pretrained": False}
    stated: dict[str, Any] = {"sensor": given.sensor, "unit": "digital_number", "offset": 0, "pixel_size": 10}
    options = {**stated, "bands": given.bands, "transform": (10, 0, 0, 0, -10, 0), **dates, **weights, **OPTIONS[kind]}

    def encode(**tiles: int) -> tuple[np.ndarray, float]:
        start = time.perf_counter()
        asked: dict[str, Any] = {**options, **tiles}
        found: Any = embed(given.encoder, pixels, device="cpu", **asked)
        return np.asarray(found.grid), time.perf_counter() - start

    whole, seconds = encode()
    print(f"{given.encoder}, {given.side} px in one piece: {seconds:.1f} s, tiles of {given.tile} px")
    print("halo px  windows  seconds  at seams  inside  seams/inside")
    for halo in given.halos:
        tiling = Tiling(given.tile, 16, halo)
        tiled, seconds = encode(tile=given.tile, halo=halo)
        apart = from_border(tiling, given.side, whole.shape[-1])
        far = distances(tiled, whole)
        seam, inside = float(np.median(far[apart < 1])), float(np.median(far[apart >= 2]))
        count = len(tiling.axis(given.side)) ** 2
        figures = f"{seconds:>7.1f}  {seam:>8.4f}  {inside:>6.4f}  {seam / inside:>12.2f}"
        print(f"{halo:>7}  {count:>7}  {figures}", flush=True)


if __name__ == "__main__":
    main()
