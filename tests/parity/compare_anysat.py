"""Compare our AnySat with the copy that rs-embed carries: ``python compare_anysat.py --count 40`` prints JSON lines.

A script and not a test module, because importing the peer extends ``sys.path``. Each line is one random
configuration: what it was, and how far the two implementations are apart on the same weights and the same input.
"""

from __future__ import annotations

import argparse
import json
import math
import warnings
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from rs_embed.embedders._vendor.anysat import hubconf as peer

from anysat_ext.model.encoder import OUTPUTS, AnySat
from anysat_ext.model.modalities import MODALITIES
from eo_models.precision.matmul import matmul_precision

SEED = 20263
#: Most tokens of a spatial encoding, over all patches and modalities of a batch.
MAX_TOKENS = {"tiny": 12_000, "small": 4_000, "base": 1_500}
#: Those with 10 m patches; the peer can take the 30 m sensors alone only, and MODIS not at all.
MIXABLE = ("aerial", "aerial-flair", "spot", "naip", "s2", "s1-asc", "s1", "l8")
COARSE = ("l7", "alos")


@dataclass(frozen=True)
class Configuration:
    """One call."""

    size: str
    modalities: tuple[str, ...]
    frames: tuple[int, ...]
    batch: int
    patch_size: int
    side: int
    output: str
    output_modality: str | None


def draw(rng: np.random.Generator, index: int) -> Configuration:
    """Draw a valid configuration; sizes and outputs take turns, and some dense maps are of scrambled aerial patches."""
    size = "base" if index % 10 == 9 else "small" if index % 5 == 3 else "tiny"
    output = OUTPUTS[index % 4]
    scrambled = index % 12 == 6
    while True:
        coarse = index % 8 == 5
        pool = COARSE if coarse else MIXABLE
        count = int(rng.integers(1, min(5, len(pool) + 1)))
        names = tuple(pool[k] for k in rng.permutation(len(pool))[:count])
        scale = 1 if coarse else int(rng.integers(2 if scrambled else 1, 9))
        side, batch = int(rng.integers(1, 10)), int(rng.integers(1, 4))
        tokens = sum((side * scale * MODALITIES[name].tokens_per_cell) ** 2 for name in names)
        longest = max((scale * MODALITIES[name].tokens_per_cell) ** 2 for name in names)
        if scrambled and not any(name.startswith("aerial") for name in names):
            continue
        if batch * tokens <= MAX_TOKENS[size] and longest <= 900:
            break
    frames = tuple(int(rng.integers(1, 13)) if MODALITIES[name].is_series else 0 for name in names)
    shown = [name for name in names if name.startswith("aerial")] if scrambled else names
    modality = str(rng.choice(shown)) if output == "dense" or rng.random() < 0.3 else None
    return Configuration(size, names, frames, batch, 10 * scale, side, output, modality)


def make_data(config: Configuration, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    """Noise of the right shapes, with days of the year that differ per sample and may repeat."""
    data: dict[str, torch.Tensor] = {}
    for name, frames in zip(config.modalities, config.frames, strict=True):
        modality = MODALITIES[name]
        # At patch size 10 the peer takes a pixel of a 30 m sensor for a patch of 10 m.
        metres = config.side * config.patch_size
        pixels = config.side if name in COARSE else round(metres / modality.pixel_metres)
        shape = (config.batch, *((frames,) if frames else ()), modality.n_bands, pixels, pixels)
        data[name] = torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
        if frames:
            data[f"{name}_dates"] = torch.from_numpy(rng.integers(0, 366, (config.batch, frames)))
    return data


@lru_cache(maxsize=3)
def models(size: str) -> tuple[Any, AnySat]:
    """Both implementations on the same random weights of ordinary size."""
    theirs, ours = peer.AnySat(size, flash_attn=False).eval(), AnySat(size).eval()
    generator = torch.Generator().manual_seed(SEED)
    state = theirs.model.state_dict()
    for key, value in state.items():
        noise = torch.randn(value.shape, generator=generator)
        if value.ndim > 1:
            state[key] = noise * (1.5 / value[0].numel() ** 0.5)
        else:
            state[key] = 0.1 * noise + (1.0 if value.ndim == 1 and key.endswith("weight") else 0.0)
    theirs.model.load_state_dict(state)
    ours.load_state_dict(state)
    return theirs, ours


def compare(config: Configuration, data: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Run both on the same weights and input."""
    theirs, ours = models(config.size)
    arguments = {"output_modality": config.output_modality} if config.output_modality else {}
    with torch.inference_mode():
        expected = theirs(dict(data), patch_size=config.patch_size, output=config.output, **arguments)
        actual = ours(data, patch_size=config.patch_size, output=config.output, **arguments)
    same = actual.shape == expected.shape
    error = float((actual.double() - expected.double()).abs().max() / expected.double().abs().max()) if same else None
    return {
        "config": asdict(config),
        "error": error if error is not None and math.isfinite(error) else None,
        "shapes": [list(actual.shape), list(expected.shape)],
    }


def main() -> None:
    """Compare random configurations and print one JSON object per line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=40)
    count = parser.parse_args().count
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)  # threads that wait for one another on a busy machine take many times as long
    rng = np.random.default_rng(SEED)
    # Both sides in float32, whatever the imports of this process let products be on CPUs with AMX.
    with matmul_precision("highest"):
        for config in [draw(rng, index) for index in range(count)]:
            try:
                result = compare(config, make_data(config, rng))
            except Exception as error:
                error.add_note(f"in {config}")
                raise
            print(json.dumps(result), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
