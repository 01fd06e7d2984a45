"""Measure the data module against plain rasterio reads and numpy, with the same workers, on chips that it makes.

    python benchmarks/loading.py --chips 64 --workers 2

Both read 13-band int16 chips of 512 x 512 px, convert them to normalised float32 tensors and stack them in batches.
Times are taken in interleaved pairs; the ratio is ours divided by plain, and below 1.2 is the aim.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import rasterio
import torch
from torch.utils.data import DataLoader, Dataset

from eo_data.catalog.sources import ImageSource
from eo_data.datamodules import ChipDataModule
from eo_data.preprocess.dataset_normalise import DatasetNormalise
from eo_data.sensors.tables import SENTINEL2_L1C

BANDS = SENTINEL2_L1C.band_names
SIDE = 512
MEAN, STD = 0.2, 0.15


class PlainChips(Dataset[torch.Tensor]):
    """The least that anybody would write: read, scale, normalise."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        """Return the number of chips."""
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        """Return a chip."""
        with rasterio.open(self.paths[index]) as file:
            pixels = file.read().astype(np.float32)
        return torch.from_numpy((pixels * np.float32(1e-4) - np.float32(MEAN)) / np.float32(STD))


def write_chips(folder: Path, count: int, compress: str | None) -> list[Path]:
    """Write chips of smooth noise, so that compression has something to do, as with real images."""
    rng = np.random.default_rng(0)
    paths = []
    profile = {"driver": "GTiff", "count": 13, "height": SIDE, "width": SIDE, "dtype": "int16", "nodata": 0}
    for i in range(count):
        coarse = rng.normal(2000, 600, (13, SIDE // 8, SIDE // 8))
        pixels = np.kron(coarse, np.ones((8, 8))) + rng.normal(0, 40, (13, SIDE, SIDE))
        path = folder / f"chip_{i:03d}.tif"
        transform = rasterio.transform.from_origin(500_000 + 5120 * i, 4_000_000, 10, 10)
        with rasterio.open(path, "w", **profile, compress=compress, crs="EPSG:32630", transform=transform) as file:
            file.write(np.clip(pixels, 1, 9999).astype(np.int16))
            file.descriptions = BANDS
        paths.append(path)
    return paths


def seconds(loader: Iterable[object]) -> float:
    """Time to read everything once."""
    start = time.perf_counter()
    for _ in loader:
        pass
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chips", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--compress", help="such as deflate; none by default, as in Sen1Floods11")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        paths = write_chips(Path(name), options.chips, options.compress)
        means, stds = ({"s2": [value] * len(BANDS)} for value in (MEAN, STD))
        source = ImageSource("{id}.tif", BANDS, sensor="sentinel2_l1c", unit="digital_number")
        module = ChipDataModule(
            name,
            {"s2": source},
            DatasetNormalise(means, stds),
            batch_size=options.batch_size,
            num_workers=options.workers,
        )
        module.setup("predict")
        plain = DataLoader(PlainChips(paths), batch_size=options.batch_size, num_workers=options.workers)
        ours = module.predict_dataloader()
        pairs = [(seconds(plain), seconds(ours)) for _ in range(options.repeats)]
    ratios = [own / other for other, own in pairs]
    megabytes = options.chips * 13 * SIDE**2 * 2 / 2**20
    print(f"plain {min(p for p, _ in pairs):.2f} s, data module {min(o for _, o in pairs):.2f} s")
    print(f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f}..{max(ratios):.2f}), {megabytes:.0f} MiB of files")


if __name__ == "__main__":
    main()
