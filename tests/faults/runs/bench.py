"""What faults work with: exports that were not disturbed, another run, and whether anything damaged lies there."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq

from eo_embed import open_embeddings
from tests.faults.outcome import Outcome
from tests.faults.runs import children
from tests.faults.runs.export import SCENES, Plan, compared, content, export, make_data


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

    def drawn(self, chance: Random) -> Plan:
        """Return a plan of any scene."""
        kind, grid_format = chance.choice(SCENES)
        return self.plan(grid_format, kind)

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

    def finished(self, plan: Plan) -> Outcome:
        """Run an export again; it must come to its end and equal one that was not disturbed."""
        status = self.run(plan)
        if status is None:
            return Outcome("hang", "the run after it")
        if status:
            return Outcome("unexpected", f"the run after it ended with {status}: {self.last_line()}")
        fault = compared(plan.out, self.whole(plan))
        return Outcome("wrong", f"after another run: {fault}") if fault else Outcome("equal")


def make_shared(folder: Path) -> None:
    """Write the data sets that all faults share."""
    for kind in ("tif", "zarr", "dated", "vrt", "large"):
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
    for id_, layer in own.grid_files:
        try:
            found, expected = own.grid(id_, layer), whole.grid(id_, layer)
            # In the raster of a run that ends with failed tiles, these hold no data.
            same = found.fillna(expected).equals(expected) if _is_tiled(plan) else found.equals(expected)
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


def _is_tiled(plan: Plan) -> bool:
    return (plan.root / "s2" / "big.tif").is_file()


def judged_run(bench: Bench, plan: Plan, status: int | None) -> Outcome | None:
    """Judge the disturbed run itself: it fails and leaves nothing damaged, or it is whole."""
    if status is None:
        return Outcome("hang", "the disturbed run")
    if status < 0:
        return Outcome("unexpected", f"the interpreter died with {status}")
    if fault := broken(bench, plan):
        return Outcome("wrong", f"exit code {status}, and {fault}")
    if status == 0 and (fault := compared(plan.out, bench.whole(plan))):
        return Outcome("wrong", f"exit code 0, and {fault}")
    return None
