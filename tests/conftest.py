"""What all tests share: the reference material beside the project, and offline operation."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """Root of the project."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference material (golden vectors, real data); must be there in CI."""
    path = ROOT.parent / "shared"
    if not path.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"CI needs the reference material in {path}")
        pytest.skip("the reference material (../shared) is not here")
    return path


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may reach for the Hub; the constant is read when huggingface_hub is first imported."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
