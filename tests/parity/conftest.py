"""Comparisons with the published code that rs-embed carries, each run once and in a process of its own.

Importing the peer changes timm, ``sys.path`` and the environment, and it brings a hundred packages: it lives in an
environment of its own, ``tests/parity/.venv``, that the first comparison makes (``uv sync --project tests/parity``).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

#: What would lead uv to another environment, or an encoder to another backend.
NOT_HANDED_ON = ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "USE_FLEX_ATTENTION")


@pytest.fixture(scope="session")
def compared(root: Path) -> Callable[[str, int], list[dict[str, Any]]]:
    """Run ``<name>.py --count <count>`` beside this file and return what its lines of JSON say."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        if os.environ.get("CI"):
            pytest.fail("CI compares with rs-embed, whose environment uv makes: python -m pip install uv")
        pytest.skip("the environment of rs-embed, the peer, is made by uv: python -m pip install uv")
    folder = Path(__file__).parent
    environment = {key: value for key, value in os.environ.items() if key not in NOT_HANDED_ON}
    environment["PYTHONPATH"] = os.pathsep.join([str(root), str(root / "tests" / "helpers")])
    python = [uv, "run", "--quiet", "--project", str(folder), "python"]

    @lru_cache
    def run(name: str, count: int) -> list[dict[str, Any]]:
        command = [*python, str(folder / f"{name}.py"), "--count", str(count)]
        process = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, check=False, cwd=root, env=environment
        )
        assert process.returncode == 0, process.stderr[-4000:]
        # The peer logs to standard output, too.
        return [json.loads(line) for line in process.stdout.splitlines() if line.startswith("{")]

    return run
