"""All faults in turn."""

from __future__ import annotations

import json
import os
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

from tests.faults.inputs.pool import outcomes
from tests.faults.outcome import Outcome, Tally, chance
from tests.faults.runs import bench, children, disks, faults
from tests.faults.runs.writers import damaged_features, load_targets, one_writer

Fault = Callable[[bench.Bench, Random], Outcome]
#: Kinds of faults, and how many of 26 are of each.
SHARES: Mapping[str, tuple[Fault, int]] = {
    "full disk": (disks.full_disk, 3),
    "full for a moment": (disks.full_for_a_moment, 1),
    "short files": (disks.short_files, 2),
    "killed": (faults.killed, 3),
    "told to stop": (faults.terminated, 1),
    "two writers": (faults.two_writers, 1),
    "changed inputs": (faults.changed_inputs, 3),
    "changed meanwhile": (faults.changed_meanwhile, 1),
    "damaged outputs": (faults.damaged_outputs, 2),
    "damaged work": (faults.damaged_work, 2),
    "vanished folder": (faults.vanished, 1),
    "two ranks": (faults.two_ranks, 1),
    "other writers": (one_writer, 2),
    "no numbers": (faults.no_numbers, 1),
    "failed at once": (faults.failed_at_once, 1),
    "damaged features": (damaged_features, 1),
}
#: A run of so many faults also writes what takes seconds to import.
MANY = 50
#: Longest time of a fault, which is several runs.
SECONDS = 150.0


def _order() -> list[str]:
    """Kinds, so that the first faults are of all kinds."""
    rounds = [[kind for kind, (_, share) in SHARES.items() if share > turn] for turn in range(3)]
    return [kind for own in rounds for kind in own]


def run_faults(count: int, seed: int, workers: int) -> list[Tally]:
    """Run ``count`` faults; one tally for each kind."""
    order = _order()
    if count >= MANY:
        load_targets()
    with tempfile.TemporaryDirectory(prefix="faults-") as work:
        shared = Path(work) / "shared"
        shared.mkdir()
        bench.make_shared(shared)
        tallies = {kind: Tally(kind) for kind in order}

        def run(number: int) -> Outcome:
            return _apart(order[number % len(order)], number, seed, shared)

        for number, outcome, seconds in outcomes(count, run, workers, SECONDS):
            tallies[order[number % len(order)]].add(f"fault {number}", outcome, seconds)
        return list(tallies.values())


def show_fault(number: int, seed: int) -> Outcome:
    """Run one fault of a long run by its number."""
    load_targets()
    with tempfile.TemporaryDirectory(prefix="faults-") as work:
        bench.make_shared(Path(work))
        order = _order()
        return _apart(order[number % len(order)], number, seed, Path(work))


def _apart(kind: str, number: int, seed: int, shared: Path) -> Outcome:
    """Run a fault in a process of its own, which may have a disk of its own."""
    needs_disk = kind in ("full disk", "full for a moment")
    if needs_disk and not children.can_mount():
        kind = "short files"
    with tempfile.TemporaryDirectory(dir=shared) as place:
        work = Path(place)
        child = os.fork()
        if child == 0:
            try:
                outcome = SHARES[kind][0](bench.Bench(work, shared), chance(seed, kind, number))
            except BaseException:  # noqa: BLE001  (of the harness)
                outcome = Outcome("unexpected", traceback.format_exc()[-1500:])
            # Not on the small disk: that one ends with this process.
            (work / "outcome").write_text(json.dumps(outcome), encoding="utf-8")
            os._exit(0)
        os.waitpid(child, 0)
        return Outcome(*json.loads((work / "outcome").read_text(encoding="utf-8")))
