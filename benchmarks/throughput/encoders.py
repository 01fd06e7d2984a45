"""Windows and km2 a second of the encoders: by size, batch, precision, eager and compiled."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from throughput.cases import Case
from throughput.clock import Budget, Precision, computing, in_numbers, measured, moved, precisions


def flop_of(case: Case, device: str) -> float:
    """Return the floating point operations of one window, a multiply-add counted as two: those of all products.

    What an encoder computes once for all windows of one size is not among them.
    """
    model = case.model(written_out=True).to(device).requires_grad_(requires_grad=False)
    one = moved(case.batch(1), device)
    with torch.no_grad():
        model(one)
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model(one)
    return float(counter.get_total_flops())


def encoder_rows(cases: Sequence[Case], device: str, budget: Budget, repeats: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each case, precision and batch, eager."""
    for case in cases:
        if not budget.allows(f"encoder {case.name}", 5):
            continue
        model: Any = case.model().to(device)
        work = flop_of(case, device)
        exact = _grid(model, case, "float32", device)
        for precision in precisions(device):
            own = in_numbers(model, precision)
            distance = 1 - torch.nn.functional.cosine_similarity(_grid(own, case, precision, device), exact, dim=1)
            errors = {"cosine_distance": float(distance.median()), "largest_distance": float(distance.max())}
            for size in case.batches if device == "cuda" else case.on_cpu:
                name = f"encoder {case.name}, {precision}, batch {size}"
                if budget.allows(name):
                    yield from _row(name, own, case, precision, size, device, budget, repeats, work, errors)


def compiled_rows(
    cases: Sequence[Case], device: str, budget: Budget, repeats: int, seconds: float = 80
) -> Iterator[dict[str, Any]]:
    """Yield a row for each case, compiled as one graph, with the largest batch; each is expected to take so long."""
    for precision in precisions(device):
        for case in cases:
            size = (case.batches if device == "cuda" else case.on_cpu)[-1]
            name = f"encoder {case.name}, {precision}, batch {size}, compiled"
            if budget.allows(name, seconds):
                torch.compiler.reset()
                own = in_numbers(case.model().to(device), precision)
                model: Any = torch.compile(own, fullgraph=True, dynamic=False)
                begun = time.monotonic()
                _grid(model, case, precision, device, size)
                more = {"compile_s": time.monotonic() - begun}
                work = flop_of(case, device)
                yield from _row(name, model, case, precision, size, device, budget, repeats, work, more)


def _grid(model: Any, case: Case, precision: Precision, device: str, size: int = 1) -> torch.Tensor:  # noqa: ANN401
    with computing(precision, device), torch.inference_mode():
        found: torch.Tensor = model(moved(case.batch(size), device)).float()
        return found


def _row(
    name: str,
    model: Any,  # noqa: ANN401
    case: Case,
    precision: Precision,
    size: int,
    device: str,
    budget: Budget,
    repeats: int,
    work: float,
    more: dict[str, float],
) -> Iterator[dict[str, Any]]:
    try:
        with computing(precision, device), torch.inference_mode():
            data = moved(case.batch(size), device)
            took = measured(lambda: model(data), device, repeats)
    except torch.OutOfMemoryError:
        budget.skip(name, "out of memory")
        return
    rate = size / took.median
    yield {
        "case": case.name,
        "encoder": case.encoder,
        "input": case.stated,
        "precision": precision,
        "mode": "compiled" if "compile_s" in more else "eager",
        "batch": size,
        "windows_per_s": rate,
        "km2_per_s": rate * case.km2,
        "windows_per_core_s": size / took.core if took.core else None,
        "shortest_s": took.shortest,
        "longest_s": took.longest,
        "repeats": took.repeats,
        "peak_gib": took.peak_gib,
        "gflop_per_window": work / 1e9,
        "tflops": work * rate / 1e12,
        **more,
    }
