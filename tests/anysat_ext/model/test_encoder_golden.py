"""The encoder is the published one: golden vectors, published keys, the real sample, and the stages in between."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anysat_ext.model.encoder import SIZES, AnySat
from anysat_ext.model.positions import encode_dates

TOLERANCE = 5e-6
_CASES = Path(__file__).resolve().parents[4] / "shared" / "golden" / "anysat" / "cases.json"
CASE_IDS = [case["id"] for case in json.loads(_CASES.read_text())["cases"]] if _CASES.is_file() else ["absent"]


def relative(actual: torch.Tensor, expected: np.ndarray) -> float:
    wanted = expected.astype(np.float64)
    return float(np.abs(actual.detach().double().numpy() - wanted).max() / np.abs(wanted).max())


@pytest.fixture(scope="module")
def arrays(golden: Any) -> dict[str, np.ndarray]:
    return golden.read_arrays("golden.npz")


@pytest.mark.parametrize("case_id", CASE_IDS)
def test_features_are_the_published_ones(case_id: str, golden: Any, filled: Any, arrays: Any) -> None:
    case = golden.cases[case_id]
    encoder = filled(case["size"], _built(case), reduce_scale=_reduce_scale(case))
    # What the published model lets pass and we refuse by default.
    allowed = {"crop": "crop" in case_id, "check_dates": "outofrange" not in case_id}
    data = golden.data(case)
    computed: dict[str, torch.Tensor] = {}
    for wanted in sorted(case["outputs"], key=lambda entry: entry["output"]):
        name = "/".join(wanted.values())
        actual = _contained(name, computed, case) if case["size"] == "base" else None
        if actual is None:
            with torch.inference_mode():
                actual = encoder(data, case["patch_size"], **wanted, **allowed)
        computed[wanted["output"]] = actual
        expected = case["result"][name]
        assert list(actual.shape) == expected["shape"], name
        error = relative(actual.flatten()[:: expected["stride"]], arrays[f"{case_id}|{name}"])
        assert error <= TOLERANCE, (name, error)


def _contained(name: str, computed: dict[str, torch.Tensor], case: dict[str, Any]) -> torch.Tensor | None:
    """A result that another one of the same case contains; spares forward passes of base."""
    if "all" in computed and name in ("patch", "tile"):
        merged = computed["all"]
        return merged[:, 0] if name == "tile" else merged[:, 1:].reshape(case["result"]["patch"]["shape"])
    if "dense" in computed and name == "patch":
        dense, side = computed["dense"], case["result"]["patch"]["shape"][1]
        r = dense.shape[1] // side
        return dense[:, ::r, ::r, : dense.shape[-1] // 2]
    return None


def _reduce_scale(case: dict[str, Any]) -> str:
    """The training configuration where it is needed; and for all of base, so that one encoder serves."""
    trained = "overrides" in case or case.get("path") == "train" or case["size"] == "base"
    return "training" if trained else "published"


def _built(case: dict[str, Any]) -> Sequence[str] | None:
    """All modalities of the small sizes; of base only what the larger cases need."""
    if case["size"] != "base":
        return None
    return ["aerial", "alos", "l7", "l8", "modis", "s1", "s2"]


#: One forward pass per entry, and the results that it must contain.
REAL = [
    (size, patch_size, wanted)
    for size in ("tiny", "base")
    for patch_size, wanted in ((10, "all"), (20, "dense/aerial"), (20, "dense/s2"), (60, "patch"))
]


@pytest.fixture(scope="module")
def treesat(golden: Any) -> dict[str, torch.Tensor]:
    """The TreeSatAI-TS sample, normalised with the statistics of its data set; its days count from 1."""
    raw = golden.read_arrays("real_inputs.npz")
    statistics = golden.read_json("real.json")["stats"]
    data = {}
    for name, key in (("aerial", "aerial_u8"), ("s2", "s2_i16"), ("s1", "s1")):
        mean, std = (torch.tensor(values, dtype=torch.float32)[:, None, None] for values in statistics[name])
        data[name] = ((torch.from_numpy(raw[key].astype(np.float32)) - mean) / std)[None]
    for name in ("s2", "s1"):
        data[f"{name}_dates"] = torch.from_numpy(raw[f"{name}_dates"].astype(np.int64))[None]
    return data


@pytest.mark.parametrize(("size", "patch_size", "wanted"), REAL)
def test_features_of_the_treesat_sample_are_the_published_ones(
    size: str, patch_size: int, wanted: str, golden: Any, filled: Any, treesat: Any
) -> None:
    encoder = filled(size, _built({"size": size}), reduce_scale=_reduce_scale({"size": size}))
    output, _, modality = wanted.partition("/")
    with torch.inference_mode():
        result = encoder(treesat, patch_size, output, modality)
    actual = {wanted: result}
    if wanted == "all":
        actual = {"tile": result[:, 0], "patch": result[:, 1:].unflatten(1, (6, 6))}
    elif modality == "aerial":
        actual["patch"] = result[:, ::10, ::10, : result.shape[-1] // 2]
    about = {entry["key"]: entry for entry in golden.read_json("real.json")["results"]}
    arrays = golden.read_arrays("golden_real.npz")
    for name, values in actual.items():
        key = f"real_{size}_p{patch_size}|{name}"
        assert list(values.shape) == about[key]["shape"]
        assert relative(values.flatten()[:: about[key]["stride"]], arrays[key]) <= TOLERANCE, key


def test_the_published_statistics_are_those_of_the_treesat_sample(golden: Any) -> None:
    from anysat_ext.model.modalities import MODALITIES

    for name, (mean, std) in golden.read_json("real.json")["stats"].items():
        statistics = MODALITIES[name].statistics
        assert statistics is not None
        assert (list(statistics.mean), list(statistics.std)) == (mean, std)
    assert sum(m.statistics is not None for m in MODALITIES.values()) == 3


@pytest.mark.parametrize("size", SIZES)
def test_parameter_names_shapes_and_counts_are_the_published_ones(size: str, golden: Any) -> None:
    published = golden.read_json(f"state_dict_{size}.json")
    with torch.device("meta"):
        encoder = AnySat(size)
    assert {key: list(value.shape) for key, value in encoder.state_dict().items()} == {
        key: entry["shape"] for key, entry in published.items()
    }
    assert not list(encoder.buffers())
    counts = {"tiny": 8_135_015, "small": 43_811_271, "base": 125_905_447}
    assert sum(p.numel() for p in encoder.parameters()) == counts[size]


def _raster(rows: torch.Tensor, batch: int, side: int, tokens: int) -> torch.Tensor:
    """Rows in order of patches back to row-major pixels, the published order of the temporal stage."""
    shape = (batch, side, side, tokens, tokens, *rows.shape[1:])
    return rows.reshape(shape).transpose(2, 3).reshape(-1, *rows.shape[1:])


def _captured(encoder: AnySat, data: Any, patch_size: int, modality: str) -> dict[str, list[torch.Tensor]]:
    """What the modules return, by name, in the order of the calls; also what goes into the first global block."""
    outputs: dict[str, list[torch.Tensor]] = {}

    def keep(name: str) -> Any:
        return lambda _module, _inputs, output: outputs.setdefault(name, []).append(output)

    handles = [module.register_forward_hook(keep(name)) for name, module in encoder.named_modules()]
    handles.append(
        encoder.blocks[0].register_forward_pre_hook(lambda _m, inputs: outputs.update({"tokens": [inputs[0]]}))
    )
    with torch.inference_mode():
        encoder(data, patch_size, "dense", modality)
    for handle in handles:
        handle.remove()
    return outputs


def test_every_stage_of_the_forward_pass(golden: Any, filled: Any) -> None:
    about = golden.read_json("intermediates_tiny.json")
    expected = golden.read_arrays("intermediates_tiny.npz")
    data = golden.data(about)
    encoder = filled("tiny")
    stages: dict[str, torch.Tensor] = {}
    for name, suffix in (("s2", ""), ("s1", "#2")):
        out = _captured(encoder, data, about["patch_size"], name)
        which = 0 if name == "s2" else 1
        root = f"projector_{name}.patch_embed"
        length = data[name].shape[1]
        mlp = _raster(out[f"{root}.inconv"][0].view(-1, length, 256), 2, 2, 2)
        stages[f"{name}/token_mlp"] = mlp.flatten(0, 1)
        normed = _raster(out[f"{root}.in_norm"][0].transpose(1, 2), 2, 2, 2) if name == "s2" else mlp
        stages[f"{name}/in_norm(B*HW,C,T)"] = normed.transpose(1, 2)
        dates = encode_dates(data[f"{name}_dates"], 16, 16, 367)
        stages[f"{name}/date_encoding"] = dates[:, None].expand(2, 16, length, 256).flatten(0, 1)
        stages[f"{name}/after_mlp"] = _raster(out[f"{root}.mlp"][0], 2, 2, 2)
        stages[f"{name}/out_norm"] = _raster(out[f"{root}.out_norm"][0], 2, 2, 2)
        stages[f"{name}/projector"] = out[f"projector_{name}"][0]
        for block in (0, 1):
            for part, module in (("attn", ".attn"), ("block", "")):
                found = out[f"spatial_encoder.predictor_blocks.{block}{module}"]
                # The last block of a modality whose tokens are not wanted computes its class row only.
                stages[f"spatial{block}/{part}{suffix}"] = found[which if block == 0 else 0]
        stages[f"spatial/norm{suffix}"] = out["spatial_encoder.predictor_norm"][which]
    stages["global/input"] = out["tokens"][0]
    stages |= {f"global{block}/block": out[f"blocks.{block}"][0] for block in (0, 1)}
    stages["cross/attn_out"] = out["blocks.2.attn"][0]
    stages["output/all"] = out["blocks.2"][0]
    stages["output/dense_s1"] = out[""][0]
    for name, stage in stages.items():
        entry = about["tensors"][name]
        assert list(stage.shape) == entry["shape"], name
        error = relative(stage.flatten()[:: entry["stride"]], expected[name.replace("/", "|")])
        assert error <= TOLERANCE, (name, error)
    covered = {name for name in about["tensors"] if "temporal_heads" not in name}
    assert set(stages) == covered


@pytest.mark.parametrize("name", ["s2", "s1"])
def test_each_temporal_head_averages_its_own_channels(name: str, golden: Any, filled: Any) -> None:
    about = golden.read_json("intermediates_tiny.json")
    key = f"{name}/temporal_heads(n_head*BHW,1,C/n_head)"
    encoder = filled("tiny")
    merged: list[torch.Tensor] = []
    mlp = encoder.get_submodule(f"projector_{name}.patch_embed.mlp")
    handle = mlp.register_forward_pre_hook(lambda _module, inputs: merged.append(inputs[0]))
    with torch.inference_mode():
        encoder(golden.data(about), about["patch_size"])
    handle.remove()
    heads = _raster(merged[0], 2, 2, 2).view(-1, 16, 16).transpose(0, 1).flatten()
    stride = about["tensors"][key]["stride"]
    assert relative(heads[::stride], golden.read_arrays("intermediates_tiny.npz")[key.replace("/", "|")]) <= TOLERANCE
