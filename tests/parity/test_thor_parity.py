"""Random configurations of THOR against the published code that rs-embed carries, on the same weights."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.parity
COUNT = 50
#: What float32 costs us against float64. Where the peer is further from us than its tolerance, we must be this exact.
OWN_ROUNDING = 5e-6


@pytest.fixture(scope="module")
def results(compared: Any) -> list[dict[str, Any]]:
    """One result per case."""
    return compared("compare_thor", COUNT)


@pytest.mark.parametrize("index", range(COUNT))
def test_features_and_layout_are_the_peers(index: int, results: Any) -> None:
    result = results[index]
    config = result["config"]
    ours, theirs = result["shapes"]
    assert ours == theirs, config
    # The peer's pseudo-inverses and distances are float32: some patch sizes and early blocks need twice the tolerance.
    if result["error"] > result["tolerance"]:
        assert result["error"] <= 2 * result["tolerance"], config
        assert result["own_rounding"] <= OWN_ROUNDING, config
    ours, theirs = result["channel_params"]
    assert ours == theirs, config
    ours, theirs = result["attributes"]
    assert ours == theirs, config
    assert result["formula_error"] <= 1e-6, config


def test_the_tolerance_is_kept_nearly_always(results: Any) -> None:
    beyond = [result["config"] for result in results if result["error"] > result["tolerance"]]
    assert len(beyond) <= 3, beyond


def test_the_configurations_cover_what_differs(results: Any) -> None:
    configs = [result["config"] for result in results]
    assert {config["variant"] for config in configs} == {"tiny", "small", "base"}
    assert {config["strategy"] for config in configs} == {"min", "max", "equal-min", "equal-max"}
    assert {config["merge_method"] for config in configs} == {None, "mean", "sum", "concat"}
    assert {sensor for config in configs for sensor in config["sensors"]} == {"S2", "S1", "OLCI", "SLSTR"}
    bands = {band for config in configs for band in config["bands"]}
    assert any(band.startswith("EW_") for band in bands)
    assert any(band.endswith("_60") for band in bands)
    params = [result["channel_params"][0] for result in results]
    assert any(len({entry["num_patch"] for entry in of_channel.values()}) > 2 for of_channel in params)
    resized = [result["attributes"][0]["input_size"] not in result["config"]["shape"][2:] for result in results]
    assert 10 <= sum(resized) <= 40
