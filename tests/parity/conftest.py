"""Comparisons with the published code that rs-embed carries, each run once and in a process of its own.

Importing the peer changes timm, ``sys.path`` and the environment, so it never happens in the process of the tests.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def compared() -> Callable[[str, int], list[dict[str, Any]]]:
    """Run ``<name>.py --count <count>`` beside this file and return what its lines of JSON say."""
    if importlib.util.find_spec("rs_embed") is None:
        if os.environ.get("CI"):
            pytest.fail("CI compares with rs-embed, which is not installed: uv sync --group parity")
        pytest.skip("rs-embed, the peer, is not installed (uv sync --group parity)")
    folder = Path(__file__).parent
    environment = {key: value for key, value in os.environ.items() if key != "USE_FLEX_ATTENTION"}

    @lru_cache
    def run(name: str, count: int) -> list[dict[str, Any]]:
        command = [sys.executable, str(folder / f"{name}.py"), "--count", str(count)]
        process = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, check=False, cwd=folder.parents[1], env=environment
        )
        assert process.returncode == 0, process.stderr[-4000:]
        # The peer logs to standard output, too.
        return [json.loads(line) for line in process.stdout.splitlines() if line.startswith("{")]

    return run
