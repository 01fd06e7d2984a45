"""Measure how long the first vector of a fresh process takes: import, and embed one chip.

    python benchmarks/first_vector.py --runs 5

Each run is a process of its own: ``from eo_embed import embed``, then one chip of 128 x 128 px by THOR tiny with random
weights. What heavy packages were imported on the way is printed, too. Byte code and file cache are warm from the second
run on, so that the best run is that of a user who has done it before.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio

#: Packages that take long to import; none but PyTorch is needed on the way to a vector.
HEAVY = (
    *("terratorch", "lightning", "torchgeo", "torchvision", "torchmetrics", "matplotlib", "transformers", "timm"),
    *("torch", "torch._dynamo", "sklearn", "scipy", "pandas", "geopandas", "xarray", "pyarrow"),
)
BANDS = (
    "BLUE",
    "GREEN",
    "RED",
    "RED_EDGE_1",
    "RED_EDGE_2",
    "RED_EDGE_3",
    "NIR_BROAD",
    "NIR_NARROW",
    "SWIR_1",
    "SWIR_2",
)
SIDE = 128
_RUN = """
import sys, time
start = time.perf_counter()
from eo_embed import embed
imported = time.perf_counter()
found = embed("thor_v1_tiny", sys.argv[1], pretrained=False, device="cpu")
vector = found.vector
done = time.perf_counter()
import json
heavy = [name for name in json.loads(sys.argv[2]) if name in sys.modules]
print(json.dumps({"import": imported - start, "embed": done - imported, "numbers": len(vector), "heavy": heavy}))
"""


def write_chip(path: Path) -> None:
    """Write reflectance of one chip, which says of itself what it is."""
    pixels = np.random.default_rng(0).uniform(0.02, 0.4, (len(BANDS), SIDE, SIDE)).astype(np.float32)
    transform = rasterio.transform.from_origin(500_000, 5_000_000, 10, 10)
    profile = {"count": len(BANDS), "height": SIDE, "width": SIDE, "dtype": "float32", "crs": "EPSG:32632"}
    with rasterio.open(path, "w", driver="GTiff", transform=transform, **profile) as file:
        file.write(pixels)
        file.descriptions = BANDS
        file.units = ["reflectance"] * len(BANDS)


def first_vector(chip: Path) -> str:
    """Return the seconds of a fresh process, of import and of the call, and what it imported."""
    command = [sys.executable, "-c", _RUN, str(chip), json.dumps(HEAVY)]
    start = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    seconds = time.perf_counter() - start
    found = json.loads(done.stdout)
    return (
        f"{seconds:.2f} s, all of the process, to {found['numbers']} numbers: import {found['import']:.2f} s, embed "
        f"{found['embed']:.2f} s; heavy packages: {', '.join(found['heavy'])}"
    )


def main() -> None:
    """Measure, and print a line a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        chip = Path(folder) / "S2A_MSIL2A_20220603.tif"
        write_chip(chip)
        for _ in range(given.runs):
            print(first_vector(chip))


if __name__ == "__main__":
    main()
