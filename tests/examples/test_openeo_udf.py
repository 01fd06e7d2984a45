"""The user-defined function for openEO needs numpy and onnxruntime alone, and refuses other input."""

from __future__ import annotations

import importlib.util
import inspect
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import xarray as xr
from deployed_files import BOTH, SERIES, encoded, relative

from eo_data.temporal.calendar_date import day_of_year, parse_date
from eo_models.export.call import Deployed, Weights, export_encoder
from eo_models.preset import ImageFacts

pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

#: Runs a file where nothing but numpy and onnxruntime may be imported, and writes what comes out.
ALONE = """
import sys
import numpy as np
for name in ("torch", "onnx", "xarray", "eo_models", "eo_data", "terratorch"):
    sys.modules[name] = None
sys.path.insert(0, sys.argv[1])
import onnx_loader
given = np.load(sys.argv[3])
np.savez(sys.argv[4], **onnx_loader.encode(sys.argv[2], dict(given), {"S2": ["B02", "B8A", "B04"]}))
"""


def load(root: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, root / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def udf(root: Path) -> ModuleType:
    return load(root, "openeo_udf")


@pytest.fixture(scope="module")
def loader(root: Path) -> ModuleType:
    return load(root, "onnx_loader")


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    """The function finds the loader in its archive; here it lies among the examples."""
    monkeypatch.setattr(sys, "path", [str(root / "examples"), *sys.path])


def context(deployed: Deployed) -> dict[str, str]:
    return {"folder": str(deployed.path.parent), "file": deployed.path.name}


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """THOR on digital numbers of three bands."""
    sensor = "sentinel2_l2a"
    asked = replace(
        BOTH,
        bands=("B04", "B02", "B8A"),
        units={sensor: "digital_number"},
        scales={sensor: 1e-4},
        offsets={sensor: -1000},
    )
    file = tmp_path_factory.mktemp("deployed") / "thor.onnx"
    return export_encoder("thor_v1_tiny", file, asked, weights=Weights(pretrained=False))


def numbers(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1000, 9000, (3, 48, 48)).astype(np.uint16)


def expected(pixels: np.ndarray) -> Any:
    """What embed makes of reflectance in the order RED, BLUE, NIR_NARROW."""
    from thor_terratorch_ext.statistics import statistics_for

    bands = ("RED", "BLUE", "NIR_NARROW")
    reflectance = np.clip((pixels.astype(np.float32) - 1000) * 1e-4, 0, 1)
    known = statistics_for(bands)
    mean, std = ([getattr(one, name) for one in known] for name in ("mean", "std"))
    ready = (reflectance - np.array(mean)[:, None, None]) / np.array(std)[:, None, None]
    facts = {"S2": ImageFacts("sentinel2_l2a", bands, 10)}
    return encoded("thor_v1_tiny", facts, {}, {"S2": ready[None].astype(np.float32)}, 1)


def run_alone(python: Path | str, deployed: Deployed, root: Path, folder: Path) -> None:
    pixels = numbers()
    np.savez(folder / "in.npz", S2=pixels[None])
    files = [str(root / "examples"), str(deployed.path), str(folder / "in.npz"), str(folder / "out.npz")]
    subprocess.run([str(python), "-c", ALONE, *files], check=True, cwd=folder)  # noqa: S603
    found = np.load(folder / "out.npz")
    wanted = expected(pixels[[2, 0, 1]])  # the file's order
    assert relative(found["pooled"], wanted.pooled("mean")) < 1e-5
    assert relative(found["grid"], wanted.grid) < 1e-5


def test_a_file_runs_without_torch_and_without_this_project(deployed: Deployed, root: Path, tmp_path: Path) -> None:
    run_alone(sys.executable, deployed, root, tmp_path)


@pytest.mark.slow
def test_a_file_runs_in_an_environment_of_onnxruntime_and_numpy_alone(
    deployed: Deployed, root: Path, tmp_path: Path
) -> None:
    environment = tmp_path / "environment"
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.skip("the environment is made by uv: python -m pip install uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(environment)], check=True)  # noqa: S603
    python = environment / "bin" / "python"
    install = [uv, "pip", "install", "--quiet", "--python", str(python), "onnxruntime", "numpy"]
    subprocess.run(install, check=True, cwd=root)  # noqa: S603
    listed = subprocess.run([uv, "pip", "list", "--python", str(python)], check=True, capture_output=True, text=True)  # noqa: S603
    assert not {"torch", "onnx", "thor-anysat-terratorch"} & set(listed.stdout.split())
    run_alone(python, deployed, root, tmp_path)


def test_a_cube_of_openeo_becomes_a_cube_of_features_in_the_same_place(udf: ModuleType, deployed: Deployed) -> None:
    pixels = numbers()
    cube = xr.DataArray(
        pixels[:, None], dims=("bands", "t", "y", "x"), coords={"bands": ["B04", "B02", "B8A"], "x": np.arange(48.0)}
    )
    found = udf.apply_datacube(cube, context(deployed))
    assert found.dims == ("bands", "y", "x")
    assert found.shape == (192, 48, 48)
    assert (found.x == cube.x).all()
    assert relative(found.values[None, :, ::8, ::8], expected(pixels).grid) < 1e-5
    assert relative(found.values[None, :, 7::8, 7::8], expected(pixels).grid) < 1e-5


def test_openeo_finds_the_function_by_classes_and_else_returns_the_cube_as_it_is(udf: ModuleType) -> None:
    """`openeo.udf.run_code` of the client 0.53 compares annotations with the class, and passes over others."""
    signature = inspect.signature(udf.apply_datacube)
    assert list(signature.parameters) == ["cube", "context"]
    assert signature.parameters["cube"].annotation is xr.DataArray
    assert signature.return_annotation is xr.DataArray


def test_a_series_of_openeo_brings_its_dates(udf: ModuleType, loader: ModuleType, tmp_path: Path) -> None:
    asked = replace(SERIES, sensors=SERIES.sensors[:1])
    deployed = export_encoder("anysat_tiny", tmp_path / "a.onnx", asked, weights=Weights(pretrained=False))
    days = np.array(["2020-02-29T10:00", "2020-07-01", "2020-12-31"], dtype="datetime64[ns]")
    bands = deployed.metadata["inputs"][0]["bands"]
    pixels = np.random.default_rng(0).uniform(0, 1, (3, 10, 6, 6)).astype(np.float32)
    cube = xr.DataArray(pixels, dims=("t", "bands", "y", "x"), coords={"t": days, "bands": bands})
    found = udf.apply_datacube(cube.transpose("y", "x", "bands", "t"), context(deployed))
    own = [[day_of_year(parse_date(day)) for day in days]]
    assert loader.days_of_year(days).tolist() == own[0] == [59, 182, 364]
    direct = loader.encode(str(deployed.path), {"s2": pixels[None], "s2_dates": own})
    assert np.array_equal(found.values[:, ::2, ::2], direct["grid"][0])
    with pytest.raises(ValueError, match="a series of 3 frames, and the cube has no dates"):
        udf.apply_datacube(cube[0].drop_vars("t"), context(deployed))


def test_other_shapes_and_bands_are_refused_with_those_that_the_file_takes(
    loader: ModuleType, deployed: Deployed
) -> None:
    path, pixels = str(deployed.path), numbers()[None]
    for wrong in (pixels[..., :40], pixels[:, :2], pixels[0]):
        with pytest.raises(ValueError, match=r"the file takes \['batch', 3, 48, 48\] \(batch, band, row, column\)"):
            loader.encode(path, {"S2": wrong})
    with pytest.raises(ValueError, match=r"The band NIR_NARROW \(B8A, .*\) is not among \['B04', 'B02', 'B08'\]"):
        loader.encode(path, {"S2": pixels}, {"S2": ["B04", "B02", "B08"]})
    with pytest.raises(ValueError, match=r"'S2' is missing: the file takes \['S2'\]"):
        loader.encode(path, {"s2": pixels})
