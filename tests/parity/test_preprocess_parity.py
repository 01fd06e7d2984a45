"""Pixels and dates that our presets hand to the encoders against those of rs-embed's adapters."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.parity
COUNT = 40
TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def results(compared: Any) -> list[dict[str, Any]]:
    """One result per case."""
    return compared("compare_preprocess", COUNT)


@pytest.mark.parametrize("index", range(COUNT))
@pytest.mark.parametrize("encoder", ["thor", "anysat"])
def test_the_encoder_gets_what_the_peers_adapter_feeds(encoder: str, index: int, results: Any) -> None:
    result = results[index]
    for name, error in result[encoder].items():
        assert error is not None, (name, result["size"])
        assert error <= TOLERANCE, (name, result["size"])
