"""A tiny export for test_ledger_crash: run as a script, killed at any moment, run again.

``python crash_export.py FOLDER [RANK RANKS]`` writes a grid per item and a part per batch, as an export does.
"""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path

from eo_core.files import atomic_path
from eo_embed.export.failures import Failures
from eo_embed.export.folder import open_export
from eo_embed.export.ledger import Ledger

ITEMS, BATCH = 200, 7


def content_of(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest() * 64


def write_slowly(path: Path, content: bytes) -> None:
    with atomic_path(path) as partial, partial.open("wb") as file:
        for start in range(0, len(content), 512):
            file.write(content[start : start + 512])
            file.flush()


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


if __name__ == "__main__":
    arguments = [int(text) for text in sys.argv[2:]] or [0, 1]
    export(Path(sys.argv[1]), *arguments)
