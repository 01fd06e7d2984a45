"""Measure what the encoders do on a GPU: km2 a second by precision and batch size, and what copies and writing cost.

    python benchmarks/gpu.py --out gpu.json --table gpu.md
    python benchmarks/gpu.py --device cpu --quick

It needs PyTorch and this repository, neither TerraTorch nor GDAL. Weights are random, and images noise: neither changes
the speed. Times are those of CUDA's own clock, the median over repeats after a warm-up. A window is 288 px of 10 m for
THOR (ten bands of Sentinel-2, patches of 8 px), and a series of Sentinel-2 of the stated side and frames for AnySat.

`stream` is the way of an export: images wait in the memory of the host, go to the device, and the grid of vectors comes
back to the host, where a thread takes it. ``plain`` copies and waits; ``overlapped`` uses pinned memory, copies that do
not block, and takes a batch's result while the next one is computed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import queue
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from anysat_ext.model.encoder import AnySat
from anysat_ext.model.modalities import MODALITIES
from thor_terratorch_ext.backbone import build_thor

S2 = (
    *("BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3"),
    *("NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"),
)
SIDE = 288
PRECISIONS = ("float32", "tf32", "bfloat16")
#: Core of a window of 288 px with a halo of 48 px: what of it is kept.
KEPT = ((SIDE - 2 * 48) / SIDE) ** 2
REPEATS, WARM_UP = 5, 2


@dataclass(frozen=True)
class Case:
    """One encoder and its input."""

    name: str
    side: int
    frames: int = 0
    patch: int = 8
    attention: str = "auto"

    @property
    def km2(self) -> float:
        """Ground of one window in km2, of pixels of 10 m."""
        return (self.side * 0.01) ** 2

    def model(self) -> Callable[[Any], torch.Tensor]:
        """Build the encoder; it returns a grid ``(B, D, n, n)``."""
        torch.manual_seed(0)
        if self.frames:
            encoder = AnySat("base", ["s2"]).eval()
            return _Patches(encoder, self.patch)
        params = {"ground_covers": [self.side * 10], "flexivit_patch_size_seqs": [self.patch]}
        return _Grid(
            build_thor(
                self.name.split()[1],
                pretrained=False,
                model_bands=list(S2),
                out_indices=[11],
                input_params=params,
                merge_method="mean",
                attention=self.attention,
            ).eval()
        )

    def batch(self, size: int) -> dict[str, torch.Tensor]:
        """Noise, and the middle days of equal parts of a year."""
        generator = torch.Generator().manual_seed(0)
        if not self.frames:
            return {"image": torch.randn(size, len(S2), self.side, self.side, generator=generator)}
        shape = (size, self.frames, MODALITIES["s2"].n_bands, self.side, self.side)
        days = ((torch.arange(self.frames) + 0.5) * 365 / self.frames).long()
        return {"s2": torch.randn(shape, generator=generator), "s2_dates": days.expand(size, -1).contiguous()}


class _Grid(torch.nn.Module):
    def __init__(self, backbone: torch.nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        found: torch.Tensor = self.backbone(batch["image"])[0]
        return found


class _Patches(torch.nn.Module):
    def __init__(self, encoder: AnySat, patch: int) -> None:
        super().__init__()
        self.encoder, self.patch = encoder, patch

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        found: torch.Tensor = self.encoder(batch, self.patch, "patch", check_dates=False)
        return found.permute(0, 3, 1, 2)


CASES = (
    (Case("thor tiny", SIDE), (16, 128)),
    (Case("thor tiny flex", SIDE, attention="flex"), (128,)),
    (Case("thor base", SIDE), (8, 64)),
    (Case("thor base flex", SIDE, attention="flex"), (64,)),
    (Case("anysat base T12 p40", 24 * 4, 12, 40), (4, 16)),
    (Case("anysat base T1 p40", 24 * 4, 1, 40), (16,)),
)
QUICK = (
    (Case("thor tiny", 32), (1, 2)),
    (Case("anysat base T2 p40", 8, 2, 40), (1, 2)),
)


@contextlib.contextmanager
def precision(name: str, device: str) -> Iterator[None]:
    """Compute in a precision."""
    allowed = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = name == "tf32"
    try:
        with torch.autocast(device, torch.bfloat16, enabled=name == "bfloat16"), torch.inference_mode():
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = allowed


def seconds(run: Callable[[], object], device: str, repeats: int) -> float:
    """Median seconds of a call."""
    for _ in range(WARM_UP if repeats > 1 else 0):
        run()
    found = []
    for _ in range(repeats):
        if device == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            run()
            end.record()
            torch.cuda.synchronize()
            found.append(start.elapsed_time(end) / 1000)
        else:
            begun = time.perf_counter()
            run()
            found.append(time.perf_counter() - begun)
    return statistics.median(found)


@dataclass(frozen=True)
class Row:
    """Speed of one encoder, precision and batch size."""

    case: str
    precision: str
    batch: int
    windows_per_s: float
    km2_per_s: float
    peak_gib: float
    #: 1 minus the cosine of each vector with that of float32: the median and the largest.
    cosine_distance: float
    largest_distance: float


def encoder_rows(case: Case, batches: tuple[int, ...], device: str, repeats: int) -> Iterator[Row]:
    """Yield a row for each precision and batch size."""
    model: Any = case.model()
    model.to(device)
    few = {key: value.to(device) for key, value in case.batch(batches[0]).items()}
    with precision("float32", device):
        exact = model(few).float()
    for name in PRECISIONS if device == "cuda" else ("float32", "bfloat16"):
        with precision(name, device):
            distance = 1 - torch.nn.functional.cosine_similarity(model(few).float(), exact, dim=1)
            for size in batches:
                data = {key: value.to(device) for key, value in case.batch(size).items()}
                if device == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                took = seconds(lambda data=data: model(data), device, repeats)
                peak = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else 0.0
                rate = size / took
                errors = float(distance.median()), float(distance.max())
                yield Row(case.name, name, size, rate, rate * case.km2, peak, *errors)


class _Taker:
    """A thread that takes results, as the writer of an export does, through a short queue."""

    def __init__(self) -> None:
        self._queue: queue.Queue[tuple[Any, torch.Tensor] | None] = queue.Queue(2)
        self._thread = threading.Thread(target=self._take)
        self._thread.start()
        self.taken = 0

    def put(self, ready: Any, result: torch.Tensor) -> None:  # noqa: ANN401  (an event, or nothing)
        self._queue.put((ready, result))

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _take(self) -> None:
        while (entry := self._queue.get()) is not None:
            ready, result = entry
            if ready is not None:
                ready.synchronize()
            self.taken += len(result.numpy().tobytes())


def streamed(model: Any, batches: list[dict[str, torch.Tensor]], *, overlapped: bool) -> float:  # noqa: ANN401
    """Seconds to bring batches to the GPU, encode them and hand the results to a thread of the host."""
    taker = _Taker()
    torch.cuda.synchronize()
    begun = time.perf_counter()
    for batch in batches:
        data = {key: value.to("cuda", non_blocking=overlapped) for key, value in batch.items()}
        result = model(data).float()
        if overlapped:
            host = torch.empty(result.shape, dtype=result.dtype, pin_memory=True)
            host.copy_(result, non_blocking=True)
            ready = torch.cuda.Event()
            ready.record()
            taker.put(ready, host)
        else:
            taker.put(None, result.cpu())
    taker.close()
    return time.perf_counter() - begun


def stream_rows(case: Case, size: int, count: int) -> Iterator[dict[str, Any]]:
    """Yield the speed of the whole way, by how copies are made."""
    model: Any = case.model()
    model.to("cuda")
    for name in ("tf32", "bfloat16"):
        with precision(name, "cuda"):
            one = {key: value.to("cuda") for key, value in case.batch(size).items()}
            alone = size / seconds(lambda one=one: model(one), "cuda", REPEATS)
            for overlapped in (False, True):
                kept = case.batch(size)
                batches = [
                    {key: value.clone().pin_memory() if overlapped else value.clone() for key, value in kept.items()}
                    for _ in range(4)
                ]
                many = [batches[i % 4] for i in range(count)]
                streamed(model, many[:4], overlapped=overlapped)
                rate = size * count / streamed(model, many, overlapped=overlapped)
                yield {
                    "case": case.name,
                    "precision": name,
                    "batch": size,
                    "way": "overlapped" if overlapped else "plain",
                    "windows_per_s": rate,
                    "km2_per_s": rate * case.km2,
                    "of_the_encoder_alone": rate / alone,
                }


def table(rows: list[dict[str, Any]]) -> str:
    """Return rows as a table of Markdown."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    for row in rows:
        shown = (f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values())
        lines.append("| " + " | ".join(shown) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--quick", action="store_true", help="small inputs, one repeat: does it run")
    parser.add_argument("--only", default="", help="cases whose name begins so, such as anysat; all take 5 minutes")
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--table", type=Path, help="Markdown file")
    options = parser.parse_args()
    cases, repeats = (QUICK, 1) if options.quick else (CASES, REPEATS)
    found: dict[str, list[dict[str, Any]]] = {"encoder": [], "stream": []}
    for case, batches in (pair for pair in cases if pair[0].name.startswith(options.only)):
        for row in encoder_rows(case, batches, options.device, repeats):
            found["encoder"].append(asdict(row))
            print(row, flush=True)
        if options.device == "cuda":
            for streamed_row in stream_rows(case, batches[-1], 4 if options.quick else 12):
                found["stream"].append(streamed_row)
                print(streamed_row, flush=True)
    card = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or platform.machine()
    title = f"{card}, PyTorch {torch.__version__}; a halo of 48 px keeps {KEPT:.0%} of a window of {SIDE} px"
    text = "\n\n".join([title, *(table(rows) for rows in found.values() if rows)])
    print(text)
    if options.out:
        options.out.write_text(json.dumps({"device": card, "torch": torch.__version__, **found}, indent=1))
    if options.table:
        options.table.write_text(text + "\n")


if __name__ == "__main__":
    main()
