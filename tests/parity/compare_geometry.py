"""Compare our geometry with rs-embed's: ``python compare_geometry.py --count 40`` prints one JSON line per shape.

A script and not a test module, so that the peer is imported in a process of its own. Each line holds one random shape
in all modes: THOR's preparation and resize, AnySat's square, and the tiles of the tiled mode.
"""

from __future__ import annotations

import argparse
import itertools
import json
import warnings
from typing import Any

import numpy as np
from rs_embed.core.specs import BBox
from rs_embed.embedders import onthefly_anysat, onthefly_thor
from rs_embed.tools import tiling as peer_tiling
from rs_embed_tiling import cut_tiles, owned_spans, plan_tiles

from anysat_ext.geometry import plan_square
from eo_data.raster.plan import apply_after, apply_before
from eo_data.raster.raster import Raster
from thor_terratorch_ext.geometry import SnapPolicy, plan_snap, side_unit

SEED = 20264
ANYSAT_SIDE = 24


def as_raster(pixels: np.ndarray) -> Raster:
    """Wrap pixels that are all observed."""
    return Raster(pixels, np.ones((*pixels.shape[:-3], *pixels.shape[-2:]), bool), None, None)


def worst(ours: np.ndarray, theirs: np.ndarray) -> float | None:
    """Largest relative difference of two arrays of one shape; ``None`` if the shapes differ."""
    if ours.shape != theirs.shape:
        return None
    return float(np.max(np.abs(ours.astype(np.float64) - theirs) / np.maximum(np.abs(theirs), 1.0)))


def draw_size(rng: np.random.Generator, index: int) -> tuple[int, int]:
    """Nearly square sizes, squares and rectangles take turns; some are tiny, some need no snap."""
    if index % 5 == 2:
        return (48 * (1 + index % 7),) * 2
    longest = 24 if index % 10 == 9 else 420
    height = int(rng.integers(1, longest))
    if index % 3 == 0:
        return height, int(rng.integers(1, longest))
    return height, max(1, height + int(rng.integers(-9, 10)) * (index % 3 - 1))


def draw_policies(rng: np.random.Generator) -> list[tuple[SnapPolicy, int, tuple[int, ...]]]:
    """All modes, each with other patch sizes, limits, pixel sizes and GSDs."""
    drawn = []
    for mode, adjust, prep in itertools.product(("native_snap", "fixed"), ("crop", "pad"), ("resize", "tile")):
        patch = int(rng.choice([2, 4, 5, 6, 7, 8, 9, 10, 12, 16, 18]))
        scale, gsds = int(rng.choice([5, 10, 10, 10, 15, 20, 30])), ((10,), (10, 20), (10, 20, 60))[patch % 3]
        unit = side_unit(scale, patch, gsds)
        policy = SnapPolicy(
            patch_size=patch,
            # Every eighth or so is a size that THOR cannot take.
            image_size=280 if rng.random() < 0.125 else unit * int(rng.integers(1, max(2, 320 // unit))),
            resize_mode=mode,
            shape_adjust=adjust,
            shape_tol_px=int(rng.integers(0, 12)),
            max_native_side=int(rng.choice([100, 300, 384])),
            max_native_tokens=int(rng.choice([500, 3000])),
            input_prep=prep,
            fill_value=float(rng.choice([0.0, -7.0])),
        )
        drawn.append((policy, scale, gsds))
    return drawn


def compare_thor(pixels: np.ndarray, policy: SnapPolicy, scale: int, gsds: tuple[int, ...]) -> dict[str, Any]:
    """Prepare and resize one raster with both."""
    theirs, meta = onthefly_thor._prepare_thor_raw_chw(
        pixels,
        scale_m=scale,
        patch_size=policy.patch_size,
        band_gsds=gsds,
        image_size=policy.image_size,
        resize_mode=policy.resize_mode,
        shape_adjust=policy.shape_adjust,
        shape_tol_px=policy.shape_tol_px,
        max_native_side=policy.max_native_side,
        max_native_tokens=policy.max_native_tokens,
        input_prep_mode=policy.input_prep,
        fill_value=policy.fill_value,
    )
    side = policy.image_size
    if meta["preprocess_strategy"] == "fixed_resize" and theirs.shape[-2:] != (side, side):
        theirs = onthefly_thor._resize_chw(theirs, out_hw=side)
    result = {"meta": meta, "policy": str(policy)}
    try:
        plan = plan_snap(*pixels.shape[-2:], scale, gsds, policy)
    except ValueError as error:
        return result | {"refused": str(error)}
    ours = apply_after(plan, apply_before(plan, as_raster(pixels))).pixels
    return result | {"error": worst(ours, theirs), "ours": plan.describe()}


def compare_anysat(pixels: np.ndarray) -> float | None:
    """Make a series square by reflection and resize it with both."""
    series = np.stack([pixels, pixels[::-1]])
    plan = plan_square(*pixels.shape[-2:], 4, ANYSAT_SIDE, non_square="pad_reflect")
    ours = apply_before(plan, as_raster(series)).pixels
    return worst(ours, onthefly_anysat._resize_tchw(series, out_hw=ANYSAT_SIDE))


def compare_tiles(pixels: np.ndarray, tile: int, fraction: float) -> dict[str, Any]:
    """Snap, cut and own tiles with both."""
    snapped, _ = peer_tiling._maybe_snap_input(pixels, tile_size=tile, stride=tile, snap_frac=fraction)
    tiles, metas, _ = peer_tiling._tile_one_image(
        snapped, spatial=BBox(0, 0, 1, 1), tile_size=tile, stride=tile, pad_edges=True, fill_value=0.0
    )
    rows, columns = peer_tiling._tile_axis_ownership(metas)
    plan = plan_tiles(*pixels.shape[-2:], tile, fraction, max_tiles_hard=10**6)
    ours = [raster.pixels for raster in cut_tiles(plan, as_raster(pixels))]
    return {
        "error": worst(np.stack(ours), np.stack(tiles)) if len(ours) == len(tiles) else None,
        "count": len(ours),
        "snapped": plan.snapped_hw != plan.input_hw,
        "core": [
            [owned_spans(plan.row_starts, tile, plan.snapped_hw[0]), [rows[k] for k in sorted(rows)]],
            [owned_spans(plan.column_starts, tile, plan.snapped_hw[1]), [columns[k] for k in sorted(columns)]],
        ],
    }


def main() -> None:
    """Compare random shapes and print one JSON object per line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=40)
    count = parser.parse_args().count
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(SEED)
    for index in range(count):
        size = draw_size(rng, index)
        pixels = rng.normal(2000, 900, (3, *size)).astype(np.float32)
        result = {
            "size": size,
            "thor": [compare_thor(pixels, *drawn) for drawn in draw_policies(rng)],
            "anysat": compare_anysat(pixels),
            "tiles": [compare_tiles(pixels, int(rng.integers(8, 200)), f) for f in (0.0, 0.1, 0.5)],
        }
        print(json.dumps(result), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
