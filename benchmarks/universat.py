"""Measure UniverSat base beside AnySat base on the same input: absolute figures, and the share of the machine's peak.

    python benchmarks/universat.py --out result.json
    python benchmarks/universat.py --device cuda --cases 24:8:40:16 96:12:40:4

A case is side in pixels : frames : patch size in metres : batch, of Sentinel-2. The published code of UniverSat is not
on the package index, so there is no peer to compare with. Encoders take turns, and times are the shortest of the
repeats. On a CPU they are seconds of the processor, not of the clock, so that other work on the machine counts less.
The peak is what one large product of matrices reaches, timed in the same way between the encoders. Operations are those
of all products, a multiply-add counted as two; what UniverSat multiplies element by element is not among them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from anysat import Case
from throughput.peak import device_facts
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from anysat_ext.model.encoder import AnySat
from universat_ext.model.encoder import UniverSat

CASES = ("24:8:40:1", "24:8:40:4", "32:1:40:1")
PRODUCT = "product of matrices"
Call = Callable[[], torch.Tensor]


def encoders(size: str, device: str) -> dict[str, Callable[[Case, dict[str, torch.Tensor]], torch.Tensor]]:
    """Both encoders with random weights, as functions of a case and its data; each gives its grid of patches."""
    torch.manual_seed(0)
    of_series = AnySat(size, ["s2"]).eval().to(device)  # type: ignore[arg-type]
    universal = UniverSat(size).eval().to(device)  # type: ignore[arg-type]
    return {
        f"AnySat {size}": lambda case, data: of_series(data, case.patch_size),
        f"UniverSat {size}": lambda case, data: universal(data, case.patch_size, output_grid="patch"),
    }


def seconds(call: Call, device: str) -> float:
    """How long a call takes: seconds of the processor on a CPU, of the clock on a GPU."""
    if device == "cpu":
        begun = time.process_time()
        call()
        return (time.process_time() - begun) / torch.get_num_threads()
    torch.cuda.synchronize()
    begun = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - begun


def gflop(call: Call) -> float:
    """Floating point operations of all products of a call, in billions."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops()) / 1e9


def rows(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure all cases."""
    found = []
    both = encoders(options.size, options.device)
    left, right = torch.randn(2, options.product, options.product, device=options.device).unbind()
    for text in options.cases:
        case = Case.parse(text)
        data = {key: value.to(options.device) for key, value in case.data().items()}
        calls: dict[str, Call] = {
            name: lambda run=run, case=case, data=data: run(case, data) for name, run in both.items()
        }
        work = {name: gflop(call) for name, call in calls.items()}
        took: dict[str, list[float]] = {name: [] for name in (*calls, PRODUCT)}
        for _ in range(options.repeats):
            for name, call in (*calls.items(), (PRODUCT, lambda: left @ right)):
                took[name].append(seconds(call, options.device))
        peak = 2 * options.product**3 / min(took.pop(PRODUCT)) / 1e9
        for name, times in took.items():
            shortest = min(times)
            found.append(
                {
                    "encoder": name,
                    "input": str(case),
                    "shortest_s": shortest,
                    "longest_s": max(times),
                    "windows_per_s": case.batch / shortest,
                    "gflop_per_window": work[name] / case.batch,
                    "gflops": work[name] / shortest,
                    "of_measured_peak": work[name] / shortest / peak,
                    "measured_peak_gflops": peak,
                }
            )
            row = found[-1]
            print(
                f"{name:16} {row['input']:22} {row['windows_per_s']:8.2f} windows/s "
                f"{row['gflop_per_window']:8.1f} GFLOP {row['gflops']:7.1f} GFLOP/s "
                f"{row['of_measured_peak']:6.0%} of {peak:.0f}",
                flush=True,
            )
    return found


def main() -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="*", default=CASES)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--size", default="base", choices=("base", "tiny"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--product", type=int, default=1536, help="side of the matrices of the peak")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with torch.inference_mode():
        measured = rows(options)
    if options.out:
        facts = device_facts(options.device)
        options.out.write_text(json.dumps({"device": facts, "rows": measured}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
