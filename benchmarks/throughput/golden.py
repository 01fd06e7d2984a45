"""Are the outputs on this device those of the published encoders? Golden vectors, by precision."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from anysat_ext.model.encoder import AnySat
from thor_terratorch_ext.model.channels import select_bands
from thor_terratorch_ext.model.encoder import ThorEncoder, split_groups
from thor_terratorch_ext.model.layout import resolve_layout
from throughput.clock import Budget, computing, in_numbers, moved, precisions

#: Cases of each size and of several sensors, the quick ones first.
THOR = (
    *("tiny_s2_10_gc2880_ps8", "tiny_s2s1_gc2880_ps8", "tiny_s1_gc2880_ps8", "small_s2_10_gc2880_ps8"),
    *("base_s2_10_gc960_ps16", "base_s2_10_gc2880_ps8", "large_s2_10_gc960_ps16"),
)
ANYSAT = (
    *("tiny_s2_T3_6px_p20", "tiny_s2_T8_24px_p10", "tiny_s2s1_12px_p20", "tiny_aerial_s2_s1_60m_p10"),
    *("base_s2_T3_batchdates_6px_p20", "base_s2_T8_24px_p10"),
)
#: One of each, where it shall only be seen whether it runs.
QUICK = (("tiny_s2_ps4_gc480",), ("tiny_s2_T3_6px_p20",))
#: What float32 may differ by: the largest difference as a part of the largest value.
TOLERANCE = 1e-4


def find_golden(given: Path | None) -> Path | None:
    """Return the folder of golden vectors: the given one, or one beside the checkout, in it, or beside this script."""
    root = Path(__file__).resolve().parents[2]
    usual = (root.parent / "shared" / "golden", root / "shared" / "golden", root / "benchmarks" / "golden")
    places = usual if given is None else (given,)
    return next((place for place in places if (place / "thor" / "cases.json").is_file()), None)


def golden_rows(folder: Path, device: str, budget: Budget, *, quick: bool) -> Iterator[dict[str, Any]]:
    """Yield the error of each case and precision."""
    of_thor, of_anysat = QUICK if quick else (THOR, ANYSAT)
    for case in of_thor:
        if budget.allows(f"golden THOR {case}", 8):
            yield from _thor(folder / "thor", case, device)
    for case in of_anysat:
        if budget.allows(f"golden AnySat {case}", 8):
            yield from _anysat(folder / "anysat", case, device)


def _thor(folder: Path, name: str, device: str) -> Iterator[dict[str, Any]]:
    fill, check = (_module(folder / f"{part}.py") for part in ("fill", "check"))
    case = next(one for one in _read(folder / "cases.json")["cases"] if one["id"] == name)
    params = case["input_params"]
    selection = select_bands(case["model_bands"])
    (cover,), patches = params["ground_covers"], params["flexivit_patch_size_seqs"]
    layout = resolve_layout(selection, cover, patches, params["select_patch_strategy"])
    encoder = fill.fill_module(ThorEncoder(case["variant"])).eval().to(device)
    image = torch.from_numpy(fill.make_input(case["input_name"], case["input_shape"])).to(device)
    for precision in precisions(device):
        with computing(precision, device), torch.inference_mode():
            parts = split_groups([image], layout)
            own: Any = in_numbers(encoder, precision)
            features = own.forward_intermediates(parts, layout, case["out_indices"])
            final = own.norm(features[-1]) if case["store_final_norm"] else None
        worst = check.compare(name, features, final)["worst"]
        yield _row(f"THOR {case['variant']}", name, precision, float(worst))


def _anysat(folder: Path, name: str, device: str) -> Iterator[dict[str, Any]]:
    fill = _module(folder / "fill_anysat.py")
    case = next(one for one in _read(folder / "cases.json")["cases"] if one["id"] == name)
    encoder = AnySat(case["size"], case["order"]).eval()
    with torch.no_grad():
        for key, value in encoder.state_dict().items():
            value.copy_(torch.from_numpy(fill.fill_array(key, tuple(value.shape))))
    encoder.to(device)
    data: dict[str, torch.Tensor] = {}
    for modality in case["order"]:
        about = case["modalities"][modality]
        data[modality] = torch.from_numpy(fill.make_input(name, modality, about["shape"]))
        if "dates" in about:
            data[f"{modality}_dates"] = torch.tensor(about["dates"])
    expected, found = case["result"]["patch"], moved(data, device)
    with np.load(folder / "golden.npz") as archive:
        wanted = torch.from_numpy(archive[f"{name}|patch"]).double()
    for precision in precisions(device):
        with computing(precision, device), torch.inference_mode():
            output = in_numbers(encoder, precision)(found, case["patch_size"], "patch")
        actual = output.flatten()[:: expected["stride"]].double().cpu()
        error = float((actual - wanted).abs().max() / wanted.abs().max())
        yield _row(f"AnySat {case['size']}", name, precision, error)


def _row(encoder: str, case: str, precision: str, error: float) -> dict[str, Any]:
    """Return the largest difference to the published output, as a part of its largest value."""
    equal = error <= TOLERANCE if precision == "float32" else None
    return {"encoder": encoder, "case": case, "precision": precision, "error": error, "equal": equal}


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"golden_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _read(path: Path) -> Any:  # noqa: ANN401
    return json.loads(path.read_text(encoding="utf-8"))
