"""Compare our THOR with the copy that rs-embed carries: ``python compare_thor.py --count 50`` prints JSON lines.

A script and not a test module, because importing the peer replaces ``forward`` of timm's ``Attention`` and ``Block``
for the whole process. Each line is one random configuration: what it was, and where the two implementations differ.
"""

from __future__ import annotations

import argparse
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from rs_embed.embedders._vendor import thor_vit as peer  # type: ignore[import-untyped]

from eo_models.precision.matmul import matmul_precision
from thor_terratorch_ext.backbone import ThorBackbone, build_thor
from thor_terratorch_ext.model.encoder import split_groups
from thor_terratorch_ext.necks import merge_maps, token_maps

SEED = 20260
STRATEGIES = ("min", "max", "equal-min", "equal-max")
MERGES = (None, "mean", "sum", "concat")
PATCH_SIZES = (4, 5, 6, 8, 10, 12, 14, 16, 18, 20, 24, 32)
#: Most tokens of an image, and longest side in pixels of the finest band.
MAX_TOKENS = {"tiny": 1000, "small": 600, "base": 400}
MAX_SIDE = 512

_S2 = {
    10: ("BLUE", "GREEN", "RED", "NIR_BROAD"),
    20: ("RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3", "NIR_NARROW", "SWIR_1", "SWIR_2"),
    60: ("COASTAL_AEROSOL", "WATER_VAPOR"),
}
#: Radar bands by group; inside a group, the spellings of one channel.
_S1 = (
    (("VV", "ASC_VV", "DSC_VV", "IW_VV"), ("VH", "ASC_VH", "DSC_VH", "IW_VH"), ("EW_VV",), ("EW_VH",)),
    (("IW_HV",), ("IW_HH",), ("EW_HV",), ("EW_HH",)),
)
_OLCI = tuple(f"OA{i:02d}_REFLECTANCE" for i in range(1, 22))
_SLSTR = {480: tuple(f"S{i}_REFLECTANCE_AN" for i in range(1, 7)), 960: tuple(f"S{i}_BT_IN" for i in range(7, 10))}
_SENSORS = (
    *(("S2",), ("S1",), ("OLCI",), ("SLSTR",)),
    *(("S2", "S1"), ("S2", "S1"), ("OLCI", "SLSTR"), ("S1", "OLCI"), ("S2", "OLCI"), ("S2", "S1", "SLSTR")),
)


@dataclass(frozen=True)
class Configuration:
    """One model and the shape of its input."""

    variant: str
    sensors: tuple[str, ...]
    bands: tuple[str, ...]
    gsds: tuple[int, ...]
    ground_cover: int
    patch_sizes: tuple[int, ...]
    strategy: str
    merge_method: str | None
    out_indices: tuple[int, ...] | int | None
    shape: tuple[int, int, int, int]

    @property
    def input_params(self) -> dict[str, object]:
        """Argument of both implementations, made anew because the peer keeps what it is given."""
        return {
            "ground_covers": [self.ground_cover],
            "flexivit_patch_size_seqs": list(self.patch_sizes),
            "select_patch_strategy": self.strategy,
        }


def draw(rng: np.random.Generator, index: int) -> Configuration:
    """Draw a valid configuration; variant, strategy, merge method and sensors take turns."""
    variant = "base" if index % 25 == 24 else "small" if index % 5 == 3 else "tiny"
    strategy, merge = STRATEGIES[index % 4], MERGES[index // 4 % 4]
    found = None
    while found is None:
        sensors = _SENSORS[rng.integers(len(_SENSORS))]
        bands, gsds = _bands(rng, sensors)
        found = _geometry(rng, gsds, strategy, MAX_TOKENS[variant])
    cover, patch_sizes = found
    indices = _out_indices(rng)
    shape = (int(rng.integers(1, 3)), len(bands), *_image_size(rng, cover // min(gsds)))
    return Configuration(variant, sensors, bands, gsds, cover, patch_sizes, strategy, merge, indices, shape)


def _geometry(
    rng: np.random.Generator, gsds: Sequence[int], strategy: str, max_tokens: int
) -> tuple[int, tuple[int, ...]] | None:
    """Ground cover and patch sizes that suit the groups; None if a thousand draws do not find any."""
    for _ in range(1000):
        patch_sizes = tuple(_pick(rng, PATCH_SIZES, int(rng.integers(1, 6))))
        step = math.lcm(*(gsd * int(rng.choice(patch_sizes)) for gsd in gsds))
        cover = step * int(rng.integers(1, 25))
        if _fits(cover, gsds, patch_sizes, strategy, max_tokens):
            return cover, patch_sizes
    return None


def _pick(rng: np.random.Generator, pool: Sequence[Any], count: int) -> list[Any]:
    return [pool[k] for k in rng.permutation(len(pool))[:count]]


def _some(rng: np.random.Generator, pool: Sequence[Any]) -> list[Any]:
    return _pick(rng, pool, int(rng.integers(1, len(pool) + 1)))


def _bands(rng: np.random.Generator, sensors: Sequence[str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Band names in random order, and the pixel size of each group in use."""
    names: list[str] = []
    gsds: list[int] = []
    tables = {"S2": _S2, "SLSTR": _SLSTR}
    for sensor in sensors:
        if sensor == "OLCI":
            chosen = _some(rng, _OLCI)
            names += chosen
            gsds += [240] * len({(int(name[2:4]) - 1) // 7 for name in chosen})
        elif sensor == "S1":
            for group in _some(rng, _S1):
                members, gsd = _radar(rng, group)
                names += members
                gsds.append(gsd)
        else:
            for gsd in _some(rng, list(tables[sensor])):
                names += _some(rng, tables[sensor][gsd])
                gsds.append(gsd)
    return tuple(_pick(rng, names, len(names))), tuple(gsds)


def _radar(rng: np.random.Generator, group: Sequence[Sequence[str]]) -> tuple[list[str], int]:
    """Some channels of a radar group; half the time, one or more of them state the pixel size."""
    names = [str(rng.choice(spellings)) for spellings in _some(rng, group)]
    if rng.random() < 0.5:
        return names, 10
    gsd = int(rng.choice([5, 10, 20, 40, 60]))
    stated = int(rng.integers(1, len(names) + 1))
    return [f"{name}_{gsd}" if k < stated else name for k, name in enumerate(names)], gsd


def _fits(cover: int, gsds: Sequence[int], patch_sizes: Sequence[int], strategy: str, max_tokens: int) -> bool:
    """Whether both implementations must accept it: the peer takes what does not divide and computes something else."""
    if any(cover % gsd for gsd in gsds) or not 2 <= cover // min(gsds) <= MAX_SIDE:
        return False
    grids = [{cover // (gsd * p) for p in patch_sizes if cover % (gsd * p) == 0} for gsd in gsds]
    if not all(grids):
        return False
    if strategy.startswith("equal"):
        common = set.intersection(*grids)
        if not common:
            return False
        sizes = [max(common) if strategy == "equal-min" else min(common)] * len(gsds)
    else:
        sizes = [max(grid) if strategy == "min" else min(grid) for grid in grids]
    return 4 <= sum(size**2 for size in sizes) <= max_tokens


def _out_indices(rng: np.random.Generator) -> tuple[int, ...] | int | None:
    kind = rng.random()
    if kind < 0.15:
        return None
    if kind < 0.3:
        return int(rng.integers(1, 13))
    chosen = [int(k) for k in _pick(rng, range(12), int(rng.integers(1, 5)))]
    ordered = chosen if kind < 0.5 else sorted(chosen)
    return tuple(k - 12 if rng.random() < 0.3 else k for k in ordered)


def _image_size(rng: np.random.Generator, native: int) -> tuple[int, int]:
    """Native size half the time, else a square or an oblong image that both resize."""
    kind = rng.random()
    if kind < 0.5:
        return native, native
    height, width = (max(2, int(native * factor)) for factor in rng.uniform(0.5, 1.6, size=2))
    return (height, height) if kind < 0.75 else (height, width)


@lru_cache(maxsize=3)
def weights(variant: str) -> Mapping[str, torch.Tensor]:
    """Random weights of ordinary size for everything that is learned; what is a formula stays as constructed."""
    generator = torch.Generator().manual_seed(SEED)
    state = build_thor(variant, pretrained=False, model_bands=["VV"]).model.state_dict()
    for key, value in state.items():
        if key == "encoder_slopes" or key.startswith("band_embed."):
            continue
        noise = torch.randn(value.shape, generator=generator)
        if value.ndim > 1:
            state[key] = noise * (2.0 / value[0].numel() ** 0.5)
        else:
            state[key] = 0.1 * noise + (1.0 if "norm" in key and key.endswith("weight") else 0.0)
    return state


def build_peer(config: Configuration) -> Any:
    """Build the peer's model.

    Each construction narrows a table of groups of the whole process, from which the next one reads the radar groups;
    it is filled again before.
    """
    groups = peer._default_input_params["groups"]
    peer.AVAILABLE_GROUPS.clear()
    peer.AVAILABLE_GROUPS.update({f"group{i}": list(group) for i, group in enumerate(groups)})
    indices = list(config.out_indices) if isinstance(config.out_indices, tuple) else config.out_indices
    return peer.load_thor_model(
        f"thor_v1_{config.variant}",
        model_bands=list(config.bands),
        out_indices=indices,
        pretrained=False,
        input_params=config.input_params,
        merge_method=config.merge_method,
        return_channel_params=True,
    ).eval()


def build_ours(config: Configuration) -> ThorBackbone:
    """Build our model."""
    return build_thor(
        config.variant,
        pretrained=False,
        model_bands=list(config.bands),
        out_indices=config.out_indices,
        input_params=config.input_params,
        merge_method=config.merge_method,
        return_channel_params=True,
    ).eval()


def _load(model: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> float:
    """Load all weights; return how far the constructed formula entries were from those of `state`."""
    own = model.state_dict()
    formulas = [key for key in state if key == "encoder_slopes" or key.startswith("band_embed.")]
    error = max(float((own[key] - state[key]).abs().max()) for key in formulas)
    model.load_state_dict(deepcopy(dict(state)))
    return error


def tolerance(config: Configuration) -> float:
    """Of ``max|ours - peer| / max|peer|``: the peer's distances round more with a 60 m group."""
    return 5e-5 if 60 in config.gsds else 1e-5


def compare(config: Configuration, image: torch.Tensor) -> dict[str, Any]:
    """Run both on the same weights and input."""
    theirs, ours = build_peer(config), build_ours(config)
    formula_error = max(_load(theirs.model, weights(config.variant)), _load(ours.model, weights(config.variant)))
    with torch.inference_mode():
        expected, expected_params = theirs(image)
        actual, actual_params = ours(image)
    same_shapes = [tuple(t.shape) for t in actual] == [tuple(t.shape) for t in expected]
    error = _worst(actual, expected) if same_shapes else None
    exceeds = error is not None and error > tolerance(config)
    # Only these have the meaning of a list of distinct blocks in the peer's `out_channels`.
    plain = not isinstance(config.out_indices, int)
    return {
        "config": asdict(config),
        "error": error,
        "tolerance": tolerance(config),
        "own_rounding": own_rounding(ours, actual, image) if exceeds else None,
        "shapes": [[list(t.shape) for t in actual], [list(t.shape) for t in expected]],
        "formula_error": formula_error,
        "channel_params": [actual_params, expected_params],
        "attributes": [_attributes(ours, plain), _attributes(theirs, plain)],
    }


def own_rounding(ours: ThorBackbone, actual: Sequence[torch.Tensor], image: torch.Tensor) -> float:
    """How far our float32 features are from float64 ones of the same (float32) resized bands."""
    if ours.ground_cover is None:
        msg = "This comparison states the ground cover of every model."
        raise ValueError(msg)
    layout = ours.layout(ours.ground_cover)
    parts = [part.double() for part in split_groups([image], layout)]
    sizes = [grid.grid_size for grid in layout.groups]
    with torch.inference_mode():
        exact = deepcopy(ours.model).double().forward_intermediates(parts, layout, ours.out_indices)
        if ours.merge_method is not None:
            exact = [merge_maps(token_maps(feature, sizes), ours.merge_method) for feature in exact]
    return _worst(actual, exact)


def _worst(actual: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> float:
    pairs = zip(actual, expected, strict=True)
    errors = [float((a.double() - b.double()).abs().max() / b.double().abs().max()) for a, b in pairs]
    return max(errors) if all(map(math.isfinite, errors)) else math.inf


def _attributes(model: Any, with_out_channels: bool) -> dict[str, Any]:
    names = ("bands", "groups", "ground_cover", "input_size", "lowest_gsd", "single_embedding_shape")
    out_channels = {"out_channels": list(model.out_channels)} if with_out_channels else {}
    return {name: getattr(model, name) for name in names} | out_channels


def main() -> None:
    """Compare random configurations and print one JSON object per line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50)
    count = parser.parse_args().count
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)  # Threads that wait for one another take five times as long on a busy machine.
    rng = np.random.default_rng(SEED)
    # Both sides in float32, whatever the imports of this process let products be on CPUs with AMX.
    with matmul_precision("highest"):
        for config in [draw(rng, index) for index in range(count)]:
            image = torch.from_numpy(rng.standard_normal(config.shape).astype(np.float32))
            try:
                result = compare(config, image)
            except Exception as error:
                error.add_note(f"in {config}")
                raise
            print(json.dumps(result), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
