"""Crops, pads, resizes, records and tiles of random shapes against rs-embed's, in all modes."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

if importlib.util.find_spec("rs_embed") is None:
    if os.environ.get("CI"):
        msg = "CI compares with rs-embed, which is not installed: uv sync --group parity"
        raise ModuleNotFoundError(msg)
    pytest.skip("rs-embed, the peer, is not installed (uv sync --group parity)", allow_module_level=True)

COUNT = 40
SCRIPT = Path(__file__).with_name("compare_geometry.py")
#: Largest relative difference of a pixel.
TOLERANCE = 1e-6


@lru_cache(maxsize=1)
def results() -> list[dict[str, Any]]:
    """One result per shape, from a process of its own."""
    command = [sys.executable, str(SCRIPT), "--count", str(COUNT)]
    process = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, check=False, cwd=SCRIPT.parents[2]
    )
    assert process.returncode == 0, process.stderr[-4000:]
    return [json.loads(line) for line in process.stdout.splitlines()]


@pytest.mark.parametrize("index", range(COUNT))
def test_pixels_and_records_are_the_peers(index: int) -> None:
    for result in results()[index]["thor"]:
        if "refused" in result:
            # The peer fails on these later, inside its model.
            assert result["meta"]["estimated_patch_tokens"] is None, result
            continue
        assert result["ours"] == result["meta"], result
        assert result["error"] is not None, result
        assert result["error"] <= TOLERANCE, result


@pytest.mark.parametrize("index", range(COUNT))
def test_anysats_square_is_the_peers(index: int) -> None:
    error = results()[index]["anysat"]
    assert error is not None, results()[index]["size"]
    assert error <= TOLERANCE, results()[index]["size"]


@pytest.mark.parametrize("index", range(COUNT))
def test_tiles_and_their_owners_are_the_peers(index: int) -> None:
    for result in results()[index]["tiles"]:
        assert result["error"] is not None, result
        assert result["error"] <= TOLERANCE, result
        for ours, theirs in result["owned"]:
            assert ours == theirs, result


def test_the_shapes_cover_what_differs() -> None:
    thor = [result for of_shape in results() for result in of_shape["thor"]]
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
    tiles = [result for of_shape in results() for result in of_shape["tiles"]]
    assert sum(result["snapped"] for result in tiles) >= 10
    assert sum(result["count"] > 1 for result in tiles) >= COUNT
