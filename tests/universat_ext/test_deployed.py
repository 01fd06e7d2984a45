"""A deployed file of UniverSat gives what its preprocessing and encoder give, ratio band and dates included."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from affine import Affine

from eo_data.raster.raster import Raster
from eo_data.raster.sample import Image, Sample
from eo_data.sensors.units import InputUnit
from eo_models.export.call import Asked, Weights, export_encoder
from eo_models.features import FeatureExtractor
from eo_models.preset import ImageFacts, find_preset

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
BANDS = {"s2": ("BLUE", "RED", "NIR_BROAD"), "s1": ("IW_VV", "IW_VH")}
SENSORS = {"s2": "sentinel2_l2a", "s1": "sentinel1"}
OPTIONS = {
    "means": {"s2": {"BLUE": 0.1, "RED": 0.2, "NIR_BROAD": 0.3}, "s1": {"VV": -12, "VH": -19, "VV/VH": 0.6}},
    "stds": {"s2": {"BLUE": 0.3, "RED": 0.2, "NIR_BROAD": 0.1}, "s1": {"VV": 4, "VH": 5, "VV/VH": 0.2}},
}


def series(name: str, frames: int, side: int) -> Image:
    rng = np.random.default_rng(len(name))
    shape = (frames, len(BANDS[name]), side, side)
    pixels = rng.uniform(0.02, 0.6, shape) if name == "s2" else rng.normal(-14, 3, shape)
    transform = Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 4_000_000.0)
    raster = Raster(pixels.astype(np.float32), np.ones((frames, side, side), dtype=bool), transform, None)
    days = tuple(datetime.date(2021, 2, 1) + datetime.timedelta(days=40 * i) for i in range(frames))
    unit = InputUnit.REFLECTANCE if name == "s2" else InputUnit.DECIBEL
    seen = np.ones(frames, dtype=bool)
    return Image(raster, BANDS[name], unit, 10, days, ("name",) * frames, seen, sensor=SENSORS[name])


def test_a_deployed_file_gives_what_preprocessing_and_encoder_give(golden: Any, filled: Any, tmp_path: Path) -> None:
    weights = tmp_path / "weights.pth"
    torch.save(filled("tiny").state_dict(), weights)
    every = tuple(band for name in BANDS for band in BANDS[name])
    asked = Asked(side=8, bands=every, sensors=tuple(SENSORS.values()), patch=40, frames=2, options=OPTIONS)
    made = export_encoder("universat_tiny", tmp_path / "u.onnx", asked, weights=Weights(ckpt=weights))

    preset = find_preset("universat_tiny")
    facts = {name: ImageFacts(SENSORS[name], BANDS[name], 10) for name in BANDS}
    recipe = preset.recipe("universat_tiny", facts, {**OPTIONS, "patch_size": 40})
    encoder = FeatureExtractor(preset.build("universat_tiny", {**recipe.arguments, "ckpt": weights}, (-1,)), {}).eval()
    images = {name: series(name, 2, 8) for name in BANDS}
    days = {"s2_dates": np.array([[10, 200]]), "s1_dates": np.array([[40, 300]])}
    ready = recipe.preprocess(Sample("here", images)).images
    batch = {name: torch.from_numpy(one.raster.pixels.swapaxes(0, 1)[None].copy()) for name, one in ready.items()}
    with torch.no_grad():
        (expected,) = encoder({**batch, **{name: torch.from_numpy(own) for name, own in days.items()}})
    session = onnxruntime.InferenceSession(made.path, providers=["CPUExecutionProvider"])
    feed = {name: one.raster.pixels[None] for name, one in images.items()} | days
    pooled, grid = session.run(["pooled", "grid"], feed)
    assert expected.grid is not None
    for found, wanted in ((pooled, expected.pooled("mean")), (grid, expected.grid)):
        assert found.shape == wanted.shape
        assert float(np.abs(found - wanted.numpy()).max() / np.abs(wanted.numpy()).max()) < 2e-5
    (later,) = session.run(["pooled"], feed | {"s2_dates": np.array([[10, 230]])})
    assert float(np.abs(later - pooled).max() / np.abs(pooled).max()) > 1e-3
