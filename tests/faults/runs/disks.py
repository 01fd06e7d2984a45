"""Disks that are full, for good or for a moment, and files that cannot grow."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

from tests.faults.outcome import Outcome
from tests.faults.runs import children
from tests.faults.runs.bench import Bench, judged_run
from tests.faults.runs.export import Plan, export

_PAGE = 4096
#: Size of a disk that has room for work files, too.
_LEAST = 1 << 20


def full_disk(bench: Bench, chance: Random) -> Outcome:
    """A disk that is too small, and then large enough."""
    plan = bench.drawn(chance)
    size = int(_on_disk(bench, plan) * chance.uniform(0.02, 1.25)) // _PAGE * _PAGE
    _own_disk(plan.out, max(_PAGE, size))
    if judged := judged_run(bench, plan, bench.run(plan)):
        return judged._replace(why=f"{plan.grid_format} on {size} bytes: {judged.why}")
    children.grow(plan.out, 64 << 20)
    return bench.finished(plan)


def full_for_a_moment(bench: Bench, chance: Random) -> Outcome:
    """A disk that another program fills, and then empties."""
    plan = bench.drawn(chance)
    _own_disk(plan.out.parent / "disk", max(3 * _on_disk(bench, plan), _LEAST))
    plan = replace(plan, out=plan.out.parent / "disk" / "out")
    begin, length = chance.uniform(0, 0.4), chance.uniform(0.005, 0.1)
    filler = children.started(_fill, plan.out.parent / "filler", begin, length, log=bench.work / "filler.log")
    status = bench.run(plan)
    children.ended(filler)
    (plan.out.parent / "filler").unlink(missing_ok=True)
    return judged_run(bench, plan, status) or bench.finished(plan)


def _fill(file: Path, begin: float, length: float) -> None:
    time.sleep(begin)
    with file.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(_PAGE))
        except OSError:
            time.sleep(length)
    file.unlink()


def short_files(bench: Bench, chance: Random) -> Outcome:
    """Files that cannot grow beyond a size, as of a quota."""
    plan = bench.drawn(chance)
    sizes = [p.stat().st_size for p in bench.whole_at(plan).rglob("*") if p.is_file()]
    limit = int(chance.choice(sizes) * chance.uniform(0.1, 1.05))
    run = partial(children.with_short_files, limit, partial(export, plan))
    status = children.in_child(run, log=bench.log)
    if judged := judged_run(bench, plan, status):
        return judged._replace(why=f"{plan.grid_format} files of {limit} bytes: {judged.why}")
    return bench.finished(plan)


def _on_disk(bench: Bench, plan: Plan) -> int:
    """What the undisturbed export takes on a disk of pages."""
    files = bench.whole_at(plan).rglob("*")
    return sum(-(-path.stat().st_size // _PAGE) * _PAGE for path in files if path.is_file())


def _own_disk(folder: Path, size: int) -> None:
    folder.mkdir()
    children.mount_small(folder, size)
