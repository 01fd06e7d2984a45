"""Real dated series through the registry, in the words of a user's script; numbers from independent code."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio
import torch

#: File order of the bands that AnySat reads among the thirteen of the product.
READ = [name for name in (f"B{i:02d}" for i in range(1, 13)) if name not in ("B01", "B09", "B10")] + ["B8A"]
#: The frame of 2015-08-20, 97 % of which is cloud.
CLOUDY = 2


@pytest.fixture(scope="module")
def registry() -> Any:
    from terratorch.registry import BACKBONE_REGISTRY

    import anysat_ext  # noqa: F401

    return BACKBONE_REGISTRY


@pytest.fixture(scope="module")
def series(shared: Path) -> tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]:
    """Pixels ``(1, 10, 5, 100, 100)``, days ``(1, 5)`` and the bands of five Sentinel-2 L1C scenes of 2015."""
    frames, days, bands = [], [], None
    for path in sorted((shared / "data" / "s2_l1c_timeseries_eolearn").glob("S2L1C_*.tif")):
        with rasterio.open(path) as file:
            chosen = [i for i, name in enumerate(file.descriptions, start=1) if name in READ]
            frames.append(file.read(chosen).astype(np.float32)[:, :100, :100])
            bands = tuple(file.descriptions[i - 1] for i in chosen)
        day = datetime.date.fromisoformat(path.stem.split("_")[1][:8])
        days.append((day - datetime.date(day.year, 1, 1)).days)
    assert bands
    pixels = torch.from_numpy(np.stack(frames, axis=1))[None]
    mean, std = (getattr(pixels, name)(dim=(2, 3, 4), keepdim=True) for name in ("mean", "std"))
    return (pixels - mean) / std, torch.tensor([days]), bands


def build(registry: Any, golden: Any, size: str = "tiny", **arguments: Any) -> Any:
    backbone = registry.build(f"anysat_{size}", pretrained=False, **arguments).eval()
    golden.fill_module(backbone.model)
    return backbone


def relative(actual: torch.Tensor, expected: torch.Tensor | np.ndarray) -> float:
    wanted = torch.as_tensor(expected).double()
    return float((actual.double() - wanted).abs().max() / wanted.abs().max())


@torch.no_grad()
def test_features_of_a_dated_series_are_those_of_the_core_fed_by_hand(registry: Any, golden: Any, series: Any) -> None:
    pixels, days, bands = series
    assert days.tolist() == [[191, 211, 231, 241, 251]]  # 11 and 31 July, 20 and 30 August, 9 September
    backbone = build(registry, golden, modalities=["s2"], bands={"s2": bands}, patch_size=100)
    (features,) = backbone({"s2": pixels, "s2_dates": days})
    assert features.shape == (1, 256, 10, 10)
    order = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]
    by_hand = pixels[:, [bands.index(name) for name in order]].transpose(1, 2)
    expected = backbone.model({"s2": by_hand, "s2_dates": days}, 100)
    assert relative(features, expected.permute(0, 3, 1, 2)) < 1e-6
    (undated,) = backbone({"s2": pixels, "s2_dates": torch.zeros_like(days)})
    assert relative(undated, features) > 1e-3


@torch.no_grad()
def test_a_cloudy_frame_can_be_left_out_by_mask(registry: Any, golden: Any, series: Any) -> None:
    pixels, days, bands = series
    backbone = build(registry, golden, modalities=["s2"], bands={"s2": bands}, patch_size=100)
    clear = [frame for frame in range(5) if frame != CLOUDY]
    mask = torch.ones_like(days, dtype=torch.bool)
    mask[:, CLOUDY] = False
    (masked,) = backbone({"s2": pixels, "s2_dates": days, "s2_mask": mask})
    (dropped,) = backbone({"s2": pixels[:, :, clear], "s2_dates": days[:, clear]})
    (cloudy,) = backbone({"s2": pixels, "s2_dates": days})
    assert relative(masked, dropped) < 5e-6
    assert relative(cloudy, dropped) > 1e-2


def days_of(products: Sequence[bytes], part: int) -> list[int]:
    """Days of the year counted from 1, as the published loader of this data set counts, from product names."""
    dates = [datetime.date.fromisoformat(name.decode().split("_")[part][:8]) for name in products]
    return [date.timetuple().tm_yday for date in dates]


@pytest.fixture(scope="module")
def treesat(shared: Path, golden: Any) -> dict[str, torch.Tensor]:
    """The TreeSatAI-TS plot from its files, normalised with the statistics of its data set."""
    stem = shared / "data" / "treesatai_anysat" / "Abies_alba_1_1005_WEFL_NLF"
    raw = {}
    with rasterio.open(stem.with_suffix(".tif")) as file:
        raw["aerial"] = file.read()[:, 2:302, 2:302]
    with h5py.File(stem.with_suffix(".h5")) as file:
        raw["s2"] = file["sen-2-data"][:]
        vv_vh = file["sen-1-asc-data"][:].astype(np.float32)
        raw["s1"] = np.concatenate([vv_vh, vv_vh[:, :1] / (vv_vh[:, 1:] + 1e-10)], axis=1)
        days = {"s2": days_of(file["sen-2-products"][:], 2), "s1": days_of(file["sen-1-asc-products"][:], 4)}
    data = {}
    for name, (mean, std) in golden.read_json("real.json")["stats"].items():
        scaled = (raw[name].astype(np.float32) - np.float32(mean)[:, None, None]) / np.float32(std)[:, None, None]
        image = torch.from_numpy(scaled)[None]
        data[name] = image.transpose(1, 2) if image.ndim == 5 else image
    return data | {f"{name}_dates": torch.tensor([value]) for name, value in days.items()}


@torch.no_grad()
@pytest.mark.parametrize(("size", "patch_size"), [("tiny", 10), ("tiny", 60), ("base", 10)])
def test_features_of_the_treesat_plot_are_the_published_ones(
    size: str, patch_size: int, registry: Any, golden: Any, treesat: Any
) -> None:
    names = ["aerial", "s2", "s1"]
    backbone = build(registry, golden, size, modalities=names, patch_size=patch_size)
    (features,) = backbone(treesat)
    key = f"real_{size}_p{patch_size}|patch"
    expected = golden.read_arrays("golden_real.npz")[key]
    (about,) = [entry for entry in golden.read_json("real.json")["results"] if entry["key"] == key]
    published = features.permute(0, 2, 3, 1)
    assert list(published.shape) == about["shape"]
    assert relative(published.flatten()[:: about["stride"]], expected) < 5e-6
