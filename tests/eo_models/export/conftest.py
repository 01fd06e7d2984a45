"""Small deployed files, made once, and images to try them with."""

from __future__ import annotations

import datetime
from collections.abc import Callable

import numpy as np
import pytest
from affine import Affine
from deployed_files import BOTH, SERIES

from eo_data.raster.raster import Raster
from eo_data.raster.sample import Image
from eo_data.sensors.units import InputUnit
from eo_models.export.call import Deployed, Weights, export_encoder


@pytest.fixture(scope="session")
def thor_file(tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """THOR tiny on Sentinel-1 and 2."""
    return export_encoder(
        "thor_v1_tiny", tmp_path_factory.mktemp("deployed") / "thor.onnx", BOTH, weights=Weights(pretrained=False)
    )


@pytest.fixture(scope="session")
def anysat_file(tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """AnySat tiny on dated series of Sentinel-1 and 2."""
    return export_encoder(
        "anysat_tiny", tmp_path_factory.mktemp("deployed") / "anysat.onnx", SERIES, weights=Weights(pretrained=False)
    )


@pytest.fixture(scope="session")
def image() -> Callable[..., Image]:
    """Make an image or a series in physical units, with missing pixels."""

    def make(sensor: str, bands: tuple[str, ...], side: int, *, frames: int = 0, seed: int = 0) -> Image:
        rng = np.random.default_rng(seed)
        lead = (frames,) if frames else ()
        shape = (*lead, len(bands), side, side)
        radar = sensor == "sentinel1"
        pixels = rng.normal(-14, 4, shape) if radar else rng.uniform(-0.05, 1.2, shape)
        pixels[..., 0, 1, 2] = np.nan
        pixels[..., -1, 3:5, 3:5] = np.nan
        raster = Raster(
            pixels.astype(np.float32),
            np.ones((*lead, side, side), dtype=bool),
            Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 4_000_000.0),
            None,
        )
        days = tuple(datetime.date(2021, 2, 1) + datetime.timedelta(days=40 * i) for i in range(frames or 1))
        unit = InputUnit.DECIBEL if radar else InputUnit.REFLECTANCE
        known = ("name",) * len(days)
        return Image(raster, bands, unit, 10, days, known, np.ones(frames or 1, dtype=bool), sensor=sensor)

    return make
