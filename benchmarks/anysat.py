"""Measure our AnySat against the published code that rs-embed carries, in the same process on the same weights.

    python benchmarks/anysat.py --out result.json --table result.md
    python benchmarks/anysat.py --cases 240:8:40:1 --repeats 1

A case is side in pixels : frames : patch size in metres : batch, of Sentinel-2. Times are taken in interleaved pairs,
and the ratio is the median over the pairs, so that a machine whose load changes does not decide. Peak memory is that of
the first forward pass of a fresh process. One thread by default: threads that wait for one another measure what else
the machine does.
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

from anysat_ext.model.encoder import AnySat
from anysat_ext.model.modalities import MODALITIES

CASES = ("24:8:10:1", "24:8:40:1", "24:8:10:8", "24:8:40:8")
MODALITY = "s2"
MIB = 2**20


class Case(NamedTuple):
    """One input."""

    side: int
    frames: int
    patch_size: int
    batch: int

    @classmethod
    def parse(cls, text: str) -> Case:
        """Read ``side:frames:patch_size:batch``."""
        return cls(*map(int, text.split(":")))

    def __str__(self) -> str:
        """Return a name for the table."""
        return f"{self.side} px T{self.frames} p{self.patch_size} B{self.batch}"

    def data(self) -> dict[str, torch.Tensor]:
        """Noise and the middle days of equal parts of a year."""
        generator = torch.Generator().manual_seed(0)
        shape = (self.batch, self.frames, MODALITIES[MODALITY].n_bands, self.side, self.side)
        days = (torch.arange(self.frames) + 0.5) * 365 / self.frames
        return {
            MODALITY: torch.randn(shape, generator=generator),
            f"{MODALITY}_dates": days.long().expand(self.batch, -1),
        }


class Ratio(NamedTuple):
    """Time of the peer divided by ours: above 1, ours is faster."""

    median: float
    lowest: float
    highest: float
    #: The same from CPU time, which does not count the time when another process had the core.
    cpu: float
    #: Shortest wall time in seconds of the peer and of ours.
    peer: float
    ours: float

    def __str__(self) -> str:
        """Return the median with its range."""
        return f"{self.median:.2f} ({self.lowest:.2f}..{self.highest:.2f}; CPU {self.cpu:.2f})"


def build_ours(options: argparse.Namespace) -> AnySat:
    """Build our encoder for the one modality."""
    return AnySat(options.size, [MODALITY], attention=options.attention, memory_budget=options.memory_budget).eval()


def build_peer(size: str) -> Any:  # noqa: ANN401
    """Build the published model."""
    from rs_embed.embedders._vendor.anysat import hubconf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return hubconf.AnySat(size, flash_attn=False).eval()


def measure(function: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def compare(peer: Callable[[], object], ours: Callable[[], object], repeats: int) -> Ratio:
    """Time two functions in pairs, in alternating order."""
    pairs = []
    for repeat in range(repeats):
        if repeat % 2 == 0:
            of_peer, of_ours = measure(peer), measure(ours)
        else:
            of_ours, of_peer = measure(ours), measure(peer)
        pairs.append((of_peer, of_ours))
    wall = [a[0] / b[0] for a, b in pairs]
    cpu = [a[1] / b[1] for a, b in pairs]
    fastest = min(a[0] for a, _ in pairs), min(b[0] for _, b in pairs)
    return Ratio(statistics.median(wall), min(wall), max(wall), statistics.median(cpu), *fastest)


def run_case(case: Case, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one input."""
    theirs, ours, data = build_peer(options.size), build_ours(options), case.data()
    published = theirs.model.state_dict()
    ours.load_state_dict({key: published[key] for key in ours.state_dict()})
    arguments = {"patch_size": case.patch_size, "output": options.output}
    result: dict[str, Any] = {"size": options.size, "case": str(case), "output": options.output}
    kept: dict[str, torch.Tensor] = {}

    def run(name: str) -> None:
        kept[name] = theirs(data, **arguments) if name == "peer" else ours(data, **arguments)

    with torch.inference_mode():
        if options.repeats > 1:
            run("peer")
            run("ours")
        result["speed"] = compare(lambda: run("peer"), lambda: run("ours"), options.repeats)
    result["difference"] = float((kept["ours"] - kept["peer"]).abs().max() / kept["peer"].abs().max())
    if not options.no_memory:
        result["memory_mib"] = peak_memory("ours", case, options)
        result["memory_mib_peer"] = peak_memory("peer", case, options)
    return result


def status(key: str) -> int:
    """Return a memory value of this process in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    msg = f"/proc/self/status has no {key}: peak memory is measured on Linux only (--no-memory leaves it out)."
    raise RuntimeError(msg)


def probe(kind: str, case: Case, options: argparse.Namespace) -> None:
    """Print the peak memory in bytes of a process that holds one model and runs one forward pass."""
    model = build_peer(options.size) if kind == "peer" else build_ours(options)
    data = case.data()
    with torch.inference_mode():
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        model(data, patch_size=case.patch_size, output=options.output)
        print(status("VmHWM"))


def peak_memory(kind: str, case: Case, options: argparse.Namespace) -> float:
    """Peak memory in MiB of a fresh process, the model and the libraries included."""
    command = [sys.executable, __file__, "--probe", kind, "--cases", ":".join(map(str, case))]
    command += ["--size", options.size, "--output", options.output, "--threads", str(options.threads)]
    command += ["--attention", options.attention]
    if options.memory_budget:
        command += ["--memory-budget", str(options.memory_budget)]
    process = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return int(process.stdout.split()[-1]) / MIB


COLUMNS: tuple[tuple[str, Callable[[dict[str, Any]], str]], ...] = (
    ("case", lambda r: f"{r['size']} {r['case']} {r['output']}"),
    ("max rel. difference", lambda r: f"{r['difference']:.1e}"),
    ("peer s", lambda r: f"{r['speed'].peer:.2f}"),
    ("ours s", lambda r: f"{r['speed'].ours:.2f}"),
    ("peer / ours", lambda r: str(r["speed"])),
    ("peak MiB, peer / ours", lambda r: f"{r['memory_mib_peer']:.0f} / {r['memory_mib']:.0f}"),
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
    parser.add_argument("--size", default="base", help="tiny, small or base")
    parser.add_argument("--cases", default=",".join(CASES), help="comma-separated, side:frames:patch_size:batch")
    parser.add_argument("--output", default="patch", help="patch, tile, dense or all")
    parser.add_argument("--repeats", type=int, default=7, help="pairs per ratio; with 1, nothing is run to warm up")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--attention", default="sdpa", help="our attention backend")
    parser.add_argument("--memory-budget", type=int, help="our memory budget in bytes")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    parser.add_argument("--table", type=Path, help="write the table as Markdown")
    parser.add_argument("--probe", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure, print a table, write files."""
    options = parse()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")
    cases = [Case.parse(text) for text in options.cases.split(",")]
    if options.probe:
        probe(options.probe, cases[0], options)
        return
    machine = describe_machine(options.threads)
    results = []
    for case in cases:
        results.append(run_case(case, options))
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
