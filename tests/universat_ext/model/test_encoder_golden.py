"""The encoder is the published one: golden vectors, published keys, the published table, and the stages in between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from universat_ext.model.encoder import SIZES, UniverSat
from universat_ext.model.modalities import CODES, MODALITIES

TOLERANCE = 5e-6
_CASES = Path(__file__).resolve().parents[4] / "shared" / "golden" / "universat" / "cases.json"
CASE_IDS = [case["id"] for case in json.loads(_CASES.read_text())["cases"]] if _CASES.is_file() else ["absent"]
ARGUMENTS = ("latent_grid", "output_grid", "wavelengths", "input_res", "subpatches")


def relative(actual: torch.Tensor, expected: np.ndarray) -> float:
    wanted = expected.astype(np.float64)
    return float(np.abs(actual.detach().double().numpy() - wanted).max() / np.abs(wanted).max())


@pytest.fixture(scope="module")
def arrays(golden: Any) -> dict[str, np.ndarray]:
    return golden.read_arrays("golden.npz")


@pytest.mark.parametrize("case_id", CASE_IDS)
def test_features_are_the_published_ones(case_id: str, golden: Any, filled: Any, arrays: Any) -> None:
    case = golden.cases[case_id]
    encoder, data = filled(case["size"]), golden.data(case)
    arguments = {name: case[name] for name in ARGUMENTS if name in case}
    found: dict[str, torch.Tensor] = {}
    for output in sorted(entry["output"] for entry in case["outputs"]):
        if output == "grid" and "all" in found:  # the same without the registers, see below
            found[output] = found["all"][:, 4:]
        else:
            with torch.inference_mode():
                found[output] = encoder(data, case["patch_size"], output, **arguments)
        expected = case["result"][output]
        assert list(found[output].shape) == expected["shape"], output
        error = relative(found[output].flatten()[:: expected["stride"]], arrays[f"{case_id}|{output}"])
        assert error <= TOLERANCE, (output, error)


def test_grid_is_all_without_the_registers(filled: Any, series: Any) -> None:
    data = series("s2")
    with torch.inference_mode():
        assert torch.equal(filled()(data, 20, "grid"), filled()(data, 20, "all")[:, 4:])


@pytest.mark.parametrize("size", SIZES)
def test_names_and_shapes_are_the_published_ones_but_for_the_heads(size: str, golden: Any) -> None:
    published = golden.read_json(f"state_dict_{size}.json")
    kept = {key: entry for key, entry in published.items() if not key.startswith("projector__")}
    with torch.device("meta"):
        encoder = UniverSat(size)
    assert {k: list(v.shape) for k, v in encoder.state_dict().items()} == {k: e["shape"] for k, e in kept.items()}
    assert {name for name, _ in encoder.named_buffers()} == {key for key, entry in kept.items() if entry.get("buffer")}
    counts = {"tiny": 6_172_320, "base": 144_339_232}
    assert sum(p.numel() for p in encoder.parameters()) == counts[size]


def test_a_published_state_loads_strictly_with_its_heads_and_no_other_surplus(golden: Any, filled: Any) -> None:
    published = golden.read_json("state_dict_tiny.json")
    state = {key: torch.from_numpy(golden.fill.fill_array(key, e["shape"])) for key, e in published.items()}
    given, encoder = dict(state), UniverSat("tiny")
    encoder.load_state_dict(given)
    assert list(given) == list(state)  # the caller's stays whole
    assert all(torch.equal(value, state[key]) for key, value in encoder.state_dict().items())
    with pytest.raises(RuntimeError, match="Unexpected key"):
        encoder.load_state_dict(state | {"spatial_encoder.new": torch.ones(1)})


def test_the_table_of_sensors_is_the_published_one(golden: Any) -> None:
    published = golden.read_json("modalities.json")["modalities"]
    unusable = {name for name, entry in published.items() if entry["input_res"] is None}
    assert set(published) - unusable == set(MODALITIES)
    for name, modality in MODALITIES.items():
        entry = published[name]
        assert (modality.pixel_metres, modality.subpatch_pixels) == (entry["input_res"], entry["subpatch_pixels"])
        assert len(modality.bands) == len(set(modality.bands)) == entry["channels"]
        for mine, theirs in zip(modality.descriptors, entry["wavelengths"], strict=True):
            assert mine == (theirs if isinstance(theirs, str) else pytest.approx(theirs, abs=1e-12)), name
            assert not isinstance(mine, str) or mine in CODES


class Capture:
    """What the modules of an encoder get and return in one pass, by name, in the order of the calls."""

    def __init__(self, encoder: UniverSat) -> None:
        self.encoder = encoder
        self.inputs: dict[str, list[torch.Tensor]] = {}
        self.outputs: dict[str, list[torch.Tensor]] = {}

    def run(self, *arguments: Any, **more: Any) -> torch.Tensor:
        def keep(name: str) -> Any:
            def hook(_module: Any, inputs: Any, output: Any) -> None:
                self.inputs.setdefault(name, []).append(inputs)
                self.outputs.setdefault(name, []).append(output)

            return hook

        handles = [module.register_forward_hook(keep(name)) for name, module in self.encoder.named_modules()]
        with torch.inference_mode():
            result = self.encoder(*arguments, **more)
        for handle in handles:
            handle.remove()
        return result


def _patch_stages(out: Capture, k: int, name: str, frames: int, channels: int, q: int) -> dict[str, torch.Tensor]:
    """The stages of modality number k: 2 samples, 2 x 2 patches of 2 x 2 sub-patches of q x q pixels."""
    root = "spatial_encoder"

    def by_subpatch(rows: torch.Tensor, *axes: int) -> torch.Tensor:
        """Rows with the sub-patch before frames and channels, as the published code has them: behind."""
        split = rows.reshape(8, 4, *axes, *rows.shape[1:])
        return split.movedim(1, 1 + len(axes)).reshape(-1, *rows.shape[1:])

    pixels = out.outputs[f"{root}.embed"][k].view(2, 2, 2, 2, 2, frames, channels, q, q, -1)
    image = pixels.permute(0, 5, 6, 1, 3, 7, 2, 4, 8, 9)
    stages = {"pixel_embedding(B,T,C,H,W,d)": image.reshape(2, frames, channels, 4 * q, 4 * q, -1)}
    orders: list[tuple[str, tuple[int, ...]]] = [("S1", (frames, channels)), ("C", (frames,)), ("T", ()), ("S", ())]
    for number, (axis, order) in enumerate(orders):
        block = f"{root}.predictor_blocks.{number}"
        rows = {
            "in": out.inputs[block][k][0],
            "norm1": out.outputs[f"{block}.norm1"][k],
            "attn": out.outputs[f"{block}.attn"][k][:, None],
            "out": out.outputs[block][k][:, None],
        }
        for part, value in rows.items():
            stages[f"{axis}/{part}"] = value if axis == "S" else by_subpatch(value, *order)
    tokens = out.outputs[f"{root}.final_proj"][k]
    skip = out.outputs[f"{root}.spatial_proj"][k].view(8, 4, -1)
    places = out.inputs[f"{root}.predictor_blocks.3.attn.rope"][k][0].expand(8, -1, -1)
    stages |= {"skip(B*P,S,D)": skip, "S/coords": places, "tokens(B*P,1,1,1,D)": tokens[:, None, None, None]}
    stages["predictor_norm"] = out.outputs[f"{root}.predictor_norm"][k][:, None, None, None]
    return {f"{name}/{stage}": value for stage, value in stages.items()}


def test_every_stage_of_the_forward_pass(golden: Any, filled: Any) -> None:
    about, expected = golden.read_json("intermediates_tiny.json"), golden.read_arrays("intermediates_tiny.npz")
    data, encoder = golden.data(about), filled("tiny")
    out = Capture(encoder)
    stages = {"output/all": out.run(data, about["patch_size"], "all", output_grid=about["output_grid"])}
    stages["output/grid"] = stages["output/all"][:, 4:]
    for k, (name, frames, channels, q) in enumerate([("s2", 3, 10, 1), ("s1", 2, 3, 1), ("spot", 1, 3, 10)]):
        stages |= _patch_stages(out, k, name, frames, channels, q)
        with torch.inference_mode():
            stages[f"output/tokens/{name}"] = encoder(data, about["patch_size"], f"tokens/{name}")
    stages["spot/S1/coords"] = out.inputs["spatial_encoder.predictor_blocks.0.attn.rope"][0][0].expand(96, -1, -1)
    with torch.inference_mode():
        stages["output/subpatches"] = encoder(data, about["patch_size"], "subpatches")
    stages["fusion/in"] = out.inputs["blocks.0"][0][0]
    stages["fusion/attn"], stages["fusion/out"] = (out.outputs[f"blocks.0{p}"][0][:, None] for p in (".attn", ""))
    stages["trunk1/in"], places = out.inputs["blocks.1"][0]
    stages["trunk1/coords"] = places.expand(2, -1, -1)
    stages["trunk1/attn"] = out.outputs["blocks.1.attn"][0]
    stages |= {f"trunk{number}/out": out.outputs[f"blocks.{number}"][0] for number in range(1, 7)}
    cells, cell_places, tokens, token_places = out.inputs["blocks.8"][0]
    stages |= {"skip_block/q": cells, "skip_block/coords_q": cell_places.expand(2, -1, -1), "skip_block/kv": tokens}
    stages["skip_block/coords_kv"] = token_places.expand(2, -1, -1)
    stages["skip_block/attn"], stages["skip_block/out"] = out.outputs["blocks.8.attn"][0], out.outputs["blocks.8"][0]
    for name, stage in stages.items():
        entry = about["tensors"][name]
        assert list(stage.shape) == entry["shape"], name
        error = relative(stage.flatten()[:: entry["stride"]], expected[name])
        assert error <= TOLERANCE, (name, error)
    # Days are angles here, and shown by what comes behind them.
    assert {name for name in about["tensors"] if not name.endswith("T/coords")} == set(stages)
