"""Time, memory and precision of one call; and how long a run may go on."""

from __future__ import annotations

import contextlib
import copy
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from eo_models.precision.matmul import Matmul, matmul_precision
from eo_models.precision.numbers import Arithmetic

#: ``bf16`` as exports have it: weights of linear layers in bfloat16; ``bf16-mixed``: autocast alone, for training.
Precision = Literal["float32", "tf32", "bf16", "bf16-mixed"]
MATMUL: dict[Precision, Matmul] = {"float32": "highest", "tf32": "high", "bf16": "highest", "bf16-mixed": "highest"}
#: Repeats of one measurement, and the seconds after which it is enough of them (but three).
REPEATS, ENOUGH = 5, 3.0


def precisions(device: str) -> tuple[Precision, ...]:
    """Return what is measured on a device; a CPU has no TF32."""
    return ("bf16", "tf32", "float32") if device == "cuda" else ("float32", "bf16")


def in_numbers(model: torch.nn.Module, precision: Precision) -> torch.nn.Module:
    """Return a frozen model with the weights that a precision computes with; a copy where they are others."""
    model.requires_grad_(requires_grad=False)
    if precision != "bf16":
        return model
    turned = copy.deepcopy(model)
    Arithmetic("bf16", "highest", next(turned.parameters()).device).prepare(turned)
    return turned


@contextlib.contextmanager
def computing(precision: Precision, device: str) -> Iterator[None]:
    """Compute in a precision: ``float32`` with TF32 off, ``bf16`` and ``bf16-mixed`` by autocast."""
    half = precision.startswith("bf16")
    with matmul_precision(MATMUL[precision]), torch.autocast(device, torch.bfloat16, enabled=half):
        yield


@dataclass
class Budget:
    """Seconds of a run, and what was left out.

    Parameters
    ----------
    seconds : float
        After which no further measurement is begun.
    """

    seconds: float
    begun: float = field(default_factory=time.monotonic)
    left_out: list[dict[str, str]] = field(default_factory=list)

    @property
    def spent(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.begun

    def allows(self, part: str, needs: float = 1.0) -> bool:
        """Return whether something that needs so many seconds may begin; note it if not."""
        fits = self.spent + needs <= self.seconds
        if not fits:
            self.skip(part, f"out of time: {self.spent:.0f} of {self.seconds:.0f} s spent, it needs about {needs:.0f}")
        return fits

    def skip(self, part: str, why: str) -> None:
        """Note what is not measured."""
        self.left_out.append({"part": part, "why": why})


@dataclass(frozen=True)
class Measured:
    """Seconds of a call: the median and the extremes over repeats, and the median of the processor's on a CPU.

    The processor's time counts all threads, but not the time when others had the cores. The largest memory on a GPU is
    in GiB.
    """

    median: float
    core: float | None
    shortest: float
    longest: float
    repeats: int
    peak_gib: float | None


def measured(run: Callable[[], object], device: str, repeats: int = REPEATS) -> Measured:
    """Time a call after a warm-up, on a GPU by its own clock."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    if repeats > 1:
        run()
    found: list[float] = []
    cores: list[float] = []
    while len(found) < repeats and (sum(found) < ENOUGH or len(found) < min(3, repeats)):
        wall, core = (_on_gpu(run), 0.0) if device == "cuda" else _on_cpu(run)
        found.append(wall)
        cores.append(core)
    peak = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None
    core_s = None if device == "cuda" else statistics.median(cores)
    return Measured(statistics.median(found), core_s, min(found), max(found), len(found), peak)


def _on_gpu(run: Callable[[], object]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / 1000


def _on_cpu(run: Callable[[], object]) -> tuple[float, float]:
    wall, core = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - core


def moved(batch: dict[str, torch.Tensor], device: str) -> dict[str, Any]:
    """Return a batch on a device."""
    return {key: value.to(device) for key, value in batch.items()}
