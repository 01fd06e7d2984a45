"""The configs of places run against a catalogue on this machine, and give what `embed` gives and what files hold."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from pyproj import Transformer
from range_server import RangeServer, range_server
from small_scenes import CORNER, S2_BANDS, numbers, write_scene
from small_stac import sentinel2_item, write_band, write_catalogue

from eo_core.config import read_config
from eo_data.raster.raster import to_map
from eo_embed import Export, PointBuffer, embed, open_embeddings
from eo_models.preset import find_preset

SIDE = 64
WINDOW = ("2022-06-01", "2022-09-01")
#: Of each scene its day, and the share of clouds that its item states.
DAYS = {"2022-06-03": 0, "2022-06-13": 30, "2022-06-23": 95, "2022-07-08": 10}
#: Of each config the registered name here, and how `embed` is told the same.
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "embed_places_thor_s2": ("thor_v1_tiny", {}),
    "embed_places_anysat_s2": ("anysat_tiny", {"frames": "all", "image_size": None, "patch_size": 40}),
}


def place(name: str, column: float, row: float) -> dict[str, Any]:
    lon, lat = Transformer.from_crs(32632, 4326, always_xy=True).transform(*to_map(CORNER, column, row))
    return {"id": name, "lon": float(lon), "lat": float(lat), "buffer_m": 78.0}


PLACES = [place("first", 24, 24), place("second", 40, 40), place("nowhere", 90000, 40)]


def pixels(day: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers without the offset, and classes with a cloud in another place on each day."""
    number = list(DAYS).index(day)
    classes = np.full((SIDE, SIDE), 4, np.uint8)
    classes[16 + 3 * number : 20 + 3 * number, 20:36] = 9
    return numbers(side=SIDE, seed=number), classes


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, RangeServer]]:
    """Folder with a catalogue of files on a server, and the same scenes as files of reflectance."""
    root = tmp_path_factory.mktemp("places")
    (root / "cogs").mkdir()
    with range_server(root / "cogs") as server:
        items = []
        for day, cloud in DAYS.items():
            values, classes = pixels(day)
            how: dict[str, Any] = {"classes": classes, "address": f"http://{server.host}", "eo:cloud_cover": cloud}
            items.append(sentinel2_item(root / "cogs", "earth-search", day, values + 1000, f"{day}T10:20:31Z", **how))
            clear = np.where(classes == 9, np.float32(np.nan), values.astype(np.float32) * np.float32(1e-4))
            if cloud < 60:
                name = f"S2A_MSIL2A_{day.replace('-', '')}T102031.tif"
                write_scene(root / "files" / name, clear, scale=None, unit="reflectance")
        write_catalogue(root, items)
        yield root, server


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


def run(root: Path, config: str, folder: Path, data: dict[str, Any], weights: str, backbone: str) -> Export:
    """Run a config of the project at places and with a catalogue of the test."""
    from terratorch.cli_tools import build_lightning_cli

    content = read_config(root / "config" / f"{config}.yaml")
    trainer = content["trainer"]
    trainer |= {"default_root_dir": str(folder), "enable_progress_bar": False, "accelerator": "cpu"}
    trainer["callbacks"] = [own for own in trainer["callbacks"] if "ProgressBar" not in own["class_path"]]
    own = content["data"]["init_args"]
    own |= {"num_workers": 0, "remote_cache": str(folder / "cache")} | data
    model = content["model"]["init_args"]
    model |= {"backbone": backbone, "out": str(folder / "out")}
    model["backbone_args"] |= {"pretrained": False, "ckpt": weights}
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    build_lightning_cli(["predict", "--config", str(file)])
    return open_embeddings(folder / "out")


@pytest.mark.parametrize("config", CONFIGS)
def test_the_config_gives_what_embed_gives_of_the_catalogue_and_of_files(
    root: Path, served: tuple[Path, RangeServer], weights: dict[str, str], tmp_path: Path, config: str
) -> None:
    """Vectors and grids; the place that nothing shows is listed; the second run fetches no pixels."""
    folder, server = served
    backbone, options = CONFIGS[config]
    data = {"root": str(folder), "source": "catalog.json", "places": PLACES}
    export = run(root, config, tmp_path, data, weights[backbone], backbone)
    assert "no scene shows it" in export.failures["nowhere"]
    common: dict[str, Any] = {"time": WINDOW, "ckpt": weights[backbone], "device": "cpu", **options}
    assert export.pooled is not None
    for known in PLACES[:2]:
        where = PointBuffer(known["lon"], known["lat"], known["buffer_m"])
        of_items = embed(backbone, where, source=folder / "catalog.json", max_cloud=60, **common)
        of_files = embed(backbone, where, source=folder / "files", **common)
        vector, grid = export.pooled.set_index("id").loc[known["id"]].embedding, export.grid(known["id"])
        for found in (of_items, of_files):
            np.testing.assert_allclose(vector, found.vector, rtol=1e-4, atol=5e-6)
            np.testing.assert_allclose(grid.to_numpy(), found.grid.to_numpy(), rtol=1e-4, atol=5e-6)
            assert [day.isoformat() for day in found.dates] == list(grid.attrs["dates"])
            assert found.transform.almost_equals(grid.attrs["transform"], 1e-9)
    assert np.std(vector) > 0.01
    server.forget()
    again = run(root, config, tmp_path, data, weights[backbone], backbone)
    assert again.pooled is not None
    np.testing.assert_array_equal(np.stack(again.pooled.embedding), np.stack(export.pooled.embedding))
    # A byte of each file tells whether it has changed.
    assert server.bytes_given == len(server.given)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert "dates left out, above 60 % cloud: 2022-06-23" in json.dumps(manifest)


TRAINED = ("RED", "NIR_BROAD")
TRAINED_AT = S2_BANDS.index("NIR_BROAD")
#: What each task needs of a model, beside the backbone.
TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "segmentation": (
        "SemanticSegmentationTask",
        {"decoder": "FCNDecoder", "decoder_channels": 32, "decoder_num_convs": 3},
    ),
    "classification": ("ClassificationTask", {"decoder": "IdentityDecoder", "head_linear_after_pool": True}),
}


def learned(folder: Path, scenes: Path, task: str, data: dict[str, Any]) -> tuple[list[float], Any]:
    """Learn from places, and return the loss of each step and the command line's objects."""
    from terratorch.cli_tools import build_lightning_cli

    kind, decoder = TASKS[task]
    preprocess = {"class_path": "thor_terratorch_ext.ThorPreprocess", "init_args": {"patch_size": 8}}
    given = {
        "root": str(scenes),
        "source": "files",
        "time": ["2022-06-01", "2022-06-05"],
        "multiple": 16,
        "modalities": {"S2": {"bands": list(TRAINED), "sensor": "sentinel2_l2a"}},
        "preprocess": {"class_path": "eo_data.preprocess.OneFrame", "init_args": {"preprocess": preprocess}},
        "frames": {"mode": "nearest", "dates": ["2022-06-03"]},
        "dates_as": "none",
        "task": task,
        "split_column": "split",
        "batch_size": 4,
        "num_workers": 0,
        "on_error": "skip",
        "skipped_file": str(folder / "skipped.csv"),
    }
    backbone = {"backbone": "thor_v1_tiny", "backbone_pretrained": False, "backbone_model_bands": list(TRAINED)}
    backbone |= {"backbone_input_gsd": 10, "backbone_merge_method": "mean", "backbone_out_indices": [5]}
    backbone |= {"backbone_input_params": {"flexivit_patch_size_seqs": [8]}}
    arguments = backbone | decoder | {"num_classes": 2}
    model = {"model_factory": "EncoderDecoderFactory", "model_args": arguments, "lr": 1e-3}
    model |= {"loss": "ce", "optimizer": "AdamW", "plot_on_val": False}
    if task == "segmentation":
        model["ignore_index"] = -1
    logger = {"class_path": "CSVLogger", "init_args": {"save_dir": str(folder), "name": "metrics"}}
    config = {
        "seed_everything": 0,
        "trainer": {"accelerator": "cpu", "max_epochs": 6, "log_every_n_steps": 1, "enable_progress_bar": False,
                    "default_root_dir": str(folder), "logger": logger, "enable_checkpointing": False,
                    "callbacks": [{"class_path": "thor_terratorch_ext.registration.RegisterBackbones"}]},
        "data": {"class_path": "eo_data.datamodules.PlaceDataModule", "init_args": given | data},
        "model": {"class_path": f"terratorch.tasks.{kind}", "init_args": model},
    }  # fmt: skip
    file = folder / "fit.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    cli = build_lightning_cli(["fit", "--config", str(file)])
    with next(folder.glob("metrics/*/metrics.csv")).open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    return [float(row["train/loss"]) for row in rows if row.get("train/loss")], cli


@pytest.mark.parametrize("task", TASKS)
def test_encoders_learn_from_labels_of_places(served: tuple[Path, RangeServer], tmp_path: Path, task: str) -> None:
    """Bright in the infrared or not: from a column, or from a map; the place that nothing shows is left out."""
    scenes, _ = served
    infrared = pixels("2022-06-03")[0][TRAINED_AT].astype(np.float32)
    write_band(scenes / "cover.tif", (infrared > 2200).astype(np.uint8), nodata=None)
    spots = [(column, row) for column in (8, 24, 40, 56) for row in (8, 24, 40, 56)]
    places = []
    for number, spot in enumerate(spots):
        kind = "bright" if infrared[around(spot)].mean() > 2200 else "dark"
        places.append(place(f"p{number}", *spot) | {"split": "val" if number % 4 == 3 else "train", "kind": kind})
    places.append(place("nowhere", 90000, 40) | {"split": "train", "kind": "dark"})
    data: dict[str, Any] = {"places": places}
    if task == "classification":
        data |= {"label_column": "kind", "class_names": ["dark", "bright"]}
    else:
        data |= {"label_map": "cover.tif", "label": {"classes": 2}}
    with pytest.warns(UserWarning, match="1 of 13 samples of 'train' are left out"):
        losses, cli = learned(tmp_path, scenes, task, data)
    assert len(losses) == 6 * 3
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])
    assert [(split, name) for split, name, _ in cli.datamodule.skipped] == [("train", "nowhere")]
    assert len(cli.datamodule.val_dataset) == 4


def around(spot: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the 16 x 16 pixels of a place."""
    return slice(spot[1] - 8, spot[1] + 8), slice(spot[0] - 8, spot[0] + 8)
