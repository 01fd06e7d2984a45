"""Measure PyTorch, its compiler, onnxruntime and OpenVINO on the same graph, input and number of threads of a CPU.

    python benchmarks/engines.py --out engines.json
    python benchmarks/engines.py --threads 2 --repeats 5 --only thor_v1_tiny

Needs the extras onnx and openvino. Weights are random, and images made up: neither changes the speed. Every engine
takes physical values and gives vectors and grids. Runs of the engines alternate in one process, after one run that is
not counted; the median counts. PyTorch is the eager encoder as the export runs it, with products in float32 (`matmul:
highest`). ``compiled`` is ``torch.compile(fullgraph=True)`` of it; ``pytorch_bf16`` is `precision: bf16`, and
``openvino_bf16`` lets OpenVINO compute in bfloat16, what it does by itself where the processor has it. ``start_s`` is
what an engine takes before its first result of a shape: trace, conversion, compilation and that run. The difference is
the largest from PyTorch's float32, relative to the largest number.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from throughput.peak import device_facts

from eo_models.engines.openvino import samples_by_openvino
from eo_models.export.call import Asked, Weights, deployed_encoder
from eo_models.export.formats import find_format
from eo_models.export.graph import DeployedEncoder
from eo_models.precision.hardware import has_bf16
from eo_models.precision.matmul import matmul_precision
from eo_models.precision.numbers import Arithmetic

S2 = (
    *("BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3"),
    *("NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"),
)
CPU = torch.device("cpu")
#: Encoder, what its file takes, and numbers of samples.
CASES: tuple[tuple[str, Asked, tuple[int, ...]], ...] = (
    ("thor_v1_tiny", Asked(side=288, bands=S2, patch=8), (1, 8)),
    ("thor_v1_base", Asked(side=288, bands=S2, patch=8), (2,)),
    ("anysat_base", Asked(side=24, sensors=["sentinel2_l2a"], patch=10, frames=8), (2,)),
    ("anysat_base", Asked(side=24, sensors=["sentinel2_l2a"], patch=40, frames=8), (8,)),
)


@dataclass(frozen=True)
class Engine:
    """What runs a batch, and what it took to make it, in seconds."""

    run: Callable[[Sequence[torch.Tensor]], list[np.ndarray]]
    made_s: float = 0.0


def engines(encoder: DeployedEncoder, threads: int) -> Iterator[tuple[str, Engine]]:
    """Yield what runs batches by each engine."""
    yield "pytorch", Engine(lambda tensors: [value.numpy() for value in encoder.compute(tensors)])
    if has_bf16(CPU):
        yield "pytorch_bf16", Engine(_reduced(encoder))
    torch.compiler.reset()
    yield "compiled", Engine(_compiled(encoder))
    begun = time.perf_counter()
    facts = json.dumps({"software": {"name": "benchmark", "version": "0"}})
    onnx = find_format("onnx").write(encoder, encoder.traced(), facts)[""]
    traced = time.perf_counter() - begun
    makers = {
        "onnxruntime": lambda: _onnxruntime(onnx, threads),
        "openvino": lambda: _openvino(onnx, "f32", threads),
        "openvino_bf16": lambda: _openvino(onnx, "bf16", threads),
    }
    for name, make in makers.items():
        begun = time.perf_counter()
        run = make()
        made = traced + time.perf_counter() - begun
        yield name, Engine(lambda tensors, run=run: run([tensor.numpy() for tensor in tensors]), made)


def _reduced(encoder: DeployedEncoder) -> Callable[[Sequence[torch.Tensor]], list[np.ndarray]]:
    own, arithmetic = copy.deepcopy(encoder), Arithmetic.of("bf16", "highest", CPU)
    arithmetic.prepare(own.extractor)

    def run(tensors: Sequence[torch.Tensor]) -> list[np.ndarray]:
        with arithmetic.computing():
            return [value.float().numpy() for value in own(*tensors)]

    return run


def _compiled(encoder: DeployedEncoder) -> Callable[[Sequence[torch.Tensor]], list[np.ndarray]]:
    own = torch.compile(encoder, fullgraph=True, dynamic=False)

    def run(tensors: Sequence[torch.Tensor]) -> list[np.ndarray]:
        with torch.no_grad(), matmul_precision("highest"):
            return [value.numpy() for value in own(*tensors)]

    return run


def _onnxruntime(onnx: bytes, threads: int) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    return lambda arrays: list(session.run(None, dict(zip(names, arrays, strict=True))))


def _openvino(onnx: bytes, hint: str, threads: int) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    """As `engine: openvino` runs it: one sample at a time, several at once."""
    samples = samples_by_openvino(onnx, reduced=hint == "bf16", threads=threads)
    return lambda arrays: [value.numpy() for value in samples([torch.from_numpy(array) for array in arrays])]


def measured(engines: dict[str, Engine], tensors: Sequence[torch.Tensor], repeats: int) -> dict[str, dict[str, float]]:
    """Return seconds of each engine, and its difference from the first."""
    first, started = {}, {}
    for name, engine in engines.items():
        begun = time.perf_counter()
        first[name] = engine.run(tensors)
        started[name] = engine.made_s + time.perf_counter() - begun
    expected = first["pytorch"]
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(repeats):
        for name, engine in engines.items():
            start = time.perf_counter()
            engine.run(tensors)
            times[name].append(time.perf_counter() - start)
    reference = statistics.median(times["pytorch"])
    return {
        name: {
            "seconds": statistics.median(own),
            "quickest": min(own),
            "speedup": reference / statistics.median(own),
            "start_s": started[name],
            "difference": max(
                float(np.abs(mine - theirs).max() / np.abs(theirs).max())
                for mine, theirs in zip(first[name], expected, strict=True)
            ),
        }
        for name, own in times.items()
    }


def main() -> None:
    """Measure all cases, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="cases whose encoder has this in its name")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows: list[dict[str, Any]] = []
    head = ("encoder", "input", "batch", "engine", "seconds", "x PyTorch", "start, s", "difference")
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    for name, asked, batches in CASES:
        if given.only not in name:
            continue
        encoder = deployed_encoder(name, asked, Weights(pretrained=False))
        shape = "x".join(map(str, encoder.images[0].shape(1)[1:]))
        made = dict(engines(encoder, given.threads))
        for batch in batches:
            for engine, found in measured(made, encoder.example(batch, seed=batch), given.repeats).items():
                rows.append(
                    {"encoder": name, "input": shape, "patch": asked.patch, "batch": batch, "engine": engine} | found
                )
                print(
                    f"| {name} | {shape}, patch {asked.patch} | {batch} | {engine} | {found['seconds']:.3f} | "
                    f"{found['speedup']:.2f} | {found['start_s']:.1f} | {found['difference']:.1e} |",
                    flush=True,
                )
    packages = ("torch", "onnx", "onnxscript", "onnxruntime", "openvino")
    report = {
        "measured_by": "benchmarks/engines.py",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": device_facts("cpu"),
        "threads": given.threads,
        "repeats": given.repeats,
        "versions": {package: version(package) for package in packages},
        "rows": rows,
    }
    if given.out is not None:
        given.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
