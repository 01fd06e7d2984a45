"""Crops, pads, resizes, records and tiles of random shapes against rs-embed's, in all modes."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.parity
COUNT = 40
#: Largest relative difference of a pixel.
TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def results(compared: Any) -> list[dict[str, Any]]:
    """One result per case."""
    return compared("compare_geometry", COUNT)


@pytest.mark.parametrize("index", range(COUNT))
def test_pixels_and_records_are_the_peers(index: int, results: Any) -> None:
    for result in results[index]["thor"]:
        if "refused" in result:
            # The peer fails on these later, inside its model.
            assert result["meta"]["estimated_patch_tokens"] is None, result
            continue
        assert result["ours"] == result["meta"], result
        assert result["error"] is not None, result
        assert result["error"] <= TOLERANCE, result


@pytest.mark.parametrize("index", range(COUNT))
def test_anysats_square_is_the_peers(index: int, results: Any) -> None:
    error = results[index]["anysat"]
    assert error is not None, results[index]["size"]
    assert error <= TOLERANCE, results[index]["size"]


@pytest.mark.parametrize("index", range(COUNT))
def test_tiles_and_their_owners_are_the_peers(index: int, results: Any) -> None:
    for result in results[index]["tiles"]:
        assert result["error"] is not None, result
        assert result["error"] <= TOLERANCE, result
        for ours, theirs in result["core"]:
            assert ours == theirs, result


def test_the_shapes_cover_what_differs(results: Any) -> None:
    thor = [result for of_shape in results for result in of_shape["thor"]]
    assert {result["meta"]["preprocess_reason"] for result in thor} == {
        "native_snap_applied",
        "fixed_mode",
        "tile_preserve_stitch_geometry",
        "rectangular_above_tolerance",
        "native_side_limit",
        "native_token_limit",
    }
    metas = [result["meta"] for result in thor if "refused" not in result]
    squares = {meta["shape_adjust_applied"] for meta in metas}
    assert squares == {"none", "crop_to_square", "pad_to_square"}
    snaps = {meta["snap_adjust_applied"] for meta in metas if "snap_adjust_applied" in meta}
    assert snaps == {"none", "crop_to_valid_side", "pad_to_valid_side"}
    assert len(thor) == 8 * COUNT
    assert 1 <= len(thor) - len(metas) <= COUNT
    tiles = [result for of_shape in results for result in of_shape["tiles"]]
    assert sum(result["snapped"] for result in tiles) >= 10
    assert sum(result["count"] > 1 for result in tiles) >= COUNT
