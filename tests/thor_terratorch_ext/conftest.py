"""Golden vectors of the published THOR encoder, and encoders with the weights that belong to them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from thor_terratorch_ext.backbone import ThorBackbone, build_thor


def load_module(path: Path) -> ModuleType:
    """Import a file that belongs to no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Golden:
    """The golden folder: cases, weights by name, and the comparison."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.check = load_module(folder / "check.py")
        self.fill = load_module(folder / "fill.py")
        content = json.loads((folder / "cases.json").read_text())
        self.cases: dict[str, dict[str, Any]] = {case["id"]: case for case in content["cases"]}

    def keys(self, variant: str) -> dict[str, Any]:
        """Published keys, shapes and counts of a variant."""
        return json.loads((self.folder / f"state_dict_{variant}.json").read_text())


@pytest.fixture(scope="session")
def golden(shared: Path) -> Golden:
    """The golden folder of THOR."""
    return Golden(shared / "golden" / "thor")


@pytest.fixture(scope="session")
def filled(golden: Golden) -> Callable[..., ThorBackbone]:
    """Build a frozen backbone with the golden weights; the state of the last variant is kept."""

    @lru_cache(maxsize=1)
    def state(variant: str) -> dict[str, Any]:
        model = build_thor(variant, pretrained=False, model_bands=["VV"]).model
        return golden.fill.fill_module(model).state_dict()

    def build(variant: str = "tiny", **arguments: Any) -> ThorBackbone:
        backbone = build_thor(variant, pretrained=False, **arguments)
        backbone.model.load_state_dict(state(variant))
        backbone.freeze()
        return backbone

    return build
