"""Measure what a tile of a large raster costs, by the way in which the raster is stored.

    python benchmarks/tiles.py --side 2745      # quick
    python benchmarks/tiles.py                  # Sentinel-2's 10 980 px: up to 3 GB in the temporary folder

The same ten bands are one tiled GeoTIFF, a GeoTIFF per band, brought to 10 m by ``resample_to``, a Zarr cube, and,
apart because decoding is slow and the files are smaller, a JPEG 2000 per band. Each layout is read in a process of its
own through the data module with ``tile``, as `terratorch predict` reads it. The first tile counts apart: it opens what
stays open. Seconds and memory
should not depend on the layout by more than a factor of 1.5, nor on the size of the raster. Rasters of 20 m that are
brought to 10 m take longer, because a window with its margin lies in 2.25 blocks on average, and each is decompressed.
The files have just been written, so the system holds them in memory; the peak is that of the process (Linux).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

BANDS = ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12")
#: The second half has 20 m pixels in the layout of two resolutions.
FINE = BANDS[:5]
CRS = "EPSG:32633"
ORIGIN = (500_000.0, 5_000_000.0)
BLOCK = 512
#: JPEG 2000 is coded in tiles of 1024 px, as Sentinel-2's products are.
JP2_BLOCK, JP2_SIDE = 1024, 2744


def band(number: int, side: int) -> np.ndarray:
    """Smooth noise, so that compression has something to do; uint16 ``(side, side)``."""
    rng = np.random.default_rng(number)
    coarse = rng.normal(2000, 600, (128, 128))
    block = np.kron(coarse, np.ones((8, 8))) + rng.normal(0, 40, (1024, 1024))
    repeats = -(-side // 1024)
    return np.tile(np.clip(block, 1, 9999).astype(np.uint16), (repeats, repeats))[:side, :side]


def geotiff(path: Path, bands: tuple[str, ...], side: int, metres: float) -> None:
    """Write bands as one tiled GeoTIFF, plane by plane."""
    import rasterio

    transform = rasterio.transform.from_origin(*ORIGIN, metres, metres)
    profile = {"driver": "GTiff", "count": len(bands), "height": side, "width": side, "dtype": "uint16", "crs": CRS}
    tiled = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate", "zlevel": 1}
    with rasterio.open(
        path, "w", **profile, **tiled, transform=transform, interleave="band", bigtiff="if_safer"
    ) as file:
        for i, name in enumerate(bands):
            file.write(band(BANDS.index(name), side), i + 1)
        file.descriptions = bands


def one_file(folder: Path, side: int) -> None:
    """Ten bands in one file."""
    geotiff(folder / "x.tif", BANDS, side, 10)


def band_files(folder: Path, side: int) -> None:
    """A file per band."""
    for name in BANDS:
        geotiff(folder / f"x_{name}.tif", (name,), side, 10)


def two_resolutions(folder: Path, side: int) -> None:
    """A file per band, five of 10 m and five of 20 m."""
    for name in BANDS:
        step = 1 if name in FINE else 2
        geotiff(folder / f"x_{name}.tif", (name,), side // step, 10 * step)


def coarse_file(folder: Path, side: int) -> None:
    """Ten bands of 20 m in one file."""
    geotiff(folder / "x.tif", BANDS, side // 2, 20)


def zarr(chunk: int) -> Callable[[Path, int], None]:
    """Ten variables of a Zarr cube."""

    def write(folder: Path, side: int) -> None:
        import pyproj
        import xarray

        centres = (np.arange(side) + 0.5) * 10
        coords = {"y": ORIGIN[1] - centres, "x": ORIGIN[0] + centres}
        spatial_ref = xarray.DataArray(0, attrs={"crs_wkt": pyproj.CRS(CRS).to_wkt()})
        for i, name in enumerate(BANDS):
            values = xarray.DataArray(band(i, side), coords, ("y", "x"), attrs={"grid_mapping": "spatial_ref"})
            cube = xarray.Dataset({name: values, "spatial_ref": spatial_ref})
            encoding = {name: {"chunks": (chunk, chunk)}}
            last = name == BANDS[-1]  # the metadata are gathered once all are there
            cube.to_zarr(folder / "x.zarr", mode="a", encoding=encoding, zarr_format=2, consolidated=last)

    return write


def jp2_files(folder: Path, side: int) -> None:
    """A JPEG 2000 per band, without loss."""
    import rasterio

    transform = rasterio.transform.from_origin(*ORIGIN, 10, 10)
    profile = {"driver": "JP2OpenJPEG", "count": 1, "height": side, "width": side, "dtype": "uint16", "crs": CRS}
    coding = {"QUALITY": "100", "REVERSIBLE": "YES", "BLOCKXSIZE": JP2_BLOCK, "BLOCKYSIZE": JP2_BLOCK}
    for i, name in enumerate(BANDS):
        with rasterio.open(folder / f"x_{name}.jp2", "w", **profile, **coding, transform=transform) as file:
            file.write(band(i, side), 1)


@dataclass(frozen=True)
class Layout:
    """How a raster is stored, and how the config says it."""

    write: Callable[[Path, int], None]
    source: dict[str, Any]
    largest: int = 1 << 31


#: Of the config of all of them; numbers of before 2022, which have no offset.
PLAIN: dict[str, Any] = {"bands": BANDS, "sensor": "sentinel2_l2a", "unit": "digital_number", "offset": 0.0}
LAYOUTS = {
    "one file": Layout(one_file, {"files": "{id}.tif"}),
    "file per band": Layout(band_files, {"files": "{id}_{band}.tif"}),
    "one file, to its 10 m": Layout(one_file, {"files": "{id}.tif", "resample_to": 10}),
    "per band, 10 and 20 m": Layout(two_resolutions, {"files": "{id}_{band}.tif", "resample_to": 10}),
    "one file, 20 m": Layout(coarse_file, {"files": "{id}.tif", "resample_to": 10}),
    "Zarr, chunks of 512": Layout(zarr(512), {"files": "{id}.zarr"}),
    "Zarr, chunks of 1024": Layout(zarr(1024), {"files": "{id}.zarr"}),
    "JP2 per band": Layout(jp2_files, {"files": "{id}_{band}.jp2"}, largest=JP2_SIDE),
}


def resident() -> int:
    """Bytes of memory that the process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def most_resident() -> int:
    """Bytes of memory that the process has held since the last `forget_most`, or since its start."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


def forget_most() -> None:
    """Start anew with `most_resident`, as Linux allows it."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(name: str, folder: Path, tile: int, count: int) -> dict[str, float]:
    """Seconds of the first and of a usual tile, and the memory that reading takes beyond what was there before."""
    import torch

    from eo_data.catalog.sources import ImageSource
    from eo_data.datamodules import ChipDataModule
    from eo_data.preprocess.dataset_normalise import DatasetNormalise

    torch.set_num_threads(1)
    source = ImageSource(**PLAIN, **LAYOUTS[name].source)
    means, stds = ({"s2": [value] * len(BANDS)} for value in (0.2, 0.15))
    module = ChipDataModule(
        str(folder), {"s2": source}, DatasetNormalise(means, stds), num_workers=0, tile=tile, georeference="always"
    )
    module.setup("predict")
    dataset = module.predict_dataset
    # All over the raster; which of them share a block of the file is the same for every layout.
    indices = np.linspace(0, len(dataset) - 1, count + 1).astype(int).tolist()
    forget_most()
    before = resident()
    seconds, means_of_tiles = [], []
    for index in indices:
        start = time.perf_counter()
        entry = dataset[index]
        seconds.append(time.perf_counter() - start)
        means_of_tiles.append(float(entry["image"].mean()))
    first, *others = seconds
    return {
        "first": first,
        "usual": statistics.median(others),
        "peak": (most_resident() - before) / 2**20,
        "mean": statistics.mean(means_of_tiles),
    }


def measured(options: argparse.Namespace) -> Iterator[tuple[str, dict[str, float]]]:
    """Write, measure and remove one layout after the other."""
    for name in options.layouts or LAYOUTS:
        side = min(options.side, LAYOUTS[name].largest) // 2 * 2
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            LAYOUTS[name].write(Path(folder), side)
            asked = ("--measure", name, "--folder", folder, "--tile", str(options.tile), "--tiles", str(options.tiles))
            run = [sys.executable, "-W", "ignore", __file__, *asked]
            done = subprocess.run(run, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
            if done.returncode:
                print(f"{name:<24} failed")
                continue
            yield name, json.loads(done.stdout.splitlines()[-1]) | {"side": side}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=10_980, help="of the raster in pixels, made even (10980)")
    parser.add_argument("--tile", type=int, default=512, help="side of a tile in pixels (512)")
    parser.add_argument("--tiles", type=int, default=8, help="tiles to measure after the first (8)")
    parser.add_argument("--layouts", nargs="+", choices=list(LAYOUTS), help="all by default; ratios are to the first")
    parser.add_argument("--folder", type=Path, help="where the rasters are written (the system's temporary folder)")
    parser.add_argument("--measure", choices=list(LAYOUTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.folder, options.tile, options.tiles)))
        return
    print(
        f"{'layout':<24} {'side':>6} {'first s':>8} {'s/tile':>8} {'ratio':>6} {'peak MiB':>9} {'ratio':>6} {'mean':>8}"
    )
    reference: dict[str, float] = {}
    for name, found in measured(options):
        reference = reference or found
        seconds, peak = (found[key] / max(reference[key], 1e-9) for key in ("usual", "peak"))
        print(
            f"{name:<24} {found['side']:>6} {found['first']:>8.3f} {found['usual']:>8.3f} {seconds:>6.2f} "
            f"{found['peak']:>9.0f} {peak:>6.2f} {found['mean']:>8.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
