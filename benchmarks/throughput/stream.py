"""The way of an export on a GPU: images wait in the host's memory, go to the device, and grids come back.

``plain`` copies and waits; ``overlapped`` uses pinned memory, copies that do not block, and takes a batch's result
while the next one is computed.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from throughput.cases import Batch, Case
from throughput.clock import Budget, computing, in_numbers, measured, moved

#: Batches of one measurement.
COUNT = 12


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


def _streamed(model: Any, batches: list[Batch], *, overlapped: bool) -> float:  # noqa: ANN401
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


def stream_rows(cases: Sequence[Case], budget: Budget, repeats: int) -> Iterator[dict[str, Any]]:
    """Yield the speed of the whole way in bf16, by how copies are made. For CUDA."""
    for case in cases:
        if not budget.allows(f"copies, {case.name}", 8):
            continue
        model, size = in_numbers(case.model().to("cuda"), "bf16"), case.batches[-1]
        with computing("bf16", "cuda"), torch.inference_mode():
            one = moved(case.batch(size), "cuda")
            alone = size / measured(lambda model=model, one=one: model(one), "cuda", repeats).median
            for overlapped in (False, True):
                kept = case.batch(size)
                batches = [
                    {key: value.clone().pin_memory() if overlapped else value.clone() for key, value in kept.items()}
                    for _ in range(4)
                ]
                many = [batches[index % 4] for index in range(COUNT)]
                _streamed(model, many[:4], overlapped=overlapped)
                rate = size * COUNT / _streamed(model, many, overlapped=overlapped)
                yield {
                    "case": case.name,
                    "precision": "bf16",
                    "batch": size,
                    "way": "overlapped" if overlapped else "plain",
                    "windows_per_s": rate,
                    "km2_per_s": rate * case.km2,
                    "of_the_encoder_alone": rate / alone,
                }
