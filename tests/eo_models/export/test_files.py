"""A deployed file gives the numbers of `embed`, for batches of any size, and says what it takes."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from deployed_files import BOTH, SERIES, encoded, relative

from eo_data.raster.sample import Sample
from eo_models.export.call import Deployed, Weights, export_encoder
from eo_models.preset import ImageFacts, find_preset
from eo_models.weights.checkpoints import sha256_of_weights

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
RANDOM = Weights(pretrained=False)


def opened(deployed: Deployed) -> tuple[Any, dict[str, Any]]:
    session = onnxruntime.InferenceSession(deployed.path, providers=["CPUExecutionProvider"])
    return session, json.loads(session.get_modelmeta().custom_metadata_map["eo_encoder"])


def prepared(preprocess: Any, images: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: one.raster.pixels for name, one in preprocess(Sample("here", images)).images.items()}


def test_a_file_takes_physical_values_and_gives_what_embed_gives(thor_file: Deployed, image: Any) -> None:
    bands: dict[str, tuple[str, ...]] = {"S2": ("RED", "BLUE", "SWIR_1"), "S1": ("IW_VV", "IW_VH")}
    sensors = {"S2": "sentinel2_l2a", "S1": "sentinel1"}
    facts = {name: ImageFacts(sensors[name], own, 10) for name, own in bands.items()}
    preprocess = find_preset("thor_v1_tiny").recipe("thor_v1_tiny", facts, {}).preprocess
    samples = [{name: image(sensors[name], bands[name], 48, seed=seed) for name in bands} for seed in range(5)]
    ready = [prepared(preprocess, sample) for sample in samples]
    expected = encoded("thor_v1_tiny", facts, {}, {name: np.stack([one[name] for one in ready]) for name in bands}, 1)
    session, _ = opened(thor_file)
    for count in (5, 1):
        feed = {name: np.stack([one[name].raster.pixels for one in samples[:count]]) for name in bands}
        pooled, grid = session.run(["pooled", "grid"], feed)
        assert relative(pooled, expected.pooled("mean")[:count]) < 1e-5
        assert relative(grid, expected.grid[:count]) < 1e-5


def test_dates_are_an_input_and_move_the_numbers(anysat_file: Deployed, image: Any) -> None:
    kinds = find_preset("anysat_tiny").images("anysat_tiny")
    names = {"s2": "sentinel2_l2a", "s1": "sentinel1"}
    facts = {name: ImageFacts(sensor, kinds[sensor].bands, 10) for name, sensor in names.items()}
    options = {"patch_size": 20, "image_size": None}
    images = {name: image(sensor, kinds[sensor].bands, 6, frames=3) for name, sensor in names.items()}
    preprocess = find_preset("anysat_tiny").recipe("anysat_tiny", facts, options).preprocess
    days = {"s2": np.array([[0, 150, 364]]), "s1": np.array([[10, 100, 300]])}
    data = {name: pixels.swapaxes(0, 1)[None] for name, pixels in prepared(preprocess, images).items()}
    expected = encoded("anysat_tiny", facts, options, data | {f"{name}_dates": own for name, own in days.items()})
    session, _ = opened(anysat_file)
    feed = {name: one.raster.pixels[None] for name, one in images.items()}
    feed |= {f"{name}_dates": own for name, own in days.items()}
    pooled, grid = session.run(["pooled", "grid"], feed)
    assert relative(pooled, expected.pooled("mean")) < 1e-5
    assert relative(grid, expected.grid) < 1e-5
    (later,) = session.run(["pooled"], feed | {"s2_dates": (days["s2"] + 20) % 365})
    assert relative(later, expected.pooled("mean")) > 1e-3


def test_a_file_says_what_it_takes_and_gives(thor_file: Deployed, anysat_file: Deployed) -> None:
    session, facts = opened(thor_file)
    assert facts == json.loads(json.dumps(thor_file.metadata))
    assert [(one["name"], one["bands"], one["unit"]) for one in facts["inputs"]] == [
        ("S2", ["RED", "BLUE", "SWIR_1"], "reflectance"),
        ("S1", ["IW_VV", "IW_VH"], "decibel"),
    ]
    for known, own in ((session.get_inputs(), facts["inputs"]), (session.get_outputs(), facts["outputs"])):
        assert [(node.name, node.shape) for node in known] == [(one["name"], one["shape"]) for one in own]
    assert "B04" in facts["inputs"][0]["aliases"][0]
    assert (facts["ground_cover_m"], facts["patch_size"]) == (480, 8)
    assert facts["outputs"][1] | {"kind": "grid", "cell_m": 80, "group_merge": "mean"} == facts["outputs"][1]
    normalisation = facts["inputs"][1]["preprocessing"]["normalisation"]
    assert (normalisation["mean"][0], normalisation["provenance"]) == (-12.985, "THOR 1.0 pre-training")
    preset = find_preset("thor_v1_tiny")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = preset.build("thor_v1_tiny", {"model_bands": ["RED"], "pretrained": False}, (1,))
    assert facts["weights"] == {"source": "random", "licence": "none", "sha256": sha256_of_weights(backbone)}
    series, told = opened(anysat_file)
    assert [node.name for node in series.get_inputs()] == ["s2", "s2_dates", "s1", "s1_dates"]
    assert told["inputs"][0]["axes"] == ["batch", "frame", "band", "row", "column"]
    assert told["inputs"][1]["shape"] == ["batch", 3]
    assert told["inputs"][2]["preprocessing"]["ratio"] == ["IW_VV", "IW_VH"]
    assert "S2 float32 (batch, 3, 48, 48): reflectance; RED, BLUE, SWIR_1" in str(thor_file)


def test_torch_export_keeps_the_same_facts_and_one_output(tmp_path: Path) -> None:
    asked = replace(BOTH, bands=("BLUE", "RED"), output="grid", normalised=True)
    deployed = export_encoder("thor_v1_tiny", tmp_path / "a.pt2", asked, form="torch_export", weights=RANDOM)
    told = {"eo_encoder.json": ""}
    program = torch.export.load(tmp_path / "a.pt2", extra_files=told).module()
    assert json.loads(told["eo_encoder.json"]) == json.loads(json.dumps(deployed.metadata))
    assert deployed.metadata["inputs"][0]["unit"] == "normalised"
    assert not deployed.metadata["inputs"][0]["preprocessing_inside"]
    noise = np.random.default_rng(0).normal(size=(1, 2, 48, 48)).astype(np.float32)
    noise[0, 1, 5, 5] = np.nan
    facts = {"S2": ImageFacts("sentinel2_l2a", ("BLUE", "RED"), 10)}
    expected = encoded("thor_v1_tiny", facts, {}, {"S2": np.nan_to_num(noise)}, 1)
    (grid,) = program(torch.from_numpy(noise))
    assert relative(grid.numpy(), expected.grid) < 1e-5


def test_openvino_is_read_again_with_the_same_numbers_and_facts(tmp_path: Path, image: Any) -> None:
    openvino = pytest.importorskip("openvino", reason="the extra openvino is not installed")
    asked = replace(BOTH, bands=("BLUE", "RED"))
    deployed = export_encoder("thor_v1_tiny", tmp_path / "a.xml", asked, form="openvino", weights=RANDOM)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.bin", "a.xml"]
    core = openvino.Core()
    model = core.read_model(deployed.path)
    told = model.get_rt_info(["eo_encoder"])
    assert json.loads(told.value) == json.loads(json.dumps(deployed.metadata))
    one = image("sentinel2_l2a", ("BLUE", "RED"), 48)
    facts = {"S2": ImageFacts("sentinel2_l2a", ("BLUE", "RED"), 10)}
    preprocess = find_preset("thor_v1_tiny").recipe("thor_v1_tiny", facts, {}).preprocess
    expected = encoded("thor_v1_tiny", facts, {}, {"S2": prepared(preprocess, {"S2": one})["S2"][None]}, 1)
    found = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})({"S2": one.raster.pixels[None]})
    assert relative(found["pooled"], expected.pooled("mean")) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(("side", "patch", "frames"), [(24, 10, 8), (12, 40, 4)])
def test_anysat_base_with_golden_weights_at_two_shapes(
    side: int, patch: int, frames: int, shared: Path, tmp_path: Path
) -> None:
    asked = replace(SERIES, side=side, patch=patch, frames=frames)
    ckpt = golden_checkpoint("anysat_base", shared, tmp_path)
    deployed = export_encoder("anysat_base", tmp_path / "a.onnx", asked, weights=Weights(ckpt=str(ckpt)))
    assert deployed.difference < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["thor_v1_tiny", "thor_v1_base"])
@pytest.mark.parametrize("bands", [("BLUE", "RED", "SWIR_1", "B01"), ("VV", "VH"), BOTH.bands])
def test_thor_with_golden_weights(encoder: str, bands: tuple[str, ...], shared: Path, tmp_path: Path) -> None:
    ckpt = golden_checkpoint(encoder, shared, tmp_path)
    asked = replace(BOTH, side=96, bands=bands, layers=(-1,))
    deployed = export_encoder(encoder, tmp_path / "a.onnx", asked, weights=Weights(ckpt=str(ckpt)))
    assert deployed.difference < 1e-4
    assert deployed.metadata["weights"]["source"] == f"file {ckpt.name}"


def golden_checkpoint(encoder: str, shared: Path, folder: Path) -> Path:
    """A file with the weights that the names of parameters stand for."""
    name = encoder.partition("_")[0]
    fill = load_module(next((shared / "golden" / name).glob("fill*.py")))
    bands: dict[str, Any] = {"thor": {"model_bands": ["RED"]}, "anysat": {"modalities": ["s2", "s1"]}}[name]
    backbone: Any = find_preset(encoder).build(encoder, {**bands, "pretrained": False}, (-1,))
    state = {
        key: torch.from_numpy(fill.fill_array(key, tuple(value.shape)))
        for key, value in backbone.model.state_dict().items()
    }
    file = folder / "golden.pt"
    torch.save(state, file)
    return file


def load_module(path: Path) -> Any:
    """Import a file that belongs to no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
