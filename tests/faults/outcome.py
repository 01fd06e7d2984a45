"""What came of a case, and the table of all of them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

#: Fine: refused with the file's name, equal to what came before the damage, or what the file now says.
FINE = ("refused", "equal", "changed")
#: What must not happen.
BAD = ("unexpected", "hang", "memory", "wrong")
#: The columns of the table.
TITLES = ("refused", "equal", "changed", "unexpected exceptions", "hangs", "over memory", "silently wrong")


class Outcome(NamedTuple):
    """What came of one case: one of `FINE` or `BAD`, and why."""

    verdict: str
    why: str = ""


@dataclass
class Tally:
    """Outcomes of one kind of cases."""

    kind: str
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    #: Name of the case and reason of what must not have happened.
    bad: list[tuple[str, str]] = field(default_factory=list)

    def add(self, case: str, outcome: Outcome, seconds: float) -> None:
        self.counts[outcome.verdict] += 1
        self.seconds += seconds
        if outcome.verdict in BAD:
            self.bad.append((case, f"{outcome.verdict}: {outcome.why}"))

    @property
    def cases(self) -> int:
        return self.counts.total()


def table(tallies: Iterable[Tally]) -> str:
    """Return one line for each kind, and one for all."""
    rows = list(tallies)
    whole = Tally("all", sum((tally.counts for tally in rows), Counter[str]()), sum(tally.seconds for tally in rows))
    lines = [["kind", "cases", *TITLES, "seconds"]]
    for own in (*rows, whole):
        numbers = [own.cases, *(own.counts[verdict] for verdict in FINE + BAD)]
        lines.append([own.kind, *map(str, numbers), f"{own.seconds:.1f}"])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)) for line in lines)


def chance(*parts: object) -> random.Random:
    """Return numbers that depend on these parts alone, so that a case comes again by its name."""
    return random.Random("|".join(map(str, parts)))  # noqa: S311
