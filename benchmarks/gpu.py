"""Measure what the encoders do on a GPU, or on a CPU: equality to the published ones, speed, memory, training.

    python benchmarks/gpu.py --out benchmarks/results/NAME.json                    # CUDA, 5 minutes
    python benchmarks/gpu.py --device cpu --budget 1200 --out benchmarks/results/NAME.json
    python benchmarks/gpu.py --device cpu --quick                                  # does it run

It needs PyTorch and this repository (``PYTHONPATH=.`` where it is not installed), neither TerraTorch nor GDAL, and
prints JSON. Parts run in the order of their names below, for at most ``--budget`` seconds; what was left out stands in
the result with the reason. Times are those of CUDA's own clock, medians after a warm-up. The golden vectors are taken
from ``../shared/golden``, ``shared/golden`` or ``--golden``.

============ ==========================================================================================
golden       outputs against golden vectors of the published encoders, by precision; it ends with 1 if float32 differs
attention    FlexAttention, a dense bias and chunks of it at 1 620 to 46 656 tokens
encoder      windows and km2 a second, by size, batch and precision
fit          a step of training, head alone and all weights
stream       with copies to the GPU and of all vectors back (CUDA)
compiled     the encoders as one graph, with the seconds that compiling takes: 75 for THOR tiny on an H100, so that it
             wants a run of its own, ``--parts compiled``
published    the published encoders beside ours, where rs-embed is installed
============ ==========================================================================================
"""

from __future__ import annotations

import argparse
import json
import sys
import types
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

try:
    import wrapt  # noqa: F401
except ModuleNotFoundError:
    # Our packages register themselves with TerraTorch by it, of which there is none here.
    sys.modules["wrapt"] = types.SimpleNamespace(when_imported=lambda _name: lambda function: function)  # type: ignore[assignment]

from throughput.attention import attention_rows
from throughput.cases import CASES, QUICK
from throughput.clock import REPEATS, Budget
from throughput.encoders import compiled_rows, encoder_rows
from throughput.fit import fit_rows
from throughput.golden import find_golden, golden_rows
from throughput.peak import device_facts, measured_tflops
from throughput.published import published_rows
from throughput.stream import stream_rows

PARTS = ("golden", "attention", "encoder", "fit", "stream", "compiled", "published")
FIT = ("THOR tiny", "THOR base", "AnySat base 24 px T8 p10")
STREAM = ("THOR tiny", "THOR base", "AnySat base 96 px T12 p40", "AnySat base 96 px T1 p40")
COMPILED = ("THOR tiny", "THOR base", "AnySat base 24 px T8 p10", "THOR small", "THOR large")
Rows = Iterator[dict[str, Any]]


def parts_of(options: argparse.Namespace, budget: Budget, repeats: int) -> dict[str, Callable[[], Rows]]:
    """Return the parts by name, each as what yields its rows."""
    cases, device, quick = QUICK if options.quick else CASES, options.device, options.quick

    def chosen(names: tuple[str, ...]) -> tuple[Any, ...]:
        return cases if quick else tuple(case for name in names for case in cases if case.name == name)

    def golden() -> Rows:
        folder = find_golden(options.golden)
        if folder is None:
            budget.skip("golden", "no golden vectors at hand: carry shared/golden along, or name it with --golden")
            return iter(())
        return golden_rows(folder, device, budget, quick=quick)

    def stream() -> Rows:
        if device == "cuda":
            return stream_rows(chosen(STREAM), budget, repeats)
        budget.skip("stream", "there are no copies without a GPU")
        return iter(())

    return {
        "golden": golden,
        "attention": lambda: attention_rows(device, budget, repeats, quick=quick),
        "encoder": lambda: encoder_rows(cases, device, budget, repeats),
        "fit": lambda: fit_rows(chosen(FIT), device, budget, repeats),
        "stream": stream,
        "compiled": lambda: compiled_rows(chosen(COMPILED), device, budget, repeats),
        "published": lambda: published_rows(chosen(FIT), device, budget, repeats),
    }


def with_shares(rows: list[dict[str, Any]], device: dict[str, Any], peak: dict[str, float]) -> None:
    """Add to each row which part of the device's peak it reaches: the maker's for bfloat16, and the measured one."""
    for row in rows:
        stated = device.get("stated_bf16_tflops")
        row["of_stated_bf16_peak"] = row["tflops"] / stated if stated else None
        row["of_measured_peak"] = row["tflops"] / peak[row["precision"]]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--quick", action="store_true", help="small inputs, one repeat: does it run")
    parser.add_argument("--parts", default=",".join(PARTS), help="comma-separated, any of: " + ", ".join(PARTS))
    parser.add_argument("--budget", type=float, default=300, help="seconds after which nothing further is begun")
    parser.add_argument("--golden", type=Path, help="folder of golden vectors")
    parser.add_argument("--threads", type=int, help="of a CPU; by default those of PyTorch")
    parser.add_argument("--note", default="", help="what a reader should know of the machine, such as its price")
    parser.add_argument("--out", type=Path, help="JSON file, written after each part")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.parts.split(",")) - set(PARTS))
    if unknown:
        parser.error(f"--parts: unknown {', '.join(unknown)}; valid: {', '.join(PARTS)}.")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch sees no CUDA device here. --device cpu measures the CPU.")
    return options


def main() -> None:
    """Measure, write and print."""
    options = parse()
    if options.threads:
        torch.set_num_threads(options.threads)
    budget, repeats = Budget(options.budget), 1 if options.quick else REPEATS
    device = device_facts(options.device)
    peak = measured_tflops(
        options.device, repeats, 256 if options.quick else 8192 if options.device == "cuda" else 2048
    )
    found: dict[str, Any] = {
        "measured_by": "benchmarks/gpu.py",
        "date": datetime.now(UTC).date().isoformat(),
        "quick": options.quick,
        "note": options.note,
        "device": device,
        "measured_tflops": peak,
        "rows": {},
        "left_out": budget.left_out,
    }
    for name, rows in parts_of(options, budget, repeats).items():
        if name not in options.parts.split(","):
            continue
        kept = found["rows"][name] = []
        for row in rows():
            if "tflops" in row:
                with_shares([row], device, peak)
            kept.append(row)
            print(name, json.dumps(row), file=sys.stderr, flush=True)
        found["seconds"] = round(budget.spent, 1)
        if options.out:
            options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))
    unequal = [row["case"] for row in found["rows"].get("golden", ()) if row["equal"] is False]
    if unequal:
        sys.exit(f"In float32, {len(unequal)} golden cases differ from the published encoders: {', '.join(unequal)}")


if __name__ == "__main__":
    main()
