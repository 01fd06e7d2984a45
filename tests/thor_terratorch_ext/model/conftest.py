"""Parts of the encoder are called alone here, outside of the forward pass that computes in float32 by itself."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _float32(float32: None) -> None:
    """`import terratorch` in another test of the process allows bfloat16 in products."""
