"""Measure PyTorch, onnxruntime and OpenVINO on the same graph, input and number of threads of a CPU.

    python benchmarks/engines.py --out engines.json
    python benchmarks/engines.py --threads 2 --repeats 5 --only thor_v1_tiny

Needs the extras onnx and openvino. Weights are random, and images made up: neither changes the speed. Every engine
takes physical values and gives vectors and grids. Runs of the engines alternate in one process, after one run that is
not counted; the median counts. PyTorch is the eager encoder as the export runs it, with products in float32 (`matmul:
highest`). ``openvino_bf16`` lets OpenVINO compute in bfloat16, what it does by itself where the processor has it. The
difference is the largest from PyTorch's float32, relative to the largest number.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eo_models.export.call import Asked, Weights, deployed_encoder
from eo_models.export.formats import find_format
from eo_models.export.graph import DeployedEncoder

S2 = (
    *("BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3"),
    *("NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"),
)
Run = Callable[[], list[np.ndarray]]
#: Encoder, what its file takes, and numbers of samples.
CASES: tuple[tuple[str, Asked, tuple[int, ...]], ...] = (
    ("thor_v1_tiny", Asked(side=288, bands=S2, patch=8), (1, 8)),
    ("thor_v1_base", Asked(side=288, bands=S2, patch=8), (1,)),
    ("anysat_base", Asked(side=24, sensors=["sentinel2_l2a"], patch=10, frames=8), (1,)),
    ("anysat_base", Asked(side=24, sensors=["sentinel2_l2a"], patch=40, frames=8), (8,)),
)


def engines(encoder: DeployedEncoder, threads: int, batches: Sequence[int]) -> dict[int, dict[str, Run]]:
    """Return what runs one batch by each engine, by the size of the batch."""
    program = encoder.traced()
    facts = json.dumps({"software": {"name": "benchmark", "version": "0"}})
    onnx = find_format("onnx").write(encoder, program, facts)[""]
    runs = {"onnxruntime": _onnxruntime(onnx, threads)}
    for name, hint in (("openvino", "f32"), ("openvino_bf16", "bf16")):
        runs[name] = _openvino(onnx, hint, threads)
    found: dict[int, dict[str, Run]] = {}
    for batch in batches:
        tensors = encoder.example(batch, seed=batch)
        arrays = [tensor.numpy() for tensor in tensors]
        found[batch] = {"pytorch": lambda tensors=tensors: [value.numpy() for value in encoder.compute(tensors)]}
        found[batch] |= {name: lambda run=run, arrays=arrays: run(arrays) for name, run in runs.items()}
    return found


def _onnxruntime(onnx: bytes, threads: int) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    return lambda arrays: list(session.run(None, dict(zip(names, arrays, strict=True))))


def _openvino(onnx: bytes, hint: str, threads: int) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(core.read_model(onnx), "CPU", settings)
    return lambda arrays: [np.array(value) for value in compiled(list(arrays)).values()]


def measured(runs: dict[str, Run], repeats: int) -> dict[str, dict[str, float]]:
    """Return seconds of each engine, and its difference from the first."""
    first = {name: run() for name, run in runs.items()}
    expected = next(iter(first.values()))
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    reference = statistics.median(times["pytorch"])
    return {
        name: {
            "seconds": statistics.median(own),
            "quickest": min(own),
            "speedup": reference / statistics.median(own),
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
    print("| encoder | input | batch | engine | seconds | x PyTorch | difference |\n|---|---|---|---|---|---|---|")
    for name, asked, batches in CASES:
        if given.only not in name:
            continue
        encoder = deployed_encoder(name, asked, Weights(pretrained=False))
        shape = "x".join(map(str, encoder.images[0].shape(1)[1:]))
        for batch, runs in engines(encoder, given.threads, batches).items():
            for engine, found in measured(runs, given.repeats).items():
                rows.append(
                    {"encoder": name, "input": shape, "patch": asked.patch, "batch": batch, "engine": engine} | found
                )
                print(
                    f"| {name} | {shape}, patch {asked.patch} | {batch} | {engine} | {found['seconds']:.3f} | "
                    f"{found['speedup']:.2f} | {found['difference']:.1e} |",
                    flush=True,
                )
    packages = ("torch", "onnx", "onnxscript", "onnxruntime", "openvino")
    report = {
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.processor() or platform.machine(),
        "threads": given.threads,
        "repeats": given.repeats,
        "versions": {package: version(package) for package in packages},
        "rows": rows,
    }
    if given.out is not None:
        given.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
