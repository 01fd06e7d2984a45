"""The scripts of `docs/tools` can be imported, and pages can be read."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def tools(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(root / "docs" / "tools"))


@pytest.fixture
def pages(root: Path) -> dict[str, str]:
    """Text of each page by its path from the root of the project on."""
    files = [
        *(root / "docs").rglob("*.md"),
        root / "README.md",
        root / "CONTRIBUTING.md",
        root / "benchmarks/README.md",
    ]
    return {file.relative_to(root).as_posix(): file.read_text(encoding="utf-8") for file in files}
