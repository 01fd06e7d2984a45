"""The scripts in `benchmarks` import each other by name, as they do when they run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="session")
def _beside(root: Path) -> Iterator[None]:
    folder = str(root / "benchmarks")
    sys.path.insert(0, folder)
    yield
    sys.path.remove(folder)
