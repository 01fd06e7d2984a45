"""Measure our THOR against the published code that rs-embed carries, in the same process on the same weights.

    python benchmarks/thor.py --variant tiny,base --out result.json --table result.md

Times are taken in interleaved pairs, and the ratio is the median over the pairs, so that a machine whose load changes
does not decide. Peak memory is that of the first forward pass of a fresh process. One thread by default: threads that
wait for one another measure what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from thor_terratorch_ext.backbone import ThorBackbone, build_thor
from thor_terratorch_ext.model.encoder import VARIANTS
from thor_terratorch_ext.model.layout import TokenLayout

S2 = (
    *("BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3"),
    *("NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"),
)
CASES = {"S2": S2, "S1+S2": (*S2, "VV", "VH")}
SIDE = 288
GROUND_COVER = 2880
LAST, MIDDLE = [11], [5]
MIB = 2**20


class Ratio(NamedTuple):
    """Time of the peer divided by ours (or of float32 divided by bfloat16): above 1, the second is faster."""

    median: float
    lowest: float
    highest: float
    #: The same from CPU time, which does not count the time when another process had the core.
    cpu: float
    #: Shortest wall time in seconds of the first and the second.
    first: float
    second: float

    def __str__(self) -> str:
        """Return the median with its range."""
        return f"{self.median:.2f} ({self.lowest:.2f}..{self.highest:.2f}; CPU {self.cpu:.2f})"


def build_ours(variant: str, case: str, attention: str = "auto", cover: int = GROUND_COVER) -> ThorBackbone:
    """Build our model for a case."""
    params = {"ground_covers": [cover], "flexivit_patch_size_seqs": [8]}
    return build_thor(
        variant,
        pretrained=False,
        model_bands=list(CASES[case]),
        out_indices=LAST,
        input_params=params,
        attention=attention,
    ).eval()


def build_peer(variant: str, case: str, cover: int = GROUND_COVER) -> Any:  # noqa: ANN401
    """Build the peer's model for a case; importing it replaces ``forward`` of timm's ``Attention`` and ``Block``."""
    from rs_embed.embedders._vendor.thor_vit import load_thor_model  # type: ignore[import-untyped]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_thor_model(
            f"thor_v1_{variant}",
            model_bands=list(CASES[case]),
            out_indices=LAST,
            pretrained=False,
            input_params={"ground_covers": [cover], "flexivit_patch_size_seqs": [8]},
        ).eval()


def make_input(case: str, batch: int, side: int = SIDE) -> torch.Tensor:
    """Return normalised images at the native size."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, len(CASES[case]), side, side, generator=generator)


def measure(function: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def compare(first: Callable[[], object], second: Callable[[], object], repeats: int) -> Ratio:
    """Time two functions in pairs, in alternating order, after one call of each."""
    first()
    second()
    pairs = []
    for repeat in range(repeats):
        if repeat % 2 == 0:
            of_first, of_second = measure(first), measure(second)
        else:
            of_second, of_first = measure(second), measure(first)
        pairs.append((of_first, of_second))
    wall = [a[0] / b[0] for a, b in pairs]
    cpu = [a[1] / b[1] for a, b in pairs]
    fastest = min(a[0] for a, _ in pairs), min(b[0] for _, b in pairs)
    return Ratio(statistics.median(wall), min(wall), max(wall), statistics.median(cpu), *fastest)


def at(model: Any, blocks: list[int], image: torch.Tensor) -> Callable[[], torch.Tensor]:  # noqa: ANN401
    """Return a function that runs a model of either kind up to one block."""

    def run() -> torch.Tensor:
        model.out_indices = blocks
        return model(image)[0]

    return run


def autocast(function: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
    """Return the function under bfloat16 autocast."""

    def run() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return function()

    return run


def relative_l2(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """Relative error in the Euclidean norm."""
    return float((actual.double() - expected.double()).norm() / expected.double().norm())


def relative_maximum(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference, relative to the largest value."""
    return float((actual - expected).abs().max() / expected.abs().max())


def flop(variant: str, layout: TokenLayout, batch: int) -> float:
    """Floating point operations of all matrix multiplies up to the last block, a multiply-add counted as two."""
    dim, tokens = VARIANTS[variant].embed_dim, layout.n_tokens
    linear = 2 * tokens * dim * (3 * dim + dim + 4 * dim + 4 * dim)
    attention = 2 * 2 * tokens**2 * dim
    patches = sum(2 * g.n_tokens * len(g.channels) * g.patch_size**2 * dim for g in layout.groups)
    return batch * (VARIANTS[variant].depth * (linear + attention) + patches)


def matrix_multiply_peak(size: int = 2048, repeats: int = 8) -> float:
    """Best floating point operations per second of a large float32 matrix multiply."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    out = torch.empty(size, size)
    best = min(measure(lambda: torch.matmul(a, b, out=out))[0] for _ in range(repeats))
    return 2 * size**3 / best


def status(key: str) -> int:
    """Return a memory value of this process in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    msg = f"/proc/self/status has no {key}: peak memory is measured on Linux only (--no-memory leaves it out)."
    raise RuntimeError(msg)


def probe(kind: str, variant: str, case: str, batch: int, threads: int) -> None:
    """Print the peak memory in bytes of the first forward pass above the loaded model; for a fresh process.

    A tiny model on a tiny image goes first: the code that a first forward pass loads is no part of the peak.
    """
    torch.set_num_threads(threads)

    def build(size: str, cover: int) -> Any:  # noqa: ANN401
        if kind == "peer":
            return build_peer(size, case, cover)
        return build_ours(size, case, kind.removeprefix("ours:"), cover)

    with torch.inference_mode():
        build("tiny", 320)(make_input(case, 1, side=32))
        model, image = build(variant, GROUND_COVER), make_input(case, batch)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = status("VmRSS")
        model(image)
        print(status("VmHWM") - before)


def peak_memory(kind: str, variant: str, case: str, batch: int, threads: int) -> float:
    """Peak memory in MiB of one implementation, from a fresh process."""
    command = [sys.executable, __file__, "--probe", kind, "--variant", variant, "--cases", case]
    command += ["--batch", str(batch), "--threads", str(threads)]
    process = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return int(process.stdout.split()[-1]) / MIB


def run_case(variant: str, case: str, batch: int, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one variant on one input."""
    theirs, ours = build_peer(variant, case), build_ours(variant, case, options.attention)
    ours.model.load_state_dict(theirs.model.state_dict())
    image = make_input(case, batch)
    full, full_peer = at(ours, LAST, image), at(theirs, LAST, image)
    result: dict[str, Any] = {"variant": variant, "case": case, "batch": batch}
    with torch.inference_mode():
        expected, actual = full_peer(), full()
        result["difference"] = relative_maximum(actual, expected)
        result["speed"] = compare(full_peer, full, options.repeats)
        middle = at(theirs, MIDDLE, image), at(ours, MIDDLE, image)
        result["speed_middle"] = compare(*middle, max(1, options.repeats // 2))
        peak = matrix_multiply_peak()
        if not options.no_bf16:
            half = autocast(full)
            result["speed_bf16"] = compare(full, half, max(1, options.repeats // 2))
            result["error_bf16"] = relative_l2(half(), actual)
            result["error_bf16_peer"] = relative_l2(autocast(full_peer)(), expected)
    operations = flop(variant, ours.layout(GROUND_COVER), batch)
    result |= {"gflop": operations / 1e9, "peak_gflops": peak / 1e9}
    result["share_of_peak"] = operations / result["speed"].second / peak
    result["share_of_peak_peer"] = operations / result["speed"].first / peak
    if not options.no_memory:
        mine = f"ours:{options.attention}"
        result["memory_mib"] = peak_memory(mine, variant, case, batch, options.threads)
        result["memory_mib_peer"] = peak_memory("peer", variant, case, batch, options.threads)
    return result


COLUMNS: tuple[tuple[str, Callable[[dict[str, Any]], str]], ...] = (
    ("case", lambda r: f"{r['variant']} {r['case']} B{r['batch']}"),
    ("max rel. difference", lambda r: f"{r['difference']:.1e}"),
    ("peer s", lambda r: f"{r['speed'].first:.2f}"),
    ("ours s", lambda r: f"{r['speed'].second:.2f}"),
    ("peer / ours, block 11", lambda r: str(r["speed"])),
    ("peer / ours, block 5", lambda r: str(r["speed_middle"])),
    ("share of matmul peak, peer / ours", lambda r: f"{r['share_of_peak_peer']:.0%} / {r['share_of_peak']:.0%}"),
    ("peak MiB, peer / ours", lambda r: f"{r['memory_mib_peer']:.0f} / {r['memory_mib']:.0f}"),
    ("ours float32 / bf16", lambda r: str(r["speed_bf16"])),
    ("bf16 rel. L2 error, peer / ours", lambda r: f"{r['error_bf16_peer']:.1e} / {r['error_bf16']:.1e}"),
)


def as_table(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Lines of a Markdown table; what was not measured is a dash."""
    yield "| " + " | ".join(name for name, _ in COLUMNS) + " |"
    yield "|" + "---|" * len(COLUMNS)
    for result in results:
        cells = []
        for _, show in COLUMNS:
            try:
                cells.append(show(result))
            except KeyError:
                cells.append("-")
        yield "| " + " | ".join(cells) + " |"


def describe_machine(threads: int) -> dict[str, Any]:
    """What the numbers depend on besides the code."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    capability = torch.backends.cpu.get_cpu_capability()
    return {"cpu": model, "capability": capability, "threads": threads, "torch": torch.__version__} | {
        "python": platform.python_version()
    }


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="tiny", help="comma-separated: tiny, small, base, large")
    parser.add_argument("--cases", default=",".join(CASES), help="comma-separated: " + ", ".join(CASES))
    parser.add_argument("--batch", default="1,4", help="comma-separated batch sizes")
    parser.add_argument("--repeats", type=int, default=7, help="pairs per ratio; half as many for block 5 and bf16")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--attention", default="auto", help="our attention backend")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--no-bf16", action="store_true")
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    parser.add_argument("--table", type=Path, help="write the table as Markdown")
    parser.add_argument("--probe", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure, print a table, write files."""
    options = parse()
    if options.probe:
        probe(options.probe, options.variant, options.cases, int(options.batch), options.threads)
        return
    torch.set_num_threads(options.threads)
    machine = describe_machine(options.threads)
    results = []
    for variant in options.variant.split(","):
        for case in options.cases.split(","):
            for batch in map(int, options.batch.split(",")):
                results.append(run_case(variant, case, batch, options))
                print("\n".join(list(as_table(results[-1:]))[2:]), file=sys.stderr, flush=True)
                write(options, machine, results)
    print(f"{machine}\n")
    print("\n".join(as_table(results)))


def write(options: argparse.Namespace, machine: dict[str, Any], results: Sequence[dict[str, Any]]) -> None:
    """Write what has been measured so far."""
    if options.out:
        plain = [{k: v._asdict() if isinstance(v, Ratio) else v for k, v in result.items()} for result in results]
        options.out.write_text(json.dumps({"machine": machine, "results": plain}, indent=1) + "\n", encoding="utf-8")
    if options.table:
        options.table.write_text("\n".join([f"{machine}", "", *as_table(results)]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
