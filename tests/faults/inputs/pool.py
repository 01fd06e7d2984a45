"""Cases in forked processes: a case that hangs or takes the memory costs a process, not the run."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path

from tests.faults.outcome import Outcome

#: A case must end within this.
SECONDS = 10.0
#: What a case may take beyond what the process had, in bytes: seen as resident memory, and allowed as addresses.
MEMORY, ADDRESSES = 2 << 30, 6 << 30

Run = Callable[[int], Outcome]


@dataclass
class _Worker:
    """A forked process, and the case that it is at."""

    process: int
    pipe: Connection
    case: int | None = None
    started: float = 0.0


def outcomes(
    count: int, run: Run, workers: int, seconds: float = SECONDS, memory: int = MEMORY
) -> Iterator[tuple[int, Outcome, float]]:
    """Yield number, outcome and seconds of each of ``count`` cases, in the order in which they end.

    A case that does not end in time is run once more, as the machine may be busy; only then it hangs.
    """
    waiting, again = list(reversed(range(count))), set[int]()
    crew = [_begun(run, memory) for _ in range(min(workers, count))]
    busy = [worker for worker in crew if _next_case(worker, waiting)]
    while busy:
        first = min(worker.started for worker in busy)
        ready = wait([worker.pipe for worker in busy], max(0.0, first + seconds - time.monotonic()))
        for worker in list(busy):
            took = time.monotonic() - worker.started
            if worker.pipe not in ready and took < seconds:
                continue
            outcome = _answer(worker) if worker.pipe in ready else Outcome("hang", f"no end after {seconds:g} s")
            case = worker.case
            assert case is not None
            if outcome.verdict == "hang" or outcome.why.startswith("died"):
                _ended(worker)
                busy.remove(worker)
                worker = _begun(run, memory)  # noqa: PLW2901
                busy.append(worker)
            if outcome.verdict == "hang" and case not in again:
                again.add(case)
                waiting.append(case)
            else:
                yield case, outcome, took
            if not _next_case(worker, waiting):
                busy.remove(worker)
                _ended(worker)


def _answer(worker: _Worker) -> Outcome:
    try:
        return Outcome(*worker.pipe.recv())
    except EOFError:
        status = os.waitstatus_to_exitcode(os.waitpid(worker.process, 0)[1])
        worker.process = 0
        return Outcome("unexpected", f"died with {status} ({'signal' if status < 0 else 'exit code'})")


def _next_case(worker: _Worker, waiting: list[int]) -> bool:
    if not waiting:
        return False
    worker.case = waiting.pop()
    worker.started = time.monotonic()
    worker.pipe.send(worker.case)
    return True


def _ended(worker: _Worker) -> None:
    worker.pipe.close()
    if worker.process:
        os.kill(worker.process, signal.SIGKILL)
        os.waitpid(worker.process, 0)


def _begun(run: Run, memory: int) -> _Worker:
    ours, theirs = get_context("fork").Pipe()
    process = os.fork()
    if process:
        theirs.close()
        return _Worker(process, ours)
    try:
        ours.close()
        _quiet()
        _work(theirs, run, memory)
    finally:
        os._exit(3)


def _quiet() -> None:
    """What C libraries print about broken files is no part of the report."""
    sys.stdout.flush()
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def _work(pipe: Connection, run: Run, memory: int) -> None:
    base = _memory("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (base + ADDRESSES, base + ADDRESSES))
    while True:
        try:
            case = pipe.recv()
        except EOFError:
            return
        try:
            outcome = _within_memory(run, case, memory)
        except BaseException as error:  # noqa: BLE001  (of the harness, or so late that no case could catch it)
            outcome = Outcome("unexpected", f"outside of the case: {type(error).__name__}: {error}")
        pipe.send(tuple(outcome))


def _within_memory(run: Run, case: int, memory: int) -> Outcome:
    """Run a case; one that held more memory at any time is over it, whatever came of it."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _memory("VmRSS")
    outcome = run(case)
    taken = _memory("VmHWM") - before
    if taken > memory and outcome.verdict != "wrong":
        return Outcome("memory", f"{taken / 1e9:.1f} GB; {outcome.verdict} {outcome.why}")
    return outcome


def _memory(name: str) -> int:
    """A line of the process's status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))
