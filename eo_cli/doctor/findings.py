"""What a look at the installation and the machine has found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a finding is."""

    FINE = " "
    #: Works, but somebody should know.
    NOTE = "!"
    #: Something that everybody needs does not work.
    BROKEN = "X"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Parameters
    ----------
    what : str
        What was looked at.
    found : str
        What it is.
    state : State
        How it is.
    advice : str
        What to do about it, one sentence; empty where there is nothing to do.
    """

    what: str
    found: str
    state: State = State.FINE
    advice: str = ""


@dataclass(frozen=True)
class Part:
    """Lines of the report that belong together."""

    title: str
    findings: Sequence[Finding]


def is_broken(parts: Iterable[Part]) -> bool:
    """Whether anything does not work."""
    return any(finding.state is State.BROKEN for part in parts for finding in part.findings)


def report(parts: Sequence[Part]) -> str:
    """Return the report: a table, and under it what to do."""
    width = max(len(finding.what) for part in parts for finding in part.findings)
    lines: list[str] = []
    for part in parts:
        lines += ["", part.title] if lines else [part.title]
        lines += [f"{line.state} {line.what:<{width}}  {line.found}".rstrip() for line in part.findings]
    advice = dict.fromkeys(
        f"{finding.state} {finding.what}: {finding.advice}"
        for state in (State.BROKEN, State.NOTE, State.FINE)
        for part in parts
        for finding in part.findings
        if finding.state is state and finding.advice
    )
    lines += ["", "what to do", *advice] if advice else ["", "nothing to do"]
    return "\n".join(lines)
