"""Measure what each way to store embeddings takes on the disk, and what a probe loses by it.

    python benchmarks/formats.py ../shared/data --out formats.json

Two tasks with labels, cell by cell: water on four chips of Sen1Floods11 from Sentinel-1 (THOR tiny, patch of 8 px;
mIoU), and land cover of an area in Slovenia from four dates of Sentinel-2 (AnySat tiny; accuracy). The cells lie in
stripes of rows, which are tested in turn; a logistic regression on standardised numbers of at most 3000 cells of the
others is the probe. Each way is made by `eo convert` of one export and read back by `open_embeddings` or xarray, so
that the table counts what users get.

There are no published weights here: the encoders start from random ones (seed 0). So the loss of each way against
float32 is what can be read off, not how good an encoder is.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
import xarray as xr
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from eo_embed import embed, open_embeddings
from eo_embed.export.record.manifest import Manifest
from eo_embed.reading.publishing.convert import Conversion, convert
from eo_embed.writers.embedding import Embedding
from eo_embed.writers.geotiff import GridWriter
from eo_embed.writers.quantise import Encoding
from eo_models.precision.numbers import Precision

#: Name of each way, and how it is made.
WAYS: Mapping[str, Conversion] = {
    "float32": Conversion("cog"),
    "float16": Conversion("cog", dtype="float16"),
    "int8, scale a band": Conversion("cog", dtype="int8"),
    "int8, length one": Conversion("cog", dtype="int8", unit_length=True),
    "int8_alphaearth": Conversion("cog", dtype="int8_alphaearth", unit_length=True),
    "int8, scale a cell (Zarr)": Conversion("zarr"),
    "PCA 64": Conversion("cog", components=64),
    "PCA 64, int8": Conversion("cog", components=64, dtype="int8"),
    "PCA 16, int8": Conversion("cog", components=16, dtype="int8"),
}

#: Stripes that an area is cut into, and most cells that a probe learns from.
STRIPES, MOST = 4, 3000


@dataclass(frozen=True)
class Task:
    """Grids of cells, the class of each cell (-1 for none), and which cells are tested together."""

    name: str
    export: Path
    labels: Mapping[str, np.ndarray]
    folds: Mapping[str, np.ndarray]
    km2: float
    score: Callable[[np.ndarray], float]


def majority(labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the most frequent class (-1 is none) of the pixels of each cell."""
    rows = np.minimum(np.arange(labels.shape[0]) * shape[0] // labels.shape[0], shape[0] - 1)
    columns = np.minimum(np.arange(labels.shape[1]) * shape[1] // labels.shape[1], shape[1] - 1)
    cells = (rows[:, None] * shape[1] + columns).ravel()
    classes = np.unique(labels[labels >= 0])
    counts = np.stack([np.bincount(cells[labels.ravel() == one], minlength=shape[0] * shape[1]) for one in classes])
    return np.where(counts.any(axis=0), classes[counts.argmax(axis=0)], -1).reshape(shape)


def stripes(shape: tuple[int, ...]) -> np.ndarray:
    """Return the number of the stripe of rows that each cell lies in."""
    return np.broadcast_to(np.arange(shape[0])[:, None] * STRIPES // shape[0], shape)


def write_export(folder: Path, name: str, grids: Mapping[str, xr.DataArray]) -> None:
    """Write grids as an export."""
    manifest = Manifest.create(folder, {"task": {"backbone": name, "seed": 0}}, {})
    for key, grid in grids.items():
        place, crs = grid.attrs["transform"], grid.attrs["crs"]
        own = Embedding(key, grid=grid.values, transform=place, crs=crs, shape=grid.shape[1:])
        GridWriter(folder, Encoding("float32")).write(own)
    entries = [{"id": key, "layer": "", "dates": [], "sources": [], "files": [f"grids/{key}.tif"]} for key in grids]
    manifest.complete({"done": len(entries)}, entries, [])


def water(data: Path, folder: Path, precision: Precision = "32") -> Task:
    """Return the task of Sen1Floods11; ``precision`` as of `eo_embed.embed`."""
    grids, labels = {}, {}
    for path in sorted((data / "sen1floods11_v1.1/data/S1GRDHand").glob("*_S1Hand.tif")):
        name = path.name.removesuffix("_S1Hand.tif")
        torch.manual_seed(0)
        stated: dict[str, Any] = {"sensor": "sentinel1", "bands": ["VV", "VH"], "unit": "decibel", "patch_size": 8}
        found = embed("thor_v1_tiny", path, pretrained=False, precision=precision, **stated)
        grids[name] = found.grid
        with rasterio.open(path.parent.parent / "LabelHand" / f"{name}_LabelHand.tif") as file:
            labels[name] = majority(file.read(1), found.grid.shape[1:])
    write_export(folder, "thor_v1_tiny", grids)
    folds = {name: stripes(own.shape) for name, own in labels.items()}
    return Task("water, mIoU", folder, labels, folds, len(grids) * 512**2 * 1e-4, mean_iou)


def land_cover(data: Path, folder: Path, precision: Precision = "32") -> Task:
    """Return the task of eo-learn's example area; ``precision`` as of `eo_embed.embed`."""
    place = data / "s2_l1c_timeseries_eolearn"
    paths = [path for path in sorted(place.glob("S2L1C_*.tif")) if "20150820" not in path.name]
    torch.manual_seed(0)
    stated: dict[str, Any] = {"sensor": "sentinel2_l1c", "unit": "digital_number", "offset": 0, "pretrained": False}
    found = embed("anysat_tiny", paths, non_square="crop", precision=precision, **stated)
    with rasterio.open(place / "LULC.tif") as file:
        top = round((found.grid.attrs["transform"].f - file.transform.f) / file.transform.e)
        own = majority(file.read(1)[top : top + file.width].astype(int), found.grid.shape[1:])
    write_export(folder, "anysat_tiny", {"area": found.grid})
    return Task("land cover, accuracy", folder, {"area": own}, {"area": stripes(own.shape)}, 101 * 100 * 1e-4, accuracy)


def mean_iou(confusion: np.ndarray) -> float:
    """Return the mean over the classes of intersection over union."""
    hits = np.diag(confusion).astype(float)
    return float(np.mean(hits / np.maximum(confusion.sum(0) + confusion.sum(1) - hits, 1)))


def accuracy(confusion: np.ndarray) -> float:
    """Return the share of cells whose class is right."""
    return float(np.trace(confusion) / confusion.sum())


def stored(task: Task, conversion: Conversion, out: Path) -> tuple[dict[str, np.ndarray], int]:
    """Convert an export; return the grids as a reader gets them, and the bytes of their files."""
    if conversion.to == "cog":
        convert(task.export, out, conversion)
        grids = {name: open_embeddings(out).grid(name).values for name in task.labels}
    else:  # chips of their own lattices: a store each
        grids = {}
        for name in task.labels:
            ((store, _),) = convert(task.export, out / name, Conversion("zarr", ids=name))
            group = next((path.name for path in store.iterdir() if path.name.startswith("utm")), None)
            data = xr.open_zarr(store, group=group, chunks=None)
            scales = data["scales"].where(np.isfinite(data["scales"]))
            grids[name] = (data["embeddings"] * scales).isel(time=0).values.astype(np.float32)
    files = (path for path in out.rglob("*") if path.is_file() and path.name != "manifest.json")
    return grids, sum(path.stat().st_size for path in files)


def probed(task: Task, grids: Mapping[str, np.ndarray]) -> float:
    """Return the score of the probe over all folds."""
    vectors, labels, folds = (np.concatenate(list(own)) for own in zip(*_cells(task, grids), strict=True))
    classes = np.unique(labels)
    total = np.zeros((len(classes), len(classes)), np.int64)
    for fold in np.unique(folds):
        test = folds == fold
        learned = np.random.default_rng(0).permutation(np.flatnonzero(~test))[:MOST]
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=100, C=0.1))
        found = probe.fit(vectors[learned], labels[learned]).predict(vectors[test])
        np.add.at(total, (np.searchsorted(classes, labels[test]), np.searchsorted(classes, found)), 1)
    return task.score(total)


def _cells(task: Task, grids: Mapping[str, np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    for name, own in task.labels.items():
        known = (own >= 0) & np.isfinite(grids[name]).all(axis=0)
        yield grids[name][:, known].T, own[known], task.folds[name][known]


def measure(task: Task, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield a row for each way."""
    for name, conversion in WAYS.items():
        depth = next(iter(open_embeddings(task.export).grids_of().values()))().shape[0]
        if conversion.components > depth:
            continue
        start = time.perf_counter()
        grids, size = stored(task, conversion, folder / name.replace(" ", "-"))
        yield {
            "task": task.name, "way": name, "depth": depth, "bytes": size, "mb_per_km2": size / 1e6 / task.km2,
            "score": probed(task, grids), "seconds": time.perf_counter() - start,
        }  # fmt: skip


TASKS = (water, land_cover)


def main() -> None:
    """Run all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with sen1floods11_v1.1 and s2_l1c_timeseries_eolearn")
    parser.add_argument("--out", type=Path, help="JSON file for the rows")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        for number, make in enumerate(TASKS):
            folder = Path(temporary) / str(number)
            own: list[dict[str, Any]] = []
            for row in measure(make(given.data, folder / "export"), folder):
                own.append(row)
                loss = 100 * (row["score"] - own[0]["score"])
                print(
                    f"| {row['task']} | {row['way']} | {row['mb_per_km2']:.3f} | {row['bytes'] / own[0]['bytes']:.2f} "
                    f"| {100 * row['score']:.1f} | {loss:+.1f} |",
                    flush=True,
                )
            rows += own
    if given.out:
        given.out.write_text(json.dumps(rows, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
