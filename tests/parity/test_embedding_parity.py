"""Exported vectors and grids against those of rs-embed's adapters, with the same weights, from the same raw array."""

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

COUNT = 24
SCRIPT = Path(__file__).with_name("compare_embedding.py")
TOLERANCE = 1e-4


@lru_cache(maxsize=1)
def results() -> list[dict[str, Any]]:
    """One result per case, from a process of its own."""
    command = [sys.executable, str(SCRIPT), "--count", str(COUNT)]
    process = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, check=False, cwd=SCRIPT.parents[2]
    )
    assert process.returncode == 0, process.stderr[-4000:]
    return [json.loads(line) for line in process.stdout.splitlines() if line.startswith("{")]


@pytest.mark.parametrize("index", range(COUNT + 5))
def test_the_embedding_is_the_peers(index: int) -> None:
    result = results()[index]
    assert result["error"] is not None, result
    assert result["error"] <= TOLERANCE, result
