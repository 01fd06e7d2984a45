"""Seconds of a step of training: a linear head on the grid, frozen and unfrozen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from throughput.cases import Case
from throughput.clock import Budget, Precision, computing, measured, moved, precisions

CLASSES = 2
#: How training uses bfloat16: weights stay float32.
MIXED: Precision = "bf16-mixed"


def fit_rows(cases: Sequence[Case], device: str, budget: Budget, repeats: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each case, precision and kind of training; the batch is the middle one of the case."""
    for case in cases:
        sizes = case.batches if device == "cuda" else case.on_cpu
        for precision in (*(name for name in precisions(device) if name != "bf16"), MIXED):
            for trained in ("head", "all"):
                name = f"fit {case.name}, {precision}, {trained}"
                if not budget.allows(name, 3):
                    continue
                try:
                    yield _row(case, sizes[len(sizes) // 2], precision, trained, device, repeats)
                except torch.OutOfMemoryError:
                    budget.skip(name, "out of memory")


def _row(case: Case, size: int, precision: Precision, trained: str, device: str, repeats: int) -> dict[str, Any]:
    step = _step(case, size, precision, device, whole=trained == "all")
    with computing(precision, device):
        took = measured(step, device, repeats)
    return {
        "case": case.name,
        "encoder": case.encoder,
        "input": case.stated,
        "precision": precision,
        "trained": trained,
        "batch": size,
        "s_per_step": took.median,
        "windows_per_s": size / took.median,
        "windows_per_core_s": size / took.core if took.core else None,
        "peak_gib": took.peak_gib,
    }


def _step(case: Case, size: int, precision: Precision, device: str, *, whole: bool) -> Callable[[], None]:
    """Return one step: forwards, cross-entropy of each cell, backwards, AdamW."""
    model: Any = case.model().to(device).requires_grad_(whole)
    model.train(whole)
    data = moved(case.batch(size), device)
    with computing(precision, device), torch.no_grad():
        grid = model(data)
    head = torch.nn.Conv2d(grid.shape[1], CLASSES, 1).to(device)
    labels = torch.randint(CLASSES, (size, *grid.shape[2:]), generator=torch.Generator().manual_seed(0)).to(device)
    weights = [part for part in (*model.parameters(), *head.parameters()) if part.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=1e-4, fused=device == "cuda")

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.set_grad_enabled(whole):
            found = model(data)
        torch.nn.functional.cross_entropy(head(found).float(), labels).backward()
        optimiser.step()

    return step
