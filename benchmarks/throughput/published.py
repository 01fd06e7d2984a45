"""The published encoders beside ours, where rs-embed's copy of their code can be imported: same weights, same input.

Importing it replaces ``forward`` of timm's ``Attention`` and ``Block`` in this process: this part comes last.
"""

from __future__ import annotations

import importlib.util
import statistics
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from throughput.cases import PATCH, S2, Case
from throughput.clock import Budget, Precision, computing, in_numbers, measured, moved, precisions

_CODE = "rs_embed"


def published_rows(cases: Sequence[Case], device: str, budget: Budget, repeats: int) -> Iterator[dict[str, Any]]:
    """Yield windows a second of both, timed in turns, and how far their outputs differ.

    The published encoders know bfloat16 by autocast only; ours is as exports have it.
    """
    if importlib.util.find_spec(_CODE) is None:
        budget.skip("published encoders", f"{_CODE} 0.3.1, which carries their code, is not installed here")
        return
    for case in cases:
        if not budget.allows(f"published {case.name}", 10):
            continue
        ours: Any = case.model().to(device)
        theirs = _anysat(case, ours, device) if case.frames else _thor(case, ours, device)
        sizes = case.batches if device == "cuda" else case.on_cpu
        for precision in precisions(device):
            if budget.allows(f"published {case.name}, {precision}", 5):
                yield _row(case, sizes[len(sizes) // 2], precision, ours, theirs, device, repeats)


def _row(
    case: Case,
    size: int,
    precision: Precision,
    ours: torch.nn.Module,
    theirs: Callable[[Any], torch.Tensor],
    device: str,
    repeats: int,
) -> dict[str, Any]:
    data, own_model = moved(case.batch(size), device), in_numbers(ours, precision)
    with computing(precision, device), torch.inference_mode():
        mine, other = own_model(data).float(), theirs(data).float()
        calls = (lambda: own_model(data), lambda: theirs(data))
        pairs = [[measured(call, device, 1) for call in calls] for _ in range(repeats)]
    own, peer = (statistics.median(one.median for one in side) for side in zip(*pairs, strict=True))
    ratios = [second.median / first.median for first, second in pairs]
    return {
        "case": case.name,
        "encoder": case.encoder,
        "input": case.stated,
        "precision": precision,
        "batch": size,
        "windows_per_s": size / own,
        "published_windows_per_s": size / peer,
        "ratio": statistics.median(ratios),
        "lowest_ratio": min(ratios),
        "highest_ratio": max(ratios),
        "difference": float((mine - other).abs().max() / other.abs().max()),
    }


def _thor(case: Case, ours: Any, device: str) -> Callable[[Any], torch.Tensor]:  # noqa: ANN401
    from rs_embed.embedders._vendor.thor_vit import load_thor_model  # type: ignore[import-not-found]

    from thor_terratorch_ext.necks import merge_maps, token_maps

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = load_thor_model(
            f"thor_v1_{case.size}",
            model_bands=list(S2),
            out_indices=[-1],
            pretrained=False,
            input_params={"ground_covers": [case.side * 10], "flexivit_patch_size_seqs": [PATCH]},
        )
    model.eval().to(device).model.load_state_dict(ours.encoder.state_dict())

    def run(batch: Any) -> torch.Tensor:  # noqa: ANN401
        return merge_maps(token_maps(model(batch["image"])[0], ours.sizes), "mean")

    return run


def _anysat(case: Case, ours: Any, device: str) -> Callable[[Any], torch.Tensor]:  # noqa: ANN401
    from rs_embed.embedders._vendor.anysat import hubconf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = hubconf.AnySat(case.size, flash_attn=False).eval()
    model.model.load_state_dict(ours.encoder.state_dict(), strict=False)
    model.to(device)

    def run(batch: Any) -> torch.Tensor:  # noqa: ANN401
        found: torch.Tensor = model(batch, patch_size=case.patch, output="patch")
        return found.permute(0, 3, 1, 2)

    return run
