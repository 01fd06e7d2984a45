"""Golden vectors of the published UniverSat, and encoders with the weights that belong to them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from universat_ext.model.encoder import UniverSat

Build = Callable[..., UniverSat]


def load_module(path: Path) -> ModuleType:
    """Import a file that belongs to no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Golden:
    """The golden folder: cases, weights by name, inputs and outputs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fill = load_module(folder / "fill_universat.py")
        content = self.read_json("cases.json")
        self.cases: dict[str, dict[str, Any]] = {case["id"]: case for case in content["cases"]}

    def read_json(self, name: str) -> Any:
        """Content of one of the JSON files."""
        return json.loads((self.folder / name).read_text())

    def read_arrays(self, name: str) -> dict[str, np.ndarray]:
        """Content of one of the array files."""
        with np.load(self.folder / name) as archive:
            return {key: archive[key] for key in archive.files}

    def fill_module(self, module: torch.nn.Module) -> None:
        """Give a module the weights that its parameter names stand for."""
        with torch.no_grad():
            for key, value in module.state_dict().items():
                value.copy_(torch.from_numpy(self.fill.fill_array(key, tuple(value.shape))))

    def data(self, case: dict[str, Any]) -> dict[str, torch.Tensor]:
        """The input of a case."""
        data: dict[str, torch.Tensor] = {}
        for name in case["order"]:
            spec = case["modalities"][name]
            stream = case.get("inputs", case["id"])
            data[name] = torch.from_numpy(self.fill.make_input(stream, name, spec["shape"]))
            if "zero_frames" in case:
                data[name][:, case["zero_frames"] :] = 0
            if "dates" in spec:
                data[f"{name}_dates"] = torch.tensor(spec["dates"])
        return data


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads that wait for one another on a busy machine take a hundred times as long on tensors of this size."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def golden(shared: Path) -> Golden:
    """The golden folder of UniverSat."""
    return Golden(shared / "golden" / "universat")


@pytest.fixture(scope="session")
def filled(golden: Golden) -> Iterator[Build]:
    """Encoders with golden weights in eval mode; those with the same arguments are one and the same."""
    built: dict[tuple[Any, ...], UniverSat] = {}

    def build(size: str = "tiny", **arguments: Any) -> UniverSat:
        key = (size, *sorted(arguments.items()))
        if key not in built:
            encoder = UniverSat(size, **arguments).eval()
            golden.fill_module(encoder)
            built[key] = encoder
        return built[key]

    yield build
    built.clear()


@pytest.fixture(scope="session")
def series() -> Callable[..., dict[str, torch.Tensor]]:
    """Make a dictionary with noise for some modalities: dated series of those with pixels of 10 m or more."""

    def make(*names: str, side: int = 6, frames: int = 3, batch: int = 2, seed: int = 0) -> dict[str, torch.Tensor]:
        from universat_ext.model.modalities import MODALITIES

        generator = torch.Generator().manual_seed(seed)
        data: dict[str, torch.Tensor] = {}
        for name in names:
            modality = MODALITIES[name]
            size = 1 if modality.is_context else round(side * 10 / modality.pixel_metres)
            shape = (len(modality.bands), size, size)
            if modality.pixel_metres >= 10 and name != "dsm":
                data[name] = torch.randn(batch, frames, *shape, generator=generator)
                data[f"{name}_dates"] = torch.randint(0, 365, (batch, frames), generator=generator)
            else:
                data[name] = torch.randn(batch, *shape, generator=generator)
        return data

    return make
