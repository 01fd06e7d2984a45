"""A tiny export for test_ledger_crash, killed at any moment and run again.

``python crash_export.py FOLDER [RANK RANKS]`` writes a grid per item and a part per batch, as an export does.
``python crash_export.py FOLDER SEED KILLS FURTHEST`` runs it again and again in child processes, each killed before a
step that is drawn from the seed (a few bytes written, a file or folder synced, or a rename), and prints what was seen.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eo_core.files import atomic_path
from eo_embed.export.folder import open_export
from eo_embed.export.record.failures import Failures
from eo_embed.export.record.ledger import Ledger

ITEMS, BATCH = 200, 7


def killed_before(step: int, function: Callable[..., Any], done: list[str]) -> Callable[..., Any]:
    """Count a call as a step; before the given one the process is killed, as by kill -9."""

    def counted(*arguments: Any, **named: Any) -> Any:
        done.append(function.__name__)
        if len(done) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)

    return counted


def in_child(function: Callable[..., None], *arguments: Any) -> int:
    """Run in a forked process, so that imports are paid for once; return its exit status, negative if killed."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            function(*arguments)
            status = 0
        finally:
            if status:
                traceback.print_exc()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def content_of(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest() * 64


def flushed(file: Any) -> None:
    file.flush()


def write_slowly(path: Path, content: bytes) -> None:
    with atomic_path(path, Path.read_bytes) as partial, partial.open("wb") as file:
        for start in range(0, len(content), 512):
            file.write(content[start : start + 512])
            flushed(file)


def export(folder: Path, rank: int, ranks: int) -> None:
    facts = {"model": "toy", "bands": ["RED"]}
    if rank:
        while not (folder / "barrier").exists():
            time.sleep(0.005)
    _, ledger = open_export(folder / "out", facts, rank=rank, provenance={"config": "toy"})
    if not rank and ranks > 1:
        (folder / "barrier").touch()
    finished = ledger.finished()
    todo = [number for number in range(rank, ITEMS, ranks) if (f"a/{number}", "") not in finished]
    for start in range(0, len(todo), BATCH):
        batch = todo[start : start + BATCH]
        part = folder / "out" / "parts" / f"part-{rank:04d}-{ledger.next_number:06d}.parquet"
        for number in batch:
            write_slowly(folder / "out" / "grids" / "a" / f"{number}.tif", content_of(number))
        write_slowly(part, b"".join(b"%d\n" % number for number in batch))
        ledger.record(
            [
                {"id": f"a/{number}", "files": [f"grids/a/{number}.tif", f"parts/{part.name}"], "dates": ["2020-01-01"]}
                for number in batch
            ]
        )
    if rank == 0 and ranks == 1:
        finish(folder / "out")


def finish(out: Path) -> None:
    manifest, ledger = open_export(out, {"model": "toy", "bands": ["RED"]}, provenance={"config": "toy"})
    parts = sorted({file for files in ledger.finished().values() for file in files if file.startswith("parts/")})
    merged = out / "embeddings.parquet"
    if parts:
        rows = [int(row) for part in parts for row in (out / part).read_text().split()]
        write_slowly(merged, b"".join(b"%d\n" % row for row in sorted(rows)))
    if not manifest.is_complete:
        failures = Failures(out).merge()
        manifest.complete({"done": ITEMS}, ledger.inputs(), failures)
    Ledger(out).close()


def export_until(step: int, folder: Path) -> None:
    global flushed  # noqa: PLW0603
    steps: list[str] = []
    flushed = killed_before(step, flushed, steps)
    os.fsync = killed_before(step, os.fsync, steps)
    Path.replace = killed_before(step, Path.replace, steps)  # type: ignore[method-assign]
    export(folder, 0, 1)


def kill_again_and_again(folder: Path, seed: int, kills: int, furthest: int) -> dict[str, int]:
    """Kill exports until ``kills`` were killed; one that came to its end is begun again."""
    chance, out = random.Random(seed), folder / "out"  # noqa: S311
    seen = {"killed": 0, "halves": 0, "entries": 0, "whole": 0}
    while seen["killed"] < kills:
        status = in_child(export_until, chance.randint(1, furthest), folder)
        if status == 0:
            seen["whole"] += 1
            shutil.rmtree(out)
            continue
        if status != -signal.SIGKILL:
            sys.exit(f"The export ended with {status}.")
        seen["killed"] += 1
        seen["halves"] += any(out.rglob(".partial-*"))
        seen["entries"] += any(out.glob("progress/*.json"))
    return seen


if __name__ == "__main__":
    place, numbers = Path(sys.argv[1]), [int(text) for text in sys.argv[2:]]
    if len(numbers) == 3:
        sys.stdout.write(json.dumps(kill_again_and_again(place, *numbers)))
    else:
        export(place, *(numbers or [0, 1]))
