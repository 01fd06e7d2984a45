"""Random configurations of AnySat against the published code that rs-embed carries, on the same weights."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.parity
COUNT = 40
#: Of ``max|ours - peer| / max|peer|``, both in float32.
TOLERANCE = 5e-6


@pytest.fixture(scope="module")
def results(compared: Any) -> list[dict[str, Any]]:
    """One result per case."""
    return compared("compare_anysat", COUNT)


@pytest.mark.parametrize("index", range(COUNT))
def test_features_are_the_peers(index: int, results: Any) -> None:
    result = results[index]
    ours, theirs = result["shapes"]
    assert ours == theirs, result["config"]
    assert result["error"] is not None, result["config"]
    assert result["error"] <= TOLERANCE, result["config"]


def test_the_configurations_cover_what_differs(results: Any) -> None:
    configs = [result["config"] for result in results]
    assert {config["size"] for config in configs} == {"tiny", "small", "base"}
    assert {config["output"] for config in configs} == {"patch", "tile", "dense", "all"}
    fed = {name for config in configs for name in config["modalities"]}
    assert fed == {"aerial", "aerial-flair", "spot", "naip", "s2", "s1-asc", "s1", "l8", "l7", "alos"}
    assert max(len(config["modalities"]) for config in configs) >= 4
    assert len({config["patch_size"] for config in configs}) >= 5
    dense = [config for config in configs if config["output"] == "dense"]
    assert any(c["output_modality"].startswith("aerial") and c["patch_size"] > 10 for c in dense)
