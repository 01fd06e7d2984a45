"""All cases of broken inputs: every seed in turn, each time damaged in another way."""

from __future__ import annotations

import importlib
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, Protocol

from tests.faults.inputs.hostile import hostile_inputs
from tests.faults.inputs.images import image_seeds
from tests.faults.inputs.labels import label_seeds
from tests.faults.inputs.pool import outcomes
from tests.faults.inputs.tables import table_seeds
from tests.faults.inputs.weights import weight_seeds
from tests.faults.outcome import Outcome, Tally, chance


class Seed(Protocol):
    """A valid input of one form."""

    @property
    def name(self) -> str:
        """Its name, unique."""

    @property
    def kind(self) -> str:
        """The line of the table that it counts for."""

    def write(self, folder: Path) -> None:
        """Write it to an empty folder."""

    def read(self, folder: Path) -> Any:
        """Read it as the packages do."""

    def case(self, folder: Path, valid: Any, chance: Random) -> Outcome:
        """Damage what :meth:`write` wrote, read it, and judge what comes; ``valid`` is what came before."""


#: A run of so many cases also has what takes seconds to import.
MANY = 1000


def all_seeds(*, whole: bool) -> list[Seed]:
    """Return all seeds; those that take seconds to import for a long run only."""
    if whole:
        importlib.import_module("eo_models.weights.checkpoint_io")  # before processes are forked
    return [*image_seeds(), *table_seeds(), *label_seeds(), *weight_seeds(whole=whole)]


class Cases:
    """Cases by number; a case comes again by the seed of the run and its name.

    Parameters
    ----------
    work : Path
        A folder to work in.
    seed : int
        Of the run.
    seeds : sequence of Seed
        What is damaged.
    """

    def __init__(self, work: Path, seed: int, seeds: Sequence[Seed]) -> None:
        self.work, self.seed, self.seeds = work, seed, list(seeds)
        # Read where it is needed: this process forks, and must have no threads of those who read.
        self.valid: dict[int, Any] = {}
        for i, own in enumerate(self.seeds):
            folder = work / f"{i}" / "data"
            folder.mkdir(parents=True)
            own.write(folder)

    def name(self, number: int) -> str:
        round_, i = divmod(number, len(self.seeds))
        return f"{self.seeds[i].name}:{round_}"

    def run(self, number: int) -> Outcome:
        """Run one case in a folder of its own."""
        i = number % len(self.seeds)
        if i not in self.valid:
            read = self.seeds[i].read(self.work / f"{i}" / "data")
            self.valid[i] = read[0] if isinstance(read, tuple) else read
        folder = Path(tempfile.mkdtemp(dir=self.work))
        shutil.copytree(self.work / f"{i}" / "data", folder / "data")
        try:
            own = chance(self.seed, self.name(number))
            return self.seeds[i].case(folder / "data", self.valid[i], own)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def run_inputs(count: int, seed: int, workers: int) -> list[Tally]:
    """Run ``count`` cases; one tally for each kind."""
    with tempfile.TemporaryDirectory(prefix="faults-") as work:
        cases = Cases(Path(work), seed, all_seeds(whole=count >= MANY))
        tallies: dict[str, Tally] = {own.kind: Tally(own.kind) for own in cases.seeds}
        for number, outcome, seconds in outcomes(count, cases.run, workers):
            tallies[cases.seeds[number % len(cases.seeds)].kind].add(cases.name(number), outcome, seconds)
        return list(tallies.values())


def run_hostile(workers: int) -> Tally:
    """Run all inputs that no accident makes."""
    inputs, tally = hostile_inputs(), Tally("hostile")

    with tempfile.TemporaryDirectory(prefix="faults-") as work:

        def run(number: int) -> Outcome:
            with tempfile.TemporaryDirectory(dir=work) as own:
                return inputs[number].run(Path(own))

        for number, outcome, seconds in outcomes(len(inputs), run, workers):
            tally.add(inputs[number].name, outcome, seconds)
    return tally


def show_case(name: str, seed: int) -> Outcome:
    """Run one case by its name, in this process."""
    wanted, _, round_ = name.rpartition(":")
    with tempfile.TemporaryDirectory(prefix="faults-") as work:
        cases = Cases(Path(work), seed, all_seeds(whole=True))
        i = next(i for i, own in enumerate(cases.seeds) if own.name == wanted)
        return cases.run(int(round_) * len(cases.seeds) + i)
