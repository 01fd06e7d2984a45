"""`embed` gives what ``terratorch predict`` exports with the same settings and weights: numbers, places, weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from pyproj import CRS, Transformer
from small_scenes import CORNER, S2_BANDS, numbers, write_scene

from eo_data.raster.raster import shifted, to_map
from eo_embed import BBox, Embedded, PointBuffer, embed, open_embeddings
from eo_embed.export.opening import Export
from eo_models.preset import find_preset

#: Differences of float32 between a batch of one and a batch of several.
NOISE = {"rtol": 1e-5, "atol": 2e-6}
SAMPLE = "datasets/sample/v1.1"
#: Of the embedded sample: without a map projection, and with one.
CHIPS = {"Ghana_SYN03": "2018-09-19", "Spain_SYN01": "2019-09-18"}
SAMPLE_BANDS = (*("COASTAL_AEROSOL", *S2_BANDS[:7], "NIR_NARROW", "WATER_VAPOR", "CIRRUS", "SWIR_1", "SWIR_2"),)
LOADING = {"batch_size": 2, "num_workers": 0}
DAYS = ("2022-06-03", "2022-06-13", "2022-07-08")
SCENES = {"sensor": "sentinel2_l2a", "bands": list(S2_BANDS), "unit": "digital_number", "dated": True}
ANYSAT = {"class_path": "anysat_ext.AnySatPreprocess", "init_args": {"image_size": None, "patch_size": 80}}
THOR = {"class_path": "thor_terratorch_ext.ThorPreprocess", "init_args": {"patch_size": 8}}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Random weights of both encoders, as files."""
    folder = tmp_path_factory.mktemp("weights")
    found = {}
    for name, arguments in (("thor_v1_tiny", {"model_bands": ["VV"]}), ("anysat_tiny", {})):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            backbone = find_preset(name).build(name, {"pretrained": False, **arguments}, (-1,))
        torch.save(backbone.model.state_dict(), folder / f"{name}.pt")
        found[name] = str(folder / f"{name}.pt")
    return found


@pytest.fixture
def predicted(tmp_path: Path, weights: dict[str, str]) -> Callable[..., Export]:
    """Run a config of the data and backbone arguments that are given."""

    def run(kind: str, data: dict[str, Any], backbone: str, **arguments: Any) -> Export:
        from terratorch.cli_tools import build_lightning_cli

        trainer = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
        model = {
            "backbone": backbone,
            "backbone_args": {"pretrained": False, "ckpt": weights[backbone], **arguments},
            "out": str(tmp_path / "predicted"),
            "output": "both",
        }
        config = {
            "trainer": trainer | {"default_root_dir": str(tmp_path)},
            "data": {
                "class_path": f"eo_data.datamodules.{kind}",
                "init_args": {"batch_size": 2, "num_workers": 0} | data,
            },
            "model": {"class_path": "eo_embed.EmbeddingTask", "init_args": model},
        }
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump(config, sort_keys=False))
        build_lightning_cli(["predict", "--config", str(file)])
        return open_embeddings(tmp_path / "predicted")

    return run


def assert_same(found: Embedded, export: Export) -> None:
    """Compare one embedding with that of its id in an export: numbers, place and weights."""
    assert export.pooled is not None
    row = export.pooled.set_index("id").loc[found.id]
    np.testing.assert_allclose(found.vector, row.embedding, **NOISE)
    grid = export.grid(found.id)
    np.testing.assert_allclose(found.grid.to_numpy(), grid.to_numpy(), **NOISE)
    assert found.transform is not None
    assert found.transform.almost_equals(grid.attrs["transform"], 1e-9)
    assert CRS(found.crs) == CRS(grid.attrs["crs"])
    assert [day.isoformat() for day in found.dates] == list(grid.attrs["dates"])
    facts = export.manifest["facts"]
    assert found.provenance["weights_sha256"] == facts["weights_sha256"]
    assert found.provenance["data"]["preprocess"] == facts["data"]["preprocess"]


def test_a_chip_of_the_sample_by_thor(root: Path, weights: dict[str, str], predicted: Callable[..., Export]) -> None:
    pattern = "data/flood_events/HandLabeled/S2Hand/{id}_S2Hand.tif"
    source = {"files": pattern, "sensor": "sentinel2_l1c", "unit": "digital_number", "bands": list(S2_BANDS)}
    source |= {"file_bands": list(SAMPLE_BANDS), "dated": True, "date_index": "Sen1Floods11_Metadata.geojson"}
    data = {"root": str(root / SAMPLE), "modalities": {"S2": source}, "preprocess": THOR, "dates_as": "none"}
    export = predicted("ChipDataModule", data, "thor_v1_tiny", model_bands=list(S2_BANDS), input_gsd=10)
    for chip, day in CHIPS.items():
        found = embed(
            "thor_v1_tiny",
            root / SAMPLE / pattern.format(id=chip),
            bands=SAMPLE_BANDS,
            sensor="sentinel2_l1c",
            offset=0,
            dates=day,
            ckpt=weights["thor_v1_tiny"],
            device="cpu",
            id=chip,
        )
        assert found.vector.std() > 0.01
        assert_same(found, export)


def test_a_dated_series_by_anysat(tmp_path: Path, weights: dict[str, str], predicted: Callable[..., Export]) -> None:
    files = [write_scene(tmp_path / "in" / f"a_{day}.tif", numbers(seed=i)) for i, day in enumerate(DAYS)]
    data = {
        "root": str(tmp_path / "in"),
        "modalities": {"s2": {"files": "{id}_*.tif", **SCENES}},
        "frames": {"mode": "all"},
        "preprocess": ANYSAT,
    }
    backbone = {"modalities": ["s2"], "bands": {"s2": list(S2_BANDS)}, "patch_size": 80}
    export = predicted("TimeSeriesDataModule", data, "anysat_tiny", **backbone)
    found = embed(
        "anysat_tiny",
        files,
        sensor="sentinel2_l2a",
        image_size=None,
        patch_size=80,
        ckpt=weights["anysat_tiny"],
        device="cpu",
        id="a",
    )
    assert_same(found, export)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root folder with two overlapping tiles on each of three days."""
    folder = tmp_path_factory.mktemp("places")
    for i, day in enumerate(DAYS):
        for tile, columns in (("a", 0), ("b", 60)):
            place = shifted(CORNER, columns, 0)
            path = folder / "scenes" / f"S2A_MSIL2A_{day.replace('-', '')}_{tile}.tif"
            write_scene(path, numbers(side=96, seed=10 * i + columns), transform=place)
    return folder


def lonlat(column: float, row: float) -> tuple[float, float]:
    """Longitude and latitude of a pixel of the scenes."""
    x, y = to_map(CORNER, column, row)
    lon, lat = Transformer.from_crs(32632, 4326, always_xy=True).transform(x, y)
    return float(lon), float(lat)


def places() -> list[PointBuffer | BBox]:
    """A square within one tile, and a box across both that fills no whole cells."""
    west, south, east, north = *lonlat(50, 60.5), *lonlat(95.5, 21)
    return [PointBuffer(*lonlat(40, 40), 160, id="0"), BBox(west, south, east, north, id="1")]


def samples(multiple: int) -> dict[str, Any]:
    point, box = places()
    assert isinstance(point, PointBuffer)
    assert isinstance(box, BBox)
    rows = [[point.lon, point.lat, point.buffer_m], [box.west, box.south, box.east, box.north]]
    time = ["2022-06-01", "2022-09-01"]
    arguments = {"places": rows, "folder": "scenes", "time": time, "multiple": multiple}
    return {"class_path": "eo_data.datamodules.Places", "init_args": arguments}


def test_places_by_thor(
    scenes: Path, weights: dict[str, str], predicted: Callable[..., Export], tmp_path: Path
) -> None:
    data = {
        "root": str(scenes),
        "modalities": {"S2": SCENES},
        "samples": samples(16),  # patches of all GSDs: 8 pixels of 20 m
        "frames": {"mode": "composites", "frames": 1, "start": "2022-06-01", "end": "2022-09-01"},
        "preprocess": {"class_path": "eo_data.preprocess.OneFrame", "init_args": {"preprocess": THOR}},
        "dates_as": "none",
        "batch_size": 1,
    }
    export = predicted("TimeSeriesDataModule", data, "thor_v1_tiny", model_bands=list(S2_BANDS), input_gsd=10)
    _assert_places_same("thor_v1_tiny", export, scenes, weights, tmp_path)


def test_places_by_anysat(
    scenes: Path, weights: dict[str, str], predicted: Callable[..., Export], tmp_path: Path
) -> None:
    data = {
        "root": str(scenes),
        "modalities": {"s2": SCENES},
        "samples": samples(8),
        "frames": {"mode": "composites", "frames": 8, "start": "2022-06-01", "end": "2022-09-01"},
        "preprocess": {
            "class_path": "anysat_ext.AnySatPreprocess",
            "init_args": {"image_size": None, "patch_size": 80},
        },
        "batch_size": 1,
    }
    backbone = {"modalities": ["s2"], "bands": {"s2": list(S2_BANDS)}, "patch_size": 80}
    export = predicted("TimeSeriesDataModule", data, "anysat_tiny", **backbone)
    _assert_places_same("anysat_tiny", export, scenes, weights, tmp_path, image_size=None, patch_size=80)


def _assert_places_same(
    encoder: str, export: Export, scenes: Path, weights: dict[str, str], folder: Path, **options: Any
) -> None:
    """Places in memory, one on its own, and written to a folder are those of the config."""
    arguments = {"time": ("2022-06-01", "2022-09-01"), "source": scenes / "scenes", "device": "cpu", **options}
    arguments |= {"ckpt": weights[encoder], "progress": False}
    found = embed(encoder, places(), **arguments)
    assert [entry.id for entry in found] == ["0", "1"]
    for entry in found:
        assert_same(entry, export)
    assert_same(embed(encoder, places()[1], **arguments), export)
    written = embed(encoder, places(), **arguments, out=folder / "embedded")
    assert_same(found[0], written)
    assert_same(found[1], written)
