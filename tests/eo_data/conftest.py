"""Small data sets that tests make themselves: GeoTIFFs, cubes and chips with known values."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from small_files import touch

from eo_data.catalog.sources import ImageSource, LabelSource
from eo_data.datamodules import ChipDataModule
from eo_data.preprocess.dataset_normalise import DatasetNormalise

LEFT, TOP = 500000.0, 5000000.0


def _write_tif(path: Path, pixels: np.ndarray, bands: Sequence[str | None] = (), **options: Any) -> Path:
    """Write ``(C, H, W)``; ``size`` is the pixel in metres, ``corner`` the upper left one, ``mask`` GDAL's own mask.

    The mask lies inside the file unless ``beside`` says otherwise; ``scales``, ``offsets`` and ``colours`` are tags of
    the bands.
    """
    size, corner = options.pop("size", 10.0), options.pop("corner", (LEFT, TOP))
    mask, tags, beside = options.pop("mask", None), options.pop("tags", {}), options.pop("beside", False)
    of_bands = {"scales": "scales", "offsets": "offsets", "colours": "colorinterp"}
    of_bands = {attribute: options.pop(name) for name, attribute in of_bands.items() if name in options}
    options.setdefault("driver", "GTiff")
    options.setdefault("crs", "EPSG:32632")
    options.setdefault("transform", Affine(size, 0, corner[0], 0, -size, corner[1]))
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = pixels.shape
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=not beside, GDAL_DISABLE_READDIR_ON_OPEN=False),
        rasterio.open(path, "w", count=count, height=height, width=width, dtype=pixels.dtype, **options) as file,
    ):
        file.write(pixels)
        for attribute, values in of_bands.items():
            setattr(file, attribute, tuple(values))
        if bands:
            file.descriptions = tuple(bands)
        if mask is not None:
            file.write_mask(mask)
        file.update_tags(**tags)
    return path


@pytest.fixture
def write_tif() -> Callable[..., Path]:
    """Write a GeoTIFF of 10 m pixels in UTM."""
    return _write_tif


def _write_cube(path: Path, variables: dict[str, Any], coordinates: dict[str, Any], **attributes: object) -> Path:
    import xarray

    path.parent.mkdir(parents=True, exist_ok=True)
    cube = xarray.Dataset(variables, coords=coordinates, attrs=attributes)
    if path.suffix == ".zarr":
        cube.to_zarr(path)
    else:
        cube.to_netcdf(path, engine="h5netcdf")
    return path


@pytest.fixture
def write_cube() -> Callable[..., Path]:
    """Write a NetCDF or Zarr cube from variables and coordinates of xarray."""
    return _write_cube


def _pixel_centres(n: int, *, north_up: bool = True) -> dict[str, np.ndarray]:
    y = TOP - 5 - 10 * np.arange(n)
    return {"y": y if north_up else y[::-1], "x": LEFT + 5 + 10 * np.arange(n)}


@pytest.fixture
def pixel_centres() -> Callable[..., dict[str, np.ndarray]]:
    """Coordinates of a cube of n x n pixels on the grid that `write_tif` uses."""
    return _pixel_centres


@pytest.fixture
def chips(tmp_path: Path) -> Callable[..., Path]:
    """Write chips with a label each; chip i holds 1000 + 100 i and 2000 + 100 i, and its label is i."""

    def write(names: Sequence[str] = ("a", "b", "c", "d"), side: int = 16, *, label: bool = True) -> Path:
        root = tmp_path / "set"
        for i, name in enumerate(names):
            pixels = np.stack([np.full((side, side), value + 100 * i, dtype=np.uint16) for value in (1000, 2000)])
            _write_tif(root / "img" / f"{name}_S2.tif", pixels, ("B2", "B3"))
            if label:
                _write_tif(root / "lab" / f"{name}_L.tif", np.full((1, side, side), i, dtype=np.int16))
        (root / "all.txt").write_text("\n".join(names))
        return root

    return write


@pytest.fixture
def chip_module(tmp_path: Path) -> Callable[..., ChipDataModule]:
    """Make a data module on `chips`, whose images come out as plain reflectance; arguments replace its own."""

    def make(root: Path, kind: type[ChipDataModule] = ChipDataModule, **arguments: Any) -> ChipDataModule:
        source = {
            "files": "img/{id}_S2.tif",
            "bands": ["BLUE", "GREEN"],
            "sensor": "sentinel2_l2a",
            "unit": "digital_number",
        } | arguments.pop("source", {})
        modalities = arguments.pop("modalities", {}) or {"S2": ImageSource(**source)}
        counts = {name: len(entry.bands) for name, entry in modalities.items()}
        plain = DatasetNormalise({n: [0.0] * c for n, c in counts.items()}, {n: [1.0] * c for n, c in counts.items()})
        defaults = {
            "preprocess": plain,
            "label": LabelSource("lab/{id}_L.tif", classes=10),
            "train_split": "all.txt",
            "val_split": "all.txt",
            "batch_size": 2,
            "num_workers": 0,
            "skipped_file": str(tmp_path / "out" / "skipped.csv"),
        }
        return kind(root=str(root), modalities=modalities, **(defaults | arguments))

    return make


@pytest.fixture
def pastis(tmp_path: Path) -> Path:
    """Five patches, one per fold; the second has eleven Sentinel-2 dates, written as text and not in their order."""
    eleven = {str(i): int(f"201810{i + 10}") for i in range(11)}
    jumbled = json.dumps(dict(sorted(eleven.items())))
    assert list(json.loads(jumbled))[:3] == ["0", "1", "10"]
    features = []
    for fold in range(1, 6):
        number = 10000 + fold
        dates: dict[str, Any] = {"dates-S2": {"0": 20180924, "1": 20181231}, "dates-S1A": {"0": 20190105}}
        if fold == 2:
            dates["dates-S2"] = jumbled
        patch = {"ID_PATCH": number, "Fold": fold, "TILE": "t30uxv", "dates-S1D": {}, **dates}
        features.append({"type": "Feature", "properties": patch, "geometry": None})
        touch(tmp_path, *(f"DATA_{name}/{name}_{number}.npy" for name in ("S2", "S1A")))
        touch(tmp_path, f"ANNOTATIONS/TARGET_{number}.npy")
    (tmp_path / "metadata.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    for name, n_bands in (("S2", 10), ("S1A", 3)):
        folds = {
            f"Fold_{k}": {"mean": [100.0 * k + b for b in range(n_bands)], "std": [10.0 * k] * n_bands}
            for k in range(1, 6)
        }
        (tmp_path / f"NORM_{name}_patch.json").write_text(json.dumps(folds))
    return tmp_path


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Nine scenes in folders of three classes, some of them named by a split."""
    for name in ("River", "AnnualCrop", "Forest"):
        touch(tmp_path, *(f"tif/{name}/{name}_{i}.tif" for i in (1, 2, 10)))
    (tmp_path / "train.txt").write_text("River_1.jpg\nForest_10.jpg\n\n")
    (tmp_path / "val.txt").write_text("AnnualCrop_2.jpg\n")
    return tmp_path
