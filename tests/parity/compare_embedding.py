"""Compare embeddings with rs-embed's adapters, live: ``python compare_embedding.py`` prints one JSON line per case.

A script and not a test module, so that the peer is imported in a process of its own. Both sides get the same random
weights and the same raw array; the adapter prepares, encodes and pools it in its way, we in ours.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from eo_models.precision.matmul import matmul_precision

SEED = 20266
S2 = ["BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3", "NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"]
S1 = ["VV", "VH"]


def worst(ours: np.ndarray, theirs: np.ndarray) -> float | None:
    """Largest difference relative to the largest value; ``None`` if the shapes differ."""
    if ours.shape != theirs.shape:
        return None
    return float(np.abs(ours.astype(np.float64) - theirs).max() / np.abs(theirs).max())


def compare_thor(rng: np.random.Generator, count: int) -> Iterator[dict[str, Any]]:
    """Random sizes, patch sizes, merges and poolings of both modalities."""
    from rs_embed.core.specs import BBox, OutputSpec, TemporalSpec
    from rs_embed.embedders import onthefly_thor as peer

    from eo_models.features import FeatureExtractor
    from thor_terratorch_ext import ThorPreprocess

    load = peer._load_thor
    current: dict[str, FeatureExtractor] = {}

    def with_our_weights(**arguments: Any) -> Any:
        model, meta, device = load(**arguments)
        inner = model.model if hasattr(model, "model") else model
        state = current["extractor"].backbone.model.state_dict()
        known = inner.state_dict()
        inner.load_state_dict({key: value for key, value in state.items() if key in known}, strict=False)
        return model, meta, device

    peer._load_thor = with_our_weights
    adapter = peer.THORBaseEmbedder()
    place, window = BBox(0.0, 0.0, 0.01, 0.01), TemporalSpec.range("2022-06-01", "2022-09-01")
    kinds = itertools.cycle(("pooled", "grid"))
    for index in range(count):
        s1 = index % 3 == 2
        patch_size = int(rng.choice([4, 8, 16]))
        merge = str(rng.choice(["mean", "sum", "concat"]))
        pooling = str(rng.choice(["mean", "max"]))
        kind = next(kinds)
        size = int(rng.integers(20, 150))
        shape = (2 if s1 else 10, size, size + int(rng.integers(-3, 4)))
        raw = (0.08 * np.exp(0.7 * rng.normal(size=shape)) if s1 else rng.normal(2000, 900, shape)).astype(np.float32)
        os.environ |= {
            "RS_EMBED_THOR_PATCH_SIZE": str(patch_size),
            "RS_EMBED_THOR_GROUP_MERGE": merge,
            "RS_EMBED_THOR_PRETRAINED": "0",
            "RS_EMBED_THOR_MODEL_KEY": "thor_v1_tiny",
        }
        torch.manual_seed(index)
        arguments = {
            "pretrained": False,
            "model_bands": S1 if s1 else S2,
            "input_gsd": 10,
            "input_params": {"flexivit_patch_size_seqs": [patch_size]},
        }
        current["extractor"] = FeatureExtractor("thor_v1_tiny", arguments, group_merge=merge).eval()
        preprocess = ThorPreprocess("log1p_p99" if s1 else "thor_stats", patch_size=patch_size, missing="zero")
        image = torch.from_numpy(preprocess.prepare_array(raw, S1 if s1 else S2)[0])
        with torch.no_grad():
            (features,) = current["extractor"](image[None])
        ours = features.grid[0] if kind == "grid" and features.grid is not None else features.pooled(pooling)[0]
        output = OutputSpec.grid() if kind == "grid" else OutputSpec.pooled(pooling=pooling)
        found = adapter.get_embedding(
            spatial=place,
            temporal=window,
            sensor=adapter._default_sensor("s1" if s1 else "s2"),
            output=output,
            backend="auto",
            device="cpu",
            input_chw=raw,
        )
        yield {
            "case": f"thor {'s1' if s1 else 's2'} {shape} p{patch_size} {kind} {merge} {pooling}",
            "error": worst(ours.numpy(), np.asarray(found.data, dtype=np.float32)),
        }


def compare_anysat(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Patch and dense grids and both poolings at several patch sizes, with our random weights."""
    from rs_embed.core.specs import BBox, OutputSpec, TemporalSpec
    from rs_embed.embedders import onthefly_anysat as peer

    from anysat_ext import AnySatPreprocess
    from eo_models.features import FeatureExtractor

    load = peer._load_anysat
    torch.manual_seed(0)
    base = FeatureExtractor("anysat_base", {"pretrained": False, "modalities": ["s2"]}).eval()
    state = base.backbone.model.state_dict()

    def with_our_weights(**arguments: Any) -> Any:
        model, meta, device = load(**arguments)
        model.model.load_state_dict(state, strict=False)
        return model, meta, device

    peer._load_anysat = with_our_weights
    os.environ["RS_EMBED_ANYSAT_PRETRAINED"] = "0"
    adapter = peer.AnySatEmbedder()
    window = TemporalSpec.range("2021-01-01", "2022-01-01")
    for patch_size, mode in ((40, "patch"), (60, "dense"), (120, "patch"), (40, "mean"), (80, "max")):
        frames = int(rng.integers(2, 5))
        raw = rng.normal(2500, 1200, (frames, 10, 24, 24)).astype(np.float32)
        os.environ |= {
            "RS_EMBED_ANYSAT_FRAMES": str(frames),
            "RS_EMBED_ANYSAT_GRID_MODE": mode if mode in ("patch", "dense") else "patch",
        }
        output = "dense" if mode == "dense" else "patch"
        arguments = {"pretrained": False, "modalities": ["s2"], "patch_size": patch_size, "output": output}
        extractor = FeatureExtractor("anysat_base", arguments).eval()
        extractor.backbone.model.load_state_dict(state)
        preprocess = AnySatPreprocess(frames=frames, start="2021-01-01", end="2022-01-01")
        pixels, days = preprocess.prepare_array(raw)
        image = {"s2": torch.from_numpy(pixels).transpose(0, 1)[None], "s2_dates": torch.from_numpy(days)[None]}
        with torch.no_grad():
            (features,) = extractor(image)
        is_grid = mode in ("patch", "dense") and features.grid is not None
        ours = features.grid[0] if is_grid else features.pooled(mode)[0]
        sensor = dataclasses.replace(adapter._default_sensor(), scale_m=patch_size)
        found = adapter.get_embedding(
            spatial=BBox(0.0, 0.0, 0.01, 0.01),
            temporal=window,
            sensor=sensor,
            output=OutputSpec.grid() if mode in ("patch", "dense") else OutputSpec.pooled(pooling=mode),
            backend="auto",
            device="cpu",
            input_chw=raw,
        )
        yield {
            "case": f"anysat T{frames} p{patch_size} {mode}",
            "error": worst(ours.numpy(), np.asarray(found.data, dtype=np.float32)),
        }


def main() -> None:
    """Compare random cases and print one JSON object per line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=24)
    count = parser.parse_args().count
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rng = np.random.default_rng(SEED)
    # Both sides in float32: TerraTorch's import lets the process's products be bfloat16 on CPUs with AMX.
    with matmul_precision("highest"):
        for result in itertools.chain(compare_thor(rng, count), compare_anysat(rng)):
            print(json.dumps(result), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
