"""The scripts of `docs/tools` can be imported, and pages can be read."""

from __future__ import annotations

import json
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
    written = {file.relative_to(root).as_posix(): file.read_text(encoding="utf-8") for file in files}
    return written | {file.relative_to(root).as_posix(): _words(file) for file in (root / "docs").rglob("*.ipynb")}


def _words(notebook: Path) -> str:
    """What a notebook says between its code."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
