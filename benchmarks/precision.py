"""Measure what each precision costs and gains: error, seconds, and what a probe on labelled data loses by it.

    python benchmarks/precision.py ../shared/data --out precision.json

The error is the relative L2 distance of the last layer's tokens from the same encoder in float64, on noise with the
variance of normalised pixels; "float32, process left to itself" is what a user got before ``matmul`` was there, after
``import terratorch``. Runs of all precisions alternate, medians of five. The probes are those of `formats.py`: water on
four chips of Sen1Floods11, and land cover from four dates of Sentinel-2. The encoders have random weights (seed 0): the
differences count, not how good an encoder is.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from formats import TASKS, probed

from anysat_ext import AnySat
from eo_embed import open_embeddings
from eo_models.precision.matmul import Matmul
from eo_models.precision.numbers import Arithmetic, Precision, numbers_on
from thor_terratorch_ext import build_thor

CPU = torch.device("cpu")
S2 = ("BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3", "NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2")
#: Name of each row, and what it asks for.
ROWS: Mapping[str, tuple[Precision, Matmul]] = {
    "32": ("32", "highest"),
    "32, matmul: medium": ("32", "medium"),
    "bf16-mixed": ("bf16-mixed", "highest"),
    "bf16": ("bf16", "highest"),
    "int8": ("int8", "highest"),
}
REPEATS = 5


@dataclass(frozen=True)
class Case:
    """An encoder that maps a batch to tokens, and a batch of it."""

    name: str
    images: int
    build: Callable[[], torch.nn.Module]
    batch: Callable[[], dict[str, torch.Tensor]]


class Thor(torch.nn.Module):
    """THOR on Sentinel-2 at 288 px with patches of 8 px."""

    def __init__(self, variant: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.backbone = build_thor(variant, pretrained=False, model_bands=list(S2), out_indices=[11])

    def forward(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the tokens of the last block."""
        found: torch.Tensor = self.backbone(batch["image"])[0]
        return found


class Patches(torch.nn.Module):
    """AnySat base on eight dates of Sentinel-2."""

    def __init__(self, patch: int) -> None:
        super().__init__()
        self.encoder, self.patch = AnySat("base", ["s2"]), patch

    def forward(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the map of patches."""
        found: torch.Tensor = self.encoder(batch, self.patch, "patch", check_dates=False)
        return found


def noise(*shape: int) -> torch.Tensor:
    """Return numbers of mean 0 and variance 1."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def series(batch: int, side: int, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """Return a batch of AnySat."""
    days = torch.arange(8).mul(45).expand(batch, -1).contiguous()
    return {"s2": noise(batch, 8, 10, side, side).to(dtype), "s2_dates": days}


CASES = (
    Case("THOR tiny, 288 px", 4, lambda: Thor("tiny"), lambda: {"image": noise(4, 10, 288, 288)}),
    Case("THOR base, 288 px", 2, lambda: Thor("base"), lambda: {"image": noise(2, 10, 288, 288)}),
    Case("AnySat base, 24 px T 8 p10", 1, lambda: Patches(10), lambda: series(1, 24)),
    Case("AnySat base, 24 px T 8 p40", 8, lambda: Patches(40), lambda: series(8, 24)),
)


def prepared(case: Case, rows: Sequence[str]) -> tuple[torch.Tensor, dict[str, tuple[torch.nn.Module, Arithmetic]]]:
    """Return the tokens in float64, and the encoder in each precision."""
    torch.manual_seed(0)
    encoder = case.build().eval().requires_grad_(requires_grad=False)
    batch = {key: own.double() if own.is_floating_point() else own for key, own in case.batch().items()}
    with torch.no_grad():
        expected = copy.deepcopy(encoder).double()(batch)
    ready = {}
    for row in rows:
        precision, matmul = ROWS[row]
        own, arithmetic = copy.deepcopy(encoder), Arithmetic.of(precision, matmul, CPU)
        arithmetic.prepare(own)
        ready[row] = own, arithmetic
    return expected, ready


def measure(case: Case, rows: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the error and the speed of each precision."""
    expected, ready = prepared(case, rows)
    batch, found = case.batch(), {}
    seconds: dict[str, list[float]] = {row: [] for row in ready}
    for repeat in range(REPEATS + 1):
        for row, (encoder, arithmetic) in ready.items():
            with arithmetic.computing():
                start = time.perf_counter()
                found[row] = encoder(batch)
                if repeat:
                    seconds[row].append(time.perf_counter() - start)
    base = statistics.median(seconds["32"])
    for row, tokens in found.items():
        median = statistics.median(seconds[row])
        cosine = torch.nn.functional.cosine_similarity(tokens.double(), expected, dim=-1)
        yield {
            "case": case.name,
            "precision": row,
            "error": float((tokens - expected).norm() / expected.norm()),
            "cosine_distance": float(1 - cosine.min()),
            "seconds_per_image": median / case.images,
            "speedup": base / median,
        }


def probes(data: Path, rows: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield what a probe scores with each precision, and what it loses against float32."""
    for number, make in enumerate(TASKS):
        base = None
        for row in rows:
            precision, matmul = ROWS[row]
            if matmul != "highest":
                continue
            with tempfile.TemporaryDirectory() as folder:
                task = make(data, Path(folder) / str(number), precision)
                opened = open_embeddings(task.export)
                score = probed(task, {name: opened.grid(name).values for name in task.labels})
            base = score if base is None else base
            yield {"task": task.name, "precision": row, "score": score, "loss": score - base}


def available() -> list[str]:
    """Return the rows that this machine has."""
    found = []
    for row, (precision, _) in ROWS.items():
        try:
            numbers_on(precision, CPU)
        except ValueError as error:
            print(f"{row}: left out: {error}")
            continue
        found.append(row)
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", help="folder of labelled data, as of formats.py; none: no probes")
    parser.add_argument("--case", help="only cases whose name has this in it")
    parser.add_argument("--out", type=Path, help="JSON file for the rows")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    rows, result = available(), []
    print("| encoder | precision | error | cosine distance | s an image | speed |\n|---|---|---|---|---|---|")
    for case in CASES:
        if given.case and given.case not in case.name:
            continue
        for own in measure(case, rows):
            result.append(own)
            print(
                f"| {own['case']} | {own['precision']} | {own['error']:.1e} | {own['cosine_distance']:.1e} "
                f"| {own['seconds_per_image']:.3f} | {own['speedup']:.2f} |",
                flush=True,
            )
    if given.data:
        print("\n| probe | precision | score | loss |\n|---|---|---|---|")
        for own in probes(given.data, rows):
            result.append(own)
            print(f"| {own['task']} | {own['precision']} | {own['score']:.4f} | {-own['loss']:+.4f} |", flush=True)
    if given.out:
        machine = {name: on for name, on in torch.cpu.get_capabilities().items() if on and "bf16" in name}
        facts = {"threads": torch.get_num_threads(), "torch": torch.__version__, "cpu": machine, "rows": result}
        given.out.write_text(json.dumps(facts, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
