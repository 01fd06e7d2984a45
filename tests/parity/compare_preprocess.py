"""Compare our preprocessing with rs-embed's adapters: ``python compare_preprocess.py`` prints one JSON line per raster.

A script and not a test module, so that the peer is imported in a process of its own. Each line holds one random raster
(missing values and values out of range included) through geometry, units and normalisation of both.
"""

from __future__ import annotations

import argparse
import itertools
import json
import warnings
from datetime import date, timedelta
from typing import Any

import numpy as np
from rs_embed.core.specs import TemporalSpec
from rs_embed.embedders import onthefly_anysat, onthefly_thor

from anysat_ext import AnySatPreprocess
from thor_terratorch_ext import ThorPreprocess

SEED = 20265
S2 = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
S1 = ("VV", "VH")
#: Modality, our name of a normalisation, the peer's.
THOR = (
    ("s2", "thor_stats", "thor_stats"),
    ("s2", "unit_scale", "unit_scale"),
    ("s1", "log1p_p99", "thor_stats"),
    ("s1", "none", "none"),
)
ANYSAT = ("per_tile_zscore", "unit_scale")


def worst(ours: np.ndarray, theirs: np.ndarray) -> float | None:
    """Largest difference relative to the largest value; ``None`` if the shapes differ."""
    if ours.shape != theirs.shape:
        return None
    return float(np.abs(ours.astype(np.float64) - theirs).max() / max(np.abs(theirs).max(), 1e-6))


def numbers(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Digital numbers with what goes wrong in files: missing, infinite, negative and too large ones."""
    pixels = rng.normal(3000, 2500, shape).astype(np.float32)
    spoilt = rng.random(shape)
    pixels[spoilt < 0.01] = np.nan
    pixels[spoilt > 0.995] = np.inf
    return pixels


def compare_thor(rng: np.random.Generator, size: tuple[int, int], mode: str, adjust: str) -> dict[str, Any]:
    """Run one raster through both, for every normalisation."""
    errors = {}
    for modality, name, theirs_name in THOR:
        bands = S2 if modality == "s2" else S1
        raw = numbers(rng, (len(bands), *size))
        if modality == "s1":
            raw = np.abs(raw) * np.float32(1e-4)
        own = ThorPreprocess(name, resize_mode=mode, shape_adjust=adjust, missing="zero", shape_tol_px=40)
        ours, plan = own.prepare_array(raw, bands)
        clean = np.nan_to_num(raw, nan=0.0, posinf=0.0, neginf=0.0)
        prepared, meta = onthefly_thor._prepare_thor_raw_chw(
            np.clip(clean, 0, 10000) if modality == "s2" else clean,
            scale_m=10,
            patch_size=8,
            band_gsds=(10, 20) if modality == "s2" else (10,),
            image_size=288,
            resize_mode=mode,
            shape_adjust=adjust,
            shape_tol_px=40,
            max_native_side=384,
            max_native_tokens=3000,
            fill_value=0.0,
            input_prep_mode="resize",
        )
        normalise = onthefly_thor._normalize_s2_for_thor if modality == "s2" else onthefly_thor._normalize_s1_for_thor
        theirs = normalise(prepared, mode=theirs_name)
        if meta["preprocess_strategy"] == "fixed_resize" and theirs.shape[-2:] != (288, 288):
            theirs = onthefly_thor._resize_chw(theirs, out_hw=288)
        errors[f"{modality} {name}"] = worst(ours, theirs) if plan.describe() == meta else None
    return errors


def compare_anysat(rng: np.random.Generator, size: tuple[int, int]) -> dict[str, Any]:
    """Series of random length: normalised pixels and days of the year."""
    frames = int(rng.integers(1, 12))
    raw = numbers(rng, (frames, 10, *size))
    start = date(2016, 1, 1) + timedelta(days=int(rng.integers(0, 3000)))
    end = start + timedelta(days=int(rng.integers(frames, 500)))
    errors: dict[str, Any] = {}
    for name in ANYSAT:
        own = AnySatPreprocess(
            name, non_square="pad_reflect", frames=frames, start=start.isoformat(), end=end.isoformat()
        )
        ours, days = own.prepare_array(raw)
        clean = np.clip(np.nan_to_num(raw, nan=0.0, posinf=0.0, neginf=0.0), 0, 10000)
        theirs = onthefly_anysat._normalize_series(onthefly_anysat._resize_tchw(clean, out_hw=24), mode=name)
        errors[name] = worst(ours, theirs)
    window = TemporalSpec.range(start.isoformat(), end.isoformat())
    theirs_days = onthefly_anysat._frame_doy0_sequence(window, n_frames=frames)
    return errors | {"days": 0.0 if days.tolist() == list(theirs_days) else None}


def main() -> None:
    """Compare random rasters and print one JSON object per line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=40)
    count = parser.parse_args().count
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(SEED)
    modes = itertools.cycle(itertools.product(("native_snap", "fixed"), ("crop", "pad")))
    for _ in range(count):
        height = int(rng.integers(1, 420))
        size = height, max(1, height + int(rng.integers(-30, 31)))
        result = {"size": size, "thor": compare_thor(rng, size, *next(modes)), "anysat": compare_anysat(rng, size)}
        print(json.dumps(result), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
