"""THOR's attention by itself: FlexAttention against a dense bias and chunks of it; equality, memory, time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from thor_terratorch_ext.model.alibi import alibi_slopes
from thor_terratorch_ext.model.attention import AttentionBackend, make_attend
from thor_terratorch_ext.model.channels import select_bands
from thor_terratorch_ext.model.layout import TokenLayout, resolve_layout
from throughput.cases import PATCH, S1_S2, S2
from throughput.clock import Budget, Precision, computing, measured, precisions

#: Sides in pixels and bands of sequences: 1 620, 2 916, 11 664 and 46 656 tokens.
SEQUENCES = ((288, S2), (288, S1_S2), (576, S1_S2), (1152, S1_S2))
QUICK = ((48, S2),)
WAYS: tuple[AttentionBackend, ...] = ("flex", "shared_bias", "chunked")
#: Those of THOR base.
HEADS, HEAD_DIM = 12, 64
#: Queries that are compared with float64, spread over the sequence.
PROBES = 64


def attention_rows(device: str, budget: Budget, repeats: int, *, quick: bool) -> Iterator[dict[str, Any]]:
    """Yield time, memory and error by length, precision and way."""
    for side, bands in QUICK if quick else SEQUENCES:
        layout = resolve_layout(select_bands(list(bands)), side * 10, [PATCH])
        for precision in precisions(device):
            for way in WAYS:
                name = f"attention, {layout.n_tokens} tokens, {precision}, {way}"
                reason = _refused(way, layout.n_tokens, device)
                if reason:
                    budget.skip(name, reason)
                elif budget.allows(name, 25 if way == "flex" and device == "cuda" else 3):
                    yield from _row(name, way, layout, precision, device, budget, repeats)


def _refused(way: str, tokens: int, device: str) -> str:
    """Return why a way cannot be tried, or nothing."""
    if device == "cpu":
        scores = HEADS * tokens**2 * 4 / 2**30
        return f"{scores:.0f} GiB of scores" if way != "chunked" and scores > 2 else ""
    total = torch.cuda.get_device_properties(0).total_memory
    # The bias, and what the kernel makes of it.
    return "the bias does not fit in memory" if way == "shared_bias" and HEADS * tokens**2 * 8 > total else ""


def _row(
    name: str,
    way: AttentionBackend,
    layout: TokenLayout,
    precision: Precision,
    device: str,
    budget: Budget,
    repeats: int,
) -> Iterator[dict[str, Any]]:
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    generator = torch.Generator().manual_seed(0)
    shape = (3, 1, HEADS, layout.n_tokens, HEAD_DIM)
    query, key, value = torch.randn(shape, generator=generator).to(device, kind).unbind()
    coordinates, slopes = layout.coordinates().to(device), alibi_slopes(HEADS).to(device).float()
    try:
        with computing("tf32" if precision == "tf32" else "float32", device), torch.inference_mode():
            attend = make_attend(way, coordinates, slopes, kind)
            found = attend(query, key, value)
            took = measured(lambda: attend(query, key, value), device, repeats)
    except torch.OutOfMemoryError:
        budget.skip(name, "out of memory")
        return
    yield {
        "tokens": layout.n_tokens,
        "precision": precision,
        "way": way,
        "ms": took.median * 1000,
        "peak_gib": took.peak_gib,
        "tflops": 4 * layout.n_tokens**2 * HEADS * HEAD_DIM / took.median / 1e12,
        "error": _error(found, query, key, value, coordinates, slopes),
    }


def _error(
    found: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    coordinates: torch.Tensor,
    slopes: torch.Tensor,
) -> float:
    """Return the relative L2 error of some queries against float64, written out."""
    rows = torch.linspace(0, query.shape[2] - 1, PROBES, device=query.device).long()
    distance = torch.cdist(coordinates[rows], coordinates, compute_mode="donot_use_mm_for_euclid_dist")
    scores = query[0, :, rows].double() @ key[0].double().mT * HEAD_DIM**-0.5
    scores = scores - slopes.double()[:, None, None] * distance
    expected = scores.softmax(-1) @ value[0].double()
    return float((found[0, :, rows].double() - expected).norm() / expected.norm())
