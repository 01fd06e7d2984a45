"""Random configurations of AnySat against the published code that rs-embed carries, on the same weights."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

if importlib.util.find_spec("rs_embed") is None:
    if os.environ.get("CI"):
        msg = "CI compares with rs-embed, which is not installed: uv sync --group parity"
        raise ModuleNotFoundError(msg)
    pytest.skip("rs-embed, the peer, is not installed (uv sync --group parity)", allow_module_level=True)

COUNT = 40
SCRIPT = Path(__file__).with_name("compare_anysat.py")
#: Of ``max|ours - peer| / max|peer|``, both in float32.
TOLERANCE = 5e-6


@lru_cache(maxsize=1)
def results() -> list[dict[str, Any]]:
    """One result per configuration, from a process of its own: importing the peer extends ``sys.path``."""
    command = [sys.executable, str(SCRIPT), "--count", str(COUNT)]
    process = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, check=False, cwd=SCRIPT.parents[2]
    )
    assert process.returncode == 0, process.stderr[-4000:]
    return [json.loads(line) for line in process.stdout.splitlines()]


@pytest.mark.parametrize("index", range(COUNT))
def test_features_are_the_peers(index: int) -> None:
    result = results()[index]
    ours, theirs = result["shapes"]
    assert ours == theirs, result["config"]
    assert result["error"] is not None, result["config"]
    assert result["error"] <= TOLERANCE, result["config"]


def test_the_configurations_cover_what_differs() -> None:
    configs = [result["config"] for result in results()]
    assert {config["size"] for config in configs} == {"tiny", "small", "base"}
    assert {config["output"] for config in configs} == {"patch", "tile", "dense", "all"}
    fed = {name for config in configs for name in config["modalities"]}
    assert fed == {"aerial", "aerial-flair", "spot", "naip", "s2", "s1-asc", "s1", "l8", "l7", "alos"}
    assert max(len(config["modalities"]) for config in configs) >= 4
    assert len({config["patch_size"] for config in configs}) >= 5
    dense = [config for config in configs if config["output"] == "dense"]
    assert any(c["output_modality"].startswith("aerial") and c["patch_size"] > 10 for c in dense)
