"""Faults of an export: each begins one, disturbs it, runs it again, and compares with one that was not disturbed."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from eo_models.features import Features
from tests.faults.inputs.mutate import any_bytes
from tests.faults.outcome import Outcome
from tests.faults.runs import children
from tests.faults.runs.bench import Bench, broken
from tests.faults.runs.changes import CHANGES, DAMAGES, ReplacesInput
from tests.faults.runs.export import FORMATS, INDEX, Plan, StandIn, begun, compared, content, export, read_rows


def killed(bench: Bench, chance: Random) -> Outcome:
    """Kill -9, once or several times, before a step or at any time."""
    plan = bench.drawn(chance)
    steps = bench.steps(plan)
    for _ in range(chance.choice((1, 1, 3))):
        if chance.random() < 0.7:
            step = chance.randint(1, steps)
            status = children.in_child(
                children.stopped_at, step, signal.SIGKILL, plan.out, partial(export, plan), log=bench.log
            )
        else:
            run = partial(children.stopped_after, chance.uniform(0.02, 0.8), partial(export, plan))
            status = children.in_child(run, log=bench.log)
        if status is None:
            return Outcome("hang", "the disturbed run")
        if status not in (0, -signal.SIGKILL, -signal.SIGALRM):
            return Outcome("unexpected", f"ended with {status}: {bench.last_line()}")
        if fault := broken(bench, plan):
            return Outcome("wrong", f"killed, and {fault}")
    return bench.finished(plan)


def terminated(bench: Bench, chance: Random) -> Outcome:
    """SIGTERM, as batch systems send it: a code that is not 0, and the run can be gone on with."""
    plan = bench.drawn(chance)
    step = chance.randint(1, bench.steps(plan))
    by = chance.choice((signal.SIGTERM, signal.SIGTERM, signal.SIGINT))
    status = children.in_child(children.stopped_at, step, by, plan.out, partial(export, plan), log=bench.log)
    if status is None:
        return Outcome("hang", "the run that was told to stop")
    if fault := broken(bench, plan):
        return Outcome("wrong", f"stopped at step {step}, and {fault}")
    if status == 0 and (fault := compared(plan.out, bench.whole(plan))):
        return Outcome("wrong", f"exit code 0, and {fault}")
    return bench.finished(plan)


class Slow(StandIn):
    """Takes its time for each batch, so that runs overlap."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def forward(self, image: Any, **extras: Any) -> list[Features]:
        time.sleep(self.seconds)
        return super().forward(image, **extras)


def two_writers(bench: Bench, chance: Random) -> Outcome:
    """Two runs in one folder at once: what says that it is done is there, and nothing is lost for good."""
    plan = bench.drawn(chance)
    kind = chance.choice(("the same", "the same", "overwrite", "halves"))
    crew = [plan, replace(plan, overwrite=kind == "overwrite")]
    if kind == "halves":
        crew = [replace(plan, half=0), replace(plan, half=1)]
    first = children.started(export, crew[0], Slow(chance.uniform(0, 0.1)), log=bench.log)
    time.sleep(chance.choice((0.0, chance.uniform(0, 0.3))))
    second = children.started(export, crew[1], Slow(chance.uniform(0, 0.1)), log=bench.work / "log2")
    codes = (children.ended(first), children.ended(second))
    if None in codes:
        return Outcome("hang", f"{kind}: ended with {codes}")
    if kind == "halves":
        fault = _lost(bench, plan, [half for half, code in enumerate(codes) if code == 0])
    else:
        fault = compared(plan.out, bench.whole(plan)) if 0 in codes else ""
    if fault:
        return Outcome("wrong", f"{kind}: ended with {codes}, and {fault}")
    outcome = bench.finished(plan)
    return outcome._replace(why=f"{kind}: ended with {codes}; {outcome.why}")


def _lost(bench: Bench, plan: Plan, halves: Sequence[int]) -> str:
    """Return which rows are missing of the halves that were exported."""
    wanted = {row["id"] for i, row in enumerate(read_rows(plan.root / INDEX)) if i % 2 in halves}
    if not wanted:
        return ""
    missing = wanted - {row["id"] for row in content(plan.out)["rows"]}
    return f"these are lost: {sorted(missing)}" if missing else broken(bench, plan)


def changed_inputs(bench: Bench, chance: Random) -> Outcome:
    """Inputs that change after an export, whole or not: it becomes that of what there is now, or is refused."""
    change = chance.choice(CHANGES)
    plan = replace(bench.plan("geotiff"), root=bench.own_data(change.kind))
    if chance.random() < 0.5:
        status = bench.run(plan)
    else:
        scene = "large" if change.kind == "large" else "tif"
        step = chance.randint(60, bench.steps(replace(plan, root=bench.shared / scene)))
        stop = partial(children.stopped_at, step, signal.SIGKILL, plan.out, partial(export, plan))
        status = children.in_child(stop, log=bench.log)
    if status not in (0, -signal.SIGKILL):
        return Outcome("unexpected", f"the first run ended with {status}: {bench.last_line()}")
    root = change.apply(plan.root, chance)
    return _as_of_now(bench, replace(plan, root=root), change.name)


def _as_of_now(bench: Bench, plan: Plan, name: str) -> Outcome:
    """Run an export again, and compare it with a new one; it may be refused if nothing is touched then."""
    before = _stamp(plan.out)
    status = bench.run(plan)
    if status is None:
        return Outcome("hang", name)
    if status:
        if "overwrite: true" not in bench.log.read_text(encoding="utf-8"):
            return Outcome("unexpected", f"{name}: {bench.last_line()}")
        return Outcome("refused") if _stamp(plan.out) == before else Outcome("wrong", f"{name}: refused, but touched")
    fresh = replace(plan, out=bench.work / "fresh")
    if bench.run(fresh):
        return Outcome("unexpected", f"{name}: a new run fails: {bench.last_line()}")
    fault = compared(plan.out, content(fresh.out))
    return Outcome("wrong", f"{name}: {fault}") if fault else Outcome("equal")


def _stamp(out: Path) -> list[tuple[str, int]]:
    grids = [path for path in sorted(out.rglob("*.tif")) if not path.name.startswith(".partial-")]
    return [(str(path), path.stat().st_mtime_ns) for path in grids]


def changed_meanwhile(bench: Bench, chance: Random) -> Outcome:
    """An input that is replaced after it was read and before it is recorded."""
    plan = replace(bench.plan("geotiff"), root=bench.own_data("tif"))
    encoder = ReplacesInput(plan.root, chance.randint(1, 4), chance.randrange(8))
    children.in_child(export, plan, encoder, log=bench.log)
    return _as_of_now(bench, plan, "replaced while it was read")


def damaged_outputs(bench: Bench, chance: Random) -> Outcome:
    """Finished files that are damaged: the next run makes them again."""
    plan = bench.drawn(chance)
    shutil.copytree(bench.whole_at(plan), plan.out)
    done = chance.choice(DAMAGES)(plan.out, chance)
    outcome = bench.finished(plan)
    if outcome.verdict == "unexpected" and "ValueError" in outcome.why and "manifest.json" in done + outcome.why:
        return Outcome("refused")
    return outcome._replace(why=f"{plan.grid_format}, {done}: {outcome.why}")


def damaged_work(bench: Bench, chance: Random) -> Outcome:
    """A run by tiles is killed, and its work files are damaged: what is spoilt is made again."""
    plan = bench.plan(chance.choice(("geotiff", "zarr")), "large")
    step = chance.randint(bench.steps(plan) // 4, bench.steps(plan))
    stop = partial(children.stopped_at, step, signal.SIGKILL, plan.out, partial(export, plan))
    children.in_child(stop, log=bench.log)
    work = sorted(path for path in (plan.out / "parts" / "rasters").rglob("*") if path.is_file())
    damage = "nothing"
    if work:
        file = chance.choice(work)
        damage = f"{file.name}: {any_bytes(file, chance).name}" if chance.random() < 0.8 else f"{file.name} is gone"
        if damage.endswith("is gone"):
            file.unlink()
    outcome = bench.finished(plan)
    return outcome._replace(why=f"{plan.grid_format}, {damage}: {outcome.why}")


def vanished(bench: Bench, chance: Random) -> Outcome:
    """The folder is renamed while a run writes there: an error, and nothing that looks like an export in its place."""
    plan, away = bench.drawn(chance), bench.work / "away"
    moved = partial(children.moved_at, chance.randint(8, bench.steps(plan)), plan.out, away, partial(export, plan))
    status = children.in_child(moved, log=bench.log)
    if status is None:
        return Outcome("hang", "the run whose folder vanished")
    if not away.is_dir():
        return bench.finished(plan)
    if (plan.out / "manifest.json").exists():
        return Outcome("wrong", f"exit code {status}, and there is another manifest: {bench.last_line()}")
    if status == 0 and (fault := compared(away, bench.whole(plan))):
        return Outcome("wrong", f"exit code 0, and {fault}")
    shutil.rmtree(plan.out, ignore_errors=True)
    away.rename(plan.out)
    fault = broken(bench, plan)
    return Outcome("wrong", f"vanished, and {fault}") if fault else bench.finished(plan)


class Spoilt(StandIn):
    """Gives no numbers for some samples, or stops at a batch."""

    def __init__(self, batch: int, *, stops: bool = False) -> None:
        super().__init__()
        self.batch, self.stops, self.seen = batch, stops, 0

    def forward(self, image: Any, **extras: Any) -> list[Features]:
        self.seen += 1
        (features,) = super().forward(image, **extras)
        if self.seen == self.batch:
            if self.stops:
                msg = "out of memory"
                raise RuntimeError(msg)
            features.tokens[0, 0] = float("nan")
            assert features.grid is not None
            features.grid[0, :, 0, 0] = float("inf")
        return [features]


def no_numbers(bench: Bench, chance: Random) -> Outcome:
    """Features that are no numbers are a failed item, and no row and no grid."""
    plan = bench.drawn(chance)
    status = children.in_child(export, plan, Spoilt(chance.randint(1, 4)), log=bench.log)
    if not status:
        return Outcome("wrong" if status == 0 else "hang", "NaN in an embedding, and exit code 0")
    if fault := broken(bench, plan):
        return Outcome("wrong", f"NaN in an embedding, and {fault}")
    return bench.finished(plan)


def failed_at_once(bench: Bench, chance: Random) -> Outcome:
    """A run that failed before its first item does not bind the next one to its settings."""
    first, second = chance.sample(FORMATS, 2)
    plan = bench.plan(first)
    if children.in_child(export, plan, Spoilt(1, stops=True), log=bench.log) == 0:
        return Outcome("wrong", "an encoder that fails, and exit code 0")
    return bench.finished(replace(plan, grid_format=second))


def two_ranks(bench: Bench, chance: Random) -> Outcome:
    """Two processes share an export; one is killed, the launcher ends the other, and all is run again."""
    kind, form = chance.choice((("tif", "geotiff"), ("tif", "npz"), ("large", "geotiff"), ("large", "zarr")))
    plan = replace(bench.plan(form, kind), ranks=2)
    victim, step = chance.randrange(2), chance.randint(1, 150)
    codes = _ranks(bench, plan, victim, step)
    if None in codes:
        return Outcome("hang", f"ended with {codes}")
    if fault := broken(bench, plan):
        return Outcome("wrong", f"killed, and {fault}")
    codes = _ranks(bench, plan)
    if codes != [0, 0]:
        return Outcome("unexpected", f"the run after it ended with {codes}: {bench.last_line()}")
    fault = compared(plan.out, bench.whole(plan))
    return Outcome("wrong", f"two ranks: {fault}") if fault else Outcome("equal")


def _ranks(bench: Bench, plan: Plan, victim: int = -1, step: int = 0) -> list[int | None]:
    """Run both ranks as a launcher does: when one ends badly, the other one is ended."""
    barrier = bench.work / f"barrier-{step}"
    shutil.rmtree(barrier, ignore_errors=True)
    barrier.mkdir()
    crew: list[int] = []
    for rank in (0, 1):
        run = partial(_rank, plan, rank, barrier)
        if rank == victim:
            run = partial(children.stopped_at, step, signal.SIGKILL, plan.out, run)
        crew.append(children.started(run, log=bench.work / f"log{rank or ''}"))
    codes: dict[int, int | None] = {}
    until = time.monotonic() + children.SECONDS
    while len(codes) < 2:
        for rank, process in enumerate(crew):
            if rank in codes:
                continue
            found, status = os.waitpid(process, os.WNOHANG)
            if found:
                codes[rank] = os.waitstatus_to_exitcode(status)
                if codes[rank] and 1 - rank not in codes:
                    os.kill(crew[1 - rank], signal.SIGTERM)
            elif time.monotonic() > until:
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
                codes[rank] = None
        time.sleep(0.002)
    return [codes[0], codes[1]]


def _rank(plan: Plan, rank: int, barrier: Path) -> None:
    """One process of an export, by the order that `eo_embed.export.exporter` states."""
    from eo_embed.export.exporter import Counts

    exporter, batches = begun(plan, rank)
    if rank:
        _wait_for(barrier / "opened")
    exporter.open(len(batches))
    (barrier / "opened").touch()
    for batch in batches:
        exporter.add(batch)
    own = exporter.close()
    (barrier / f"half-{rank}").write_text(" ".join(map(str, own.numbers())))
    (barrier / f"half-{rank}").rename(barrier / f"closed-{rank}")
    _wait_for(barrier / f"closed-{1 - rank}")
    if rank == 0:
        other = [float(text) for text in (barrier / "closed-1").read_text().split()]
        exporter.complete(own + Counts.of(other))
        (barrier / "completed").touch()
    _wait_for(barrier / "completed")
    exporter.raise_if_failed()


def _wait_for(file: Path) -> None:
    until = time.monotonic() + children.SECONDS / 2
    while not file.exists():
        if time.monotonic() > until:
            msg = f"no {file.name}"
            raise TimeoutError(msg)
        time.sleep(0.002)
