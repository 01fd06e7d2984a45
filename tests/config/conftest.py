"""Configs as a user runs them, pointed at data of the test and at the smallest encoder with random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from eo_core.config import read_config

#: Where each config expects its data, and how the files of the parts are called.
DATA_ROOT = "datasets/sen1floods11_v1.1"
SAMPLE = "datasets/sample/v1.1"
SMALLEST = {
    f"{kind}_{size}": f"{kind}_tiny" for kind in ("anysat", "thor_v1", "universat") for size in ("tiny", "base")
}


def replace_text(node: Any, old: str, new: str) -> Any:
    if isinstance(node, dict):
        return {key: replace_text(value, old, new) for key, value in node.items()}
    if isinstance(node, list):
        return [replace_text(value, old, new) for value in node]
    return node.replace(old, new) if isinstance(node, str) else node


def smallest(model_args: dict[str, Any]) -> dict[str, Any]:
    """The smallest encoder of a kind, with random weights."""
    backbone = model_args["backbone"]
    if backbone == "resnet34":
        return {"backbone": "resnet18", "smp_encoder_depth": 3, "smp_decoder_channels": [32, 16, 8]}
    if backbone == "MultiBackboneWrapper":
        small = [
            entry | {"backbone": SMALLEST.get(entry["backbone"], entry["backbone"]), "pretrained": False}
            for entry in model_args["backbone_encoders"]
        ]
        return {"backbone_encoders": small}
    return {"backbone": SMALLEST[backbone], "backbone_pretrained": False}


@pytest.fixture
def adapted(root: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write a copy of a config that runs here: other folders, the smallest encoder, no download and no bar."""

    def adapt(name: str, data_root: Path, batch_size: int = 4, **model_args: Any) -> Path:
        config = read_config(root / "config" / f"{name}.yaml")
        for old in (DATA_ROOT, SAMPLE):
            config = replace_text(config, old, str(data_root))
        config = replace_text(config, "output/", f"{tmp_path}/output/")
        trainer = config["trainer"]
        trainer["enable_progress_bar"] = False
        trainer["callbacks"] += trainer.pop("callbacks+", [])
        trainer["callbacks"] = [c for c in trainer["callbacks"] if "ProgressBar" not in c["class_path"]]
        config["data"]["init_args"].update(num_workers=0, batch_size=batch_size)
        model = config["model"]["init_args"]
        model["plot_on_val"] = False
        model["model_args"].update(smallest(model["model_args"]) | model_args)
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        return file

    return adapt


@pytest.fixture
def exported(root: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write a copy of an export's config that runs here, one sample at a time."""

    def adapt(name: str, data_root: Path, **arguments: Any) -> Path:
        config = read_config(root / "config" / f"{name}.yaml")
        for old in (DATA_ROOT, SAMPLE):
            config = replace_text(config, old, str(data_root))
        config = replace_text(config, "output/", f"{tmp_path}/output/")
        config["trainer"] |= {"enable_progress_bar": False, "callbacks": []}
        config["data"]["init_args"] |= {"num_workers": 0, "batch_size": 1}
        model = config["model"]["init_args"]
        if "backbone" in model:
            model["backbone"] = SMALLEST[model["backbone"]]
            model["backbone_args"]["pretrained"] = False
        else:
            model["model_args"] |= {"backbone": "thor_v1_tiny", "backbone_pretrained": False}
        model |= arguments
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        return file

    return adapt
