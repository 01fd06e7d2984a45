"""Faults of an export: each begins one, disturbs it, runs it again, and compares with one that was not disturbed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq

from eo_embed import open_embeddings
from eo_models.features import Features
from tests.faults.outcome import Outcome
from tests.faults.runs import children
from tests.faults.runs.changes import CHANGES, DAMAGES, ReplacesInput
from tests.faults.runs.export import FORMATS, Plan, StandIn, begun, compared, content, export, make_data

Fault = Callable[["Bench", Random], Outcome]
_PAGE = 4096


@dataclass
class Bench:
    """A folder to work in, with exports that were not disturbed, made once.

    Parameters
    ----------
    work : Path
        The folder of one fault.
    shared : Path
        Data sets and undisturbed exports, which no fault changes.
    """

    work: Path
    shared: Path

    def plan(self, grid_format: str, kind: str = "tif") -> Plan:
        return Plan(self.shared / kind, self.work / "out", grid_format)

    def whole(self, plan: Plan) -> Mapping[str, Any]:
        """What an export holds that was not disturbed."""
        return content(self.whole_at(plan))

    def whole_at(self, plan: Plan) -> Path:
        """Return the folder of an export that was not disturbed; it is made when it is first asked for."""
        place = self.shared / f"whole-{plan.root.name}-{plan.grid_format}"
        if not place.is_dir():
            _make_whole(self.shared / plan.root.name, plan.grid_format, place)
        return place

    def steps(self, plan: Plan) -> int:
        """How often an export that is not disturbed touches its files."""
        return int(self.whole_at(plan).with_suffix(".steps").read_text())

    def own_data(self, kind: str) -> Path:
        """Return a data set that the fault may change."""
        return Path(shutil.copytree(self.shared / kind, self.work / "data"))

    @property
    def log(self) -> Path:
        return self.work / "log"

    def last_line(self) -> str:
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.is_file() else ""
        return (text.strip().splitlines() or ["no output"])[-1][:200]

    def run(self, plan: Plan) -> int | None:
        return children.in_child(export, plan, log=self.log)

    def finished(self, plan: Plan, expected: Mapping[str, Any] | None = None) -> Outcome:
        """Run an export again; it must come to its end and equal one that was not disturbed."""
        status = self.run(plan)
        if status is None:
            return Outcome("hang", "the run after it")
        if status:
            return Outcome("unexpected", f"the run after it ended with {status}: {self.last_line()}")
        fault = compared(plan.out, expected or self.whole(plan))
        return Outcome("wrong", f"after another run: {fault}") if fault else Outcome("equal")


def make_shared(folder: Path) -> None:
    """Write the data sets that all faults share."""
    for kind in ("tif", "zarr"):
        make_data(folder / kind, kind=kind)


def _make_whole(root: Path, grid_format: str, place: Path) -> None:
    """Export without a disturbance; of two processes that do it at once, the second one's is left where it is."""
    own = Path(tempfile.mkdtemp(dir=place.parent))
    plan = Plan(root, own / "out", grid_format)
    run = partial(children.stopped_at, 0, 0, plan.out, partial(export, plan))
    if children.in_child(run, log=own / "log") != 0:
        raise RuntimeError((own / "log").read_text(encoding="utf-8"))
    (own / "steps").rename(place.with_suffix(".steps"))
    with contextlib.suppress(OSError):
        plan.out.rename(place)


def broken(bench: Bench, plan: Plan) -> str:
    """Return what lies damaged under its final name in an export that was disturbed, or nothing."""
    if not (plan.out / "manifest.json").is_file():
        return ""
    whole = open_embeddings(bench.whole_at(plan))
    own = open_embeddings(plan.out, allow_incomplete=True)
    for id_, layer in own._grids:
        try:
            same = own.grid(id_, layer).equals(whole.grid(id_, layer))
        except Exception as error:  # noqa: BLE001  (whatever the reader says of it)
            return f"the grid {id_} cannot be read: {type(error).__name__}: {str(error)[:80]}"
        if not same:
            return f"the grid {id_} holds other numbers"
    for table in (*plan.out.glob("parts/part-*.parquet"), *plan.out.glob("embeddings.parquet")):
        try:
            pq.read_table(table)
        except Exception as error:  # noqa: BLE001
            return f"{table.name} cannot be read: {type(error).__name__}: {str(error)[:80]}"
    return ""


def _judged(bench: Bench, plan: Plan, status: int | None, expected: Mapping[str, Any] | None = None) -> Outcome | None:
    """Judge the disturbed run itself: it fails and leaves nothing damaged, or it is whole."""
    if status is None:
        return Outcome("hang", "the disturbed run")
    if status < 0:
        return Outcome("unexpected", f"the interpreter died with {status}")
    if fault := broken(bench, plan):
        return Outcome("wrong", f"exit code {status}, and {fault}")
    if status == 0 and (fault := compared(plan.out, expected or bench.whole(plan))):
        return Outcome("wrong", f"exit code 0, and {fault}")
    return None


def full_disk(bench: Bench, chance: Random) -> Outcome:
    """A disk that is too small, and then large enough."""
    plan = bench.plan(chance.choice(FORMATS))
    size = int(_on_disk(bench, plan) * chance.uniform(0.02, 1.25)) // _PAGE * _PAGE
    _own_disk(plan.out, max(_PAGE, size))
    if judged := _judged(bench, plan, bench.run(plan)):
        return judged._replace(why=f"{plan.grid_format} on {size} bytes: {judged.why}")
    children.grow(plan.out, 64 << 20)
    return bench.finished(plan)


def full_for_a_moment(bench: Bench, chance: Random) -> Outcome:
    """A disk that another program fills, and then empties."""
    plan = bench.plan(chance.choice(FORMATS))
    _own_disk(plan.out.parent / "disk", 3 * _on_disk(bench, plan))
    plan = replace(plan, out=plan.out.parent / "disk" / "out")
    begin, length = chance.uniform(0, 0.4), chance.uniform(0.005, 0.1)
    filler = children.started(_fill, plan.out.parent / "filler", begin, length, log=bench.work / "filler.log")
    status = bench.run(plan)
    children.ended(filler)
    (plan.out.parent / "filler").unlink(missing_ok=True)
    return _judged(bench, plan, status) or bench.finished(plan)


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
    plan = bench.plan(chance.choice(FORMATS))
    sizes = [p.stat().st_size for p in bench.whole_at(plan).rglob("*") if p.is_file()]
    limit = int(chance.choice(sizes) * chance.uniform(0.1, 1.05))
    run = partial(children.with_short_files, limit, partial(export, plan))
    status = children.in_child(run, log=bench.log)
    if judged := _judged(bench, plan, status):
        return judged._replace(why=f"{plan.grid_format} files of {limit} bytes: {judged.why}")
    return bench.finished(plan)


def killed(bench: Bench, chance: Random) -> Outcome:
    """Kill -9, once or several times, before a step or at any time."""
    plan = bench.plan(chance.choice(FORMATS))
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
    plan = bench.plan(chance.choice(FORMATS))
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


def two_writers(bench: Bench, chance: Random) -> Outcome:
    """Two runs in one folder at once: what says that it is complete is whole, and nothing is lost for good."""
    plan = bench.plan(chance.choice(FORMATS))
    other = replace(plan, overwrite=chance.random() < 0.3)
    pause = chance.choice((0.0, 0.0, chance.uniform(0, 0.5)))
    first = children.started(export, plan, log=bench.log)
    time.sleep(pause)
    second = children.started(export, other, log=bench.work / "log2")
    codes = (children.ended(first), children.ended(second))
    if None in codes:
        return Outcome("hang", f"ended with {codes}")
    if 0 in codes and (fault := compared(plan.out, bench.whole(plan))):
        return Outcome("wrong", f"ended with {codes}, and {fault}")
    return bench.finished(plan)


def changed_inputs(bench: Bench, chance: Random) -> Outcome:
    """Inputs that change after an export, whole or not: it becomes that of what there is now, or is refused."""
    change = chance.choice(CHANGES)
    plan = replace(bench.plan("geotiff"), root=bench.own_data(change.kind))
    if chance.random() < 0.5:
        status = bench.run(plan)
    else:
        step = chance.randint(60, bench.steps(replace(plan, root=bench.shared / "tif")))
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
    plan = bench.plan(chance.choice(FORMATS))
    shutil.copytree(bench.whole_at(plan), plan.out)
    done = chance.choice(DAMAGES)(plan.out, chance)
    outcome = bench.finished(plan)
    if outcome.verdict == "unexpected" and "ValueError" in outcome.why and "manifest.json" in done + outcome.why:
        return Outcome("refused")
    return outcome._replace(why=f"{plan.grid_format}, {done}: {outcome.why}")


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
    plan = bench.plan(chance.choice(FORMATS))
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
    plan = replace(bench.plan(chance.choice(("geotiff", "npz"))), ranks=2)
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


def _on_disk(bench: Bench, plan: Plan) -> int:
    """What the undisturbed export takes on a disk of pages."""
    files = bench.whole_at(plan).rglob("*")
    return sum(-(-path.stat().st_size // _PAGE) * _PAGE for path in files if path.is_file())


def _own_disk(folder: Path, size: int) -> None:
    folder.mkdir()
    children.mount_small(folder, size)
