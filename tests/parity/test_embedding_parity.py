"""Exported vectors and grids against those of rs-embed's adapters, with the same weights, from the same raw array."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.parity
COUNT = 24
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def results(compared: Any) -> list[dict[str, Any]]:
    """One result per case."""
    return compared("compare_embedding", COUNT)


@pytest.mark.parametrize("index", range(COUNT + 5))
def test_the_embedding_is_the_peers(index: int, results: Any) -> None:
    result = results[index]
    assert result["error"] is not None, result
    assert result["error"] <= TOLERANCE, result
