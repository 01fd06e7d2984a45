"""A small data set, an export of it by a stand-in encoder, and whether two exports are the same."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import rasterio
import small_cubes
import torch
import torch.nn.functional as F
from affine import Affine
from rasterio.shutil import copy
from torch import nn
from torch.utils.data import DataLoader

from eo_data.catalog.sources import ImageSource
from eo_data.dataset.batch import collate
from eo_data.dataset.chip_splits import ChipSplits
from eo_data.dataset.dataset import EoDataset
from eo_data.preprocess.dataset_normalise import DatasetNormalise
from eo_embed import Exporter, ExportSettings, open_embeddings
from eo_embed.export.facts import export_facts
from eo_models.features import Features

CHIPS, BATCH, SIDE, CELLS, DEPTH = 8, 2, 32, 4, 16
INDEX, DATES = "index.csv", "dates.csv"
FORMATS = ("geotiff", "zarr", "netcdf", "npz")
#: What is exported, and the format: chips, and large rasters by tiles, which formats put together from a work file.
SCENES = (*(("tif", form) for form in FORMATS), ("large", "geotiff"), ("large", "zarr"))
#: How large rasters are cut, and their sides: two of several tiles, one of which has a part without data.
TILES: Mapping[str, Any] = {"tile": 48, "halo": 8, "tile_align": 8}
LARGE = {"big": (96, 80), "other": (64, 48)}
#: Digital number of no data in large rasters.
NO_DATA = 0


class StandIn(nn.Module):
    """Cells of 8 pixels: means of the pixels, times numbers of their own, plus the day of the year."""

    def forward(self, image: Mapping[str, torch.Tensor], **_: Any) -> list[Features]:
        pooled = F.avg_pool2d(image["S2"], SIDE // CELLS).mean(dim=1, keepdim=True)
        grid = pooled * torch.arange(1.0, DEPTH + 1)[:, None, None] + image["S2_dates"].float()[:, :, None, None]
        return [Features(grid.flatten(2).transpose(1, 2), None, grid)]


@dataclass(frozen=True)
class Plan:
    """What is exported, and how.

    Parameters
    ----------
    root, out : Path
        The data set, and the folder of the export.
    grid_format : str
        Of grids.
    overwrite : bool
        Whether what is there is replaced.
    ranks : int
        Among how many processes the batches are shared out.
    half : int, optional
        Which half of the samples is exported, as by a run that gets no more.
    """

    root: Path
    out: Path
    grid_format: str = "geotiff"
    output: str = "both"
    overwrite: bool = False
    ranks: int = 1
    half: int | None = None


def pixels_of(seed: int) -> np.ndarray:
    """Digital numbers of two bands that depend on a seed."""
    return np.random.default_rng(seed).integers(500, 4000, (2, SIDE, SIDE)).astype(np.uint16)


def make_data(root: Path, seed: int = 0, kind: str = "tif", chips: int = CHIPS) -> Path:
    """Write a data set: an index with dates, and a chip for each sample, the first with a mask beside it.

    The kind is the suffix of chips; ``dated``: GeoTIFFs whose dates are in a file of their own; or ``large``: rasters
    that are cut into tiles.
    """
    if kind == "large":
        return _make_large(root, seed)
    dated, kind = kind == "dated", "tif" if kind == "dated" else kind
    (root / "s2").mkdir(parents=True)
    for i in range(chips):
        write_chip(root / "s2" / f"{i}.{kind}", pixels_of(100 * seed + i), i, mask=i == 0)
    rows = [{"id": f"a/{i}", "S2": f"s2/{i}.{kind}", "S2_dates": f"2021-03-{i + 1:02d}"} for i in range(chips)]
    if dated:
        write_rows(root / DATES, [{"id": row["id"], "date": row.pop("S2_dates")} for row in rows])
    write_rows(root / INDEX, rows)
    return root


def _make_large(root: Path, seed: int) -> Path:
    (root / "s2").mkdir(parents=True)
    for i, name in enumerate(LARGE):
        write_large(root / "s2" / f"{name}.tif", 100 * seed + i, LARGE[name])
    write_rows(root / INDEX, [{"id": f"a/{name}", "S2": f"s2/{name}.tif", "S2_dates": "2021-03-01"} for name in LARGE])
    return root


def write_large(path: Path, seed: int, shape: tuple[int, int]) -> None:
    """Write a raster of several tiles, in one of which there is no data."""
    pixels = np.random.default_rng(seed).integers(500, 4000, (2, *shape)).astype(np.uint16)
    pixels[:, : SIDE + 8, : SIDE + 8] = NO_DATA
    profile = {"driver": "GTiff", "count": 2, "dtype": "uint16", "crs": "EPSG:32633", "nodata": NO_DATA}
    place = Affine(10, 0, small_cubes.LEFT, 0, -10, small_cubes.TOP)
    with rasterio.open(path, "w", transform=place, height=shape[0], width=shape[1], **profile) as file:
        file.write(pixels)
        file.descriptions = ("B2", "B3")


def write_chip(path: Path, pixels: np.ndarray, place: int, *, mask: bool = False) -> None:
    """Write one chip, the ``place``-th to the east."""
    if path.suffix == ".vrt":
        source = path.with_name(f"{path.stem}_of_vrt.tif")
        write_chip(source, pixels, place)
        copy(source, path, driver="VRT")
        return
    if path.suffix == ".zarr":
        places = small_cubes.places(SIDE)
        places["x"] = places["x"] + 10 * SIDE * place
        small_cubes.written(
            path, small_cubes.in_utm(small_cubes.stacked(pixels, band=["B02", "B03"], **places)), mode="w"
        )
        return
    transform = Affine(10, 0, small_cubes.LEFT + 10 * SIDE * place, 0, -10, small_cubes.TOP)
    profile = {"driver": "GTiff", "count": 2, "height": SIDE, "width": SIDE, "dtype": "uint16", "crs": "EPSG:32633"}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False),
        rasterio.open(path, "w", transform=transform, **profile) as file,
    ):
        file.write(pixels)
        file.descriptions = ("B2", "B3")
        if mask:
            seen = np.full((SIDE, SIDE), 255, dtype=np.uint8)
            seen[: SIDE // CELLS, : SIDE // 2] = 0
            file.write_mask(seen)


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def data_of(root: Path) -> ChipSplits:
    """Return the data module of a data set, without Lightning."""
    days = DATES if (root / DATES).is_file() else None
    source = ImageSource(bands=["B2", "B3"], sensor="sentinel2_l2a", unit="digital_number", dated=True, date_index=days)
    plain = DatasetNormalise({"S2": [0.0, 0.0]}, {"S2": [1.0, 1.0]})
    tiles: dict[str, Any] = TILES if (root / "s2" / "big.tif").is_file() else {}
    return ChipSplits(str(root), {"S2": source}, plain, index=INDEX, batch_size=BATCH, num_workers=0, **tiles)


def samples_of(root: Path) -> EoDataset:
    return data_of(root).dataset("predict")


def begun(plan: Plan, rank: int = 0, encoder: nn.Module | None = None) -> tuple[Exporter, DataLoader[Any]]:
    """Return the exporter of one process, and the batches that it will get."""
    data = data_of(plan.root)
    dataset = data.dataset("predict")
    settings = ExportSettings(output=plan.output, grid_format=plan.grid_format, overwrite=plan.overwrite)  # type: ignore[arg-type]
    facts = export_facts({"backbone": "stand-in", **settings.facts()}, "0" * 64, "32-true", data)
    exporter = Exporter(plan.out, encoder or StandIn(), settings, facts, rank=rank, root=data.root)
    order = range(rank, len(dataset), plan.ranks) if plan.half is None else range(plan.half, len(dataset), 2)
    return exporter, DataLoader(dataset, batch_size=BATCH, sampler=list(order), collate_fn=collate)


def export(plan: Plan, encoder: nn.Module | None = None) -> None:
    """Export in this process, as a plain loop does."""
    exporter, batches = begun(plan, encoder=encoder)
    exporter.run(batches, alone=plan.ranks == 1)


def content(out: Path) -> dict[str, Any]:
    """Return all that an export holds, as plain values: rows, grids, and what the manifest says of the inputs."""
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = {key: manifest[key] for key in ("state", "facts", "fingerprint", "failures")}
    own = open_embeddings(out, allow_incomplete=True)
    found["inputs"] = _timeless(_inputs(manifest, out))
    table = out / "embeddings.parquet"
    found["rows"] = [] if not table.is_file() else pq.read_table(table).to_pylist()
    for id_, layer in sorted(own.grid_files):
        grid = own.grid(id_, layer)
        texts = {key: str(value) for key, value in grid.attrs.items()}
        digest = hashlib.sha256(np.ascontiguousarray(grid.values).tobytes()).hexdigest()
        found[f"grid {id_} {layer}"] = [digest, grid.shape, texts]
    found["left over"] = sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.name.startswith(".partial-"))
    found["left over"] += [name for name in ("progress", "parts") if (out / name).exists()]
    return found


def compared(out: Path, expected: Mapping[str, Any]) -> str:
    """Return in what an export differs from what is expected, or that it cannot be read; nothing if it is the same."""
    try:
        found = content(out)
    except Exception as error:  # noqa: BLE001  (whatever its readers say of it)
        return f"it cannot be read: {type(error).__name__}: {str(error)[:150]}"
    return difference(found, expected)


def _timeless(value: Any) -> Any:
    """Leave out when files changed: a file that was only touched is the same."""
    if isinstance(value, dict):
        return {key: _timeless(own) for key, own in value.items() if key not in ("mtime", "ctime")}
    return [_timeless(own) for own in value] if isinstance(value, list) else value


def _inputs(manifest: Mapping[str, Any], out: Path) -> list[Any]:
    """What is known of each input: from the manifest, or from the table beside it."""
    if isinstance(manifest.get("inputs"), list) and manifest["inputs"]:
        return list(manifest["inputs"])
    tables = [path for path in out.glob("*.parquet") if path.name != "embeddings.parquet"]
    return [row for path in sorted(tables) for row in pq.read_table(path).to_pylist()]


def difference(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Return in what an export differs from another one, or nothing."""
    for key in (*expected, *(key for key in found if key not in expected)):
        if key not in found or key not in expected:
            return f"{key} is only in {'the fresh one' if key in expected else 'this one'}"
        if found[key] != expected[key]:
            return f"{key}: {_first(found[key], expected[key])}"
    return ""


def _first(a: Any, b: Any) -> str:
    if isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            return f"{len(a)} entries instead of {len(b)}"
        return next(_first(x, y) for x, y in zip(a, b, strict=True) if x != y)
    if isinstance(a, dict) and isinstance(b, dict):
        return next(f"{key}: {_first(a.get(key), b.get(key))}" for key in {**a, **b} if a.get(key) != b.get(key))
    return f"{str(a)[:80]} instead of {str(b)[:80]}"
