"""What version 0.1 said of each config's numbers is what this version says, so that its exports and checkpoints fit.

``fingerprints_0_1.json`` was made at commit 43bf902. A config that is changed on purpose gets its entry made anew.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonargparse import ArgumentParser
from lightning.pytorch import LightningDataModule

from eo_core.config import read_config
from eo_core.fingerprint import fingerprint
from eo_data.dataset.facts import describe_data, describe_inputs

FINGERPRINTS = json.loads(Path(__file__).with_name("fingerprints_0_1.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("config", FINGERPRINTS)
def test_the_fingerprint_of_the_data_is_that_of_version_0_1(config: str, root: Path) -> None:
    content = read_config(root / config)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data")
    parsed = parser.parse_object({"data": content.get("data", content)})
    module = parser.instantiate_classes(parsed).data
    now = {"data": fingerprint(describe_data(module)), "inputs": fingerprint(describe_inputs(module))}
    assert now == FINGERPRINTS[config]
