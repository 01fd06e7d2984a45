"""The examples of rs-embed's pages by place and time as configs: each gives the numbers of its line.

A config is ``config/embed_places_thor_s2.yaml`` or ``embed_places_anysat_s2.yaml`` with the places, the time and the
source of the example, ``max_cloud: 30``, and what `rs_embed_rows.ROWS` changes for it. What the encoder gets is
compared for each, and what small ones make of it for those that no other test of the command has.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import guarded_checks
import numpy as np
import pytest
import rasterio
import torch
import yaml
from rs_embed_rows import ROWS, Recorder, Row, catalogue

from eo_core.config import read_config
from eo_data.dataset.batch import collate
from eo_data.dataset.contract import extras_of
from eo_data.dataset.place_splits import PlaceSplits
from eo_data.temporal.frame_policy import FramePolicy
from eo_embed import Embedded, Export, embed, open_embeddings
from eo_embed.one_call import run as run_module
from eo_models.preset import find_preset

SMALL = {"thor": "thor_v1_tiny", "anysat": "anysat_tiny"}
NOISE = {"rtol": 1e-4, "atol": 5e-6}

pytestmark = [
    pytest.mark.filterwarnings("ignore:image_size resamples"),
    pytest.mark.filterwarnings("ignore:THOR's rule resamples"),
]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with catalogue(tmp_path_factory.mktemp("catalogue")) as url:
        yield url


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Random weights of both encoders, as files."""
    folder = tmp_path_factory.mktemp("weights")
    found = {}
    for family, name in SMALL.items():
        arguments = {"model_bands": ["VV"]} if family == "thor" else {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            backbone = find_preset(name).build(name, {"pretrained": False, **arguments}, (-1,))
        torch.save(backbone.model.state_dict(), folder / f"{name}.pt")
        found[name] = str(folder / f"{name}.pt")
    return found


def changed(content: dict[str, Any], path: str, value: Any) -> None:
    """Set a field of a config by its path."""
    *folders, last = path.split(".")
    for name in folders:
        content = content.setdefault(name, {})
    content[last] = value


def config_of(root: Path, row: Row, source: str, cache: Path) -> dict[str, Any]:
    """The config of an example, as a user would write it."""
    content = read_config(root / "config" / f"embed_places_{row.encoder.partition('_')[0]}_s2.yaml")
    place = {"id": "place", "lon": row.place.lon, "lat": row.place.lat, "buffer_m": row.place.buffer_m}
    data = content["data"]["init_args"]
    data |= {"source": source, "time": list(row.time), "places": [place], "max_cloud": 30, "remote_cache": str(cache)}
    for path, value in row.config.items():
        changed(content, path, value)
    return content


def line_of(row: Row, encoder: str, source: str, cache: Path, **weights: Any) -> Embedded:
    """The line of an example."""
    options: dict[str, Any] = {"sensor": "sentinel2_l2a", "max_cloud": 30, **row.line, **weights}
    found = embed(encoder, row.place, time=row.time, source=source, device="cpu", remote_cache=cache, **options)
    assert isinstance(found, Embedded)
    return found


def made(value: Any) -> Any:
    """What a config states: objects of the classes that it names."""
    if isinstance(value, list):
        return [made(own) for own in value]
    if not isinstance(value, dict):
        return value
    if "class_path" not in value:
        return {name: made(own) for name, own in value.items()}
    module, _, name = value["class_path"].rpartition(".")
    return getattr(importlib.import_module(module), name)(**made(value.get("init_args", {})))


def usual(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments of an encoder with the default patch of THOR, bands in any order, and whatever weights."""
    patches = {"input_params": {"flexivit_patch_size_seqs": [8]}} if "model_bands" in arguments else {}
    bands = {"model_bands": sorted(arguments["model_bands"])} if "model_bands" in arguments else {}
    return {name: value for name, value in {**patches, **arguments, **bands}.items() if name != "pretrained"}


@pytest.mark.parametrize("number", ROWS)
def test_a_config_gives_the_encoder_what_its_line_gives(
    number: str, root: Path, source: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pixels, dates, the encoder and its arguments, and what is made of its features."""
    row, recorder = ROWS[number], Recorder()
    monkeypatch.setattr(run_module, "encoder_for", lambda *_: recorder)
    found = line_of(row, row.encoder, source, cache)
    content = config_of(root, row, source, cache)
    arguments = made(content["data"]["init_args"])
    frames = FramePolicy(**arguments.pop("frames"))
    splits = PlaceSplits(frames=frames, **{**arguments, "num_workers": 0, "skipped_file": str(cache / "skipped.csv")})
    dataset, again = splits.dataset("predict"), Recorder()
    ((name, image),) = found.provenance["images"].items()
    order = [splits.modalities[name].bands.index(band) for band in image["bands"]]
    for index in range(len(dataset)):
        batch = collate([dataset[index]])
        again(batch["image"], **extras_of(batch))
    assert len(again.images) == len(recorder.images)
    for own, other in zip(again.images, recorder.images, strict=True):
        np.testing.assert_allclose(own[..., order, :, :], other, atol=1e-6)
    if row.encoder.startswith("anysat"):
        assert again.days == recorder.days
    task, told = found.provenance["task"], content["model"]["init_args"]
    assert told["backbone"] == row.encoder
    assert usual(told["backbone_args"]) == usual(task["backbone_args"])
    for setting in ("output", "pooling", "group_merge"):
        assert told.get(setting, "mean") == task[setting]


def predicted(content: dict[str, Any], folder: Path) -> Export:
    from terratorch.cli_tools import build_lightning_cli

    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    build_lightning_cli(["predict", "--config", str(file)])
    return open_embeddings(folder / "out")


@pytest.mark.parametrize("number", ROWS if guarded_checks.everything() else ("2", "10"))
def test_a_config_over_a_catalogue_gives_the_numbers_of_its_line(
    number: str, root: Path, source: str, weights: dict[str, str], tmp_path: Path, cache: Path
) -> None:
    row = ROWS[number]
    encoder = SMALL[row.encoder.partition("_")[0]]
    content = config_of(root, row, source, cache)
    content["data"]["init_args"] |= {"num_workers": 0, "skipped_file": str(tmp_path / "skipped.csv")}
    trainer = content["trainer"]
    trainer |= {"accelerator": "cpu", "enable_progress_bar": False, "default_root_dir": str(tmp_path)}
    trainer["callbacks"] = [own for own in trainer["callbacks"] if "ProgressBar" not in own["class_path"]]
    model = content["model"]["init_args"]
    model |= {"backbone": encoder, "out": str(tmp_path / "out")}
    model["backbone_args"] |= {"pretrained": False, "ckpt": weights[encoder]}
    export = predicted(content, tmp_path)
    found = line_of(row, encoder, source, cache, ckpt=weights[encoder])
    assert not export.failures
    assert found.transform is not None
    if "tile" in row.line:
        with rasterio.open(export.path / "grids" / "place.tif") as file:
            np.testing.assert_allclose(file.read(), found.grid.to_numpy(), **NOISE)
            assert found.transform.almost_equals(file.transform, 1e-9)
        return
    if row.line.get("output") != "grid":
        assert export.pooled is not None
        np.testing.assert_allclose(export.pooled.embedding[0], found.vector, **NOISE)
    grid = export.grid("place")
    np.testing.assert_allclose(grid.to_numpy(), found.grid.to_numpy(), **NOISE)
    assert found.transform.almost_equals(grid.attrs["transform"], 1e-9)
    assert [day.isoformat() for day in found.dates] == list(grid.attrs["dates"])
    assert found.provenance["weights_sha256"] == export.manifest["facts"]["weights_sha256"]
