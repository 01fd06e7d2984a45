"""What a run prints: plain progress lines where there is no terminal, and a table at its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TextIO

from eo_embed.export.record import failures
from eo_embed.writers.layout import MANIFEST

#: Rows of the table: key of the counts and what the table calls it. ``bytes`` is shown in megabytes of 10^6 bytes.
ROWS = (
    ("done", "items exported"),
    ("skipped", "items skipped (finished before)"),
    ("blank", "tiles without data"),
    ("failed", "items failed"),
    ("cells", "grid cells"),
    ("dimensions", "dimensions"),
    ("bytes", "megabytes"),
)
_WIDTH = 80


@dataclass(frozen=True)
class Counts:
    """What a run has done.

    Parameters
    ----------
    done, skipped : int
        Samples that were exported, and those that an earlier run has finished.
    cells : int
        Grid cells that were written.
    area_m2 : float
        Ground that the exported samples cover, in square metres.
    blank : int
        Tiles of rasters in which nothing was observed.
    """

    done: int = 0
    skipped: int = 0
    cells: int = 0
    area_m2: float = 0.0
    blank: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts.of([a + b for a, b in zip(self.numbers(), other.numbers(), strict=True)])

    def numbers(self) -> list[float]:
        """Return the counts as numbers that can be added up over processes."""
        return [float(value) for value in astuple(self)]

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Counts:
        """Return the counts behind :meth:`numbers`."""
        done, skipped, cells, area, blank = numbers
        return cls(int(done), int(skipped), int(cells), area, int(blank))


def summary_table(counts: Mapping[str, int], seconds: float, area_m2: float, folder: str | Path) -> str:
    """Return the table that ends a run, at most 80 columns wide but for the path of the manifest.

    Parameters
    ----------
    counts : mapping
        Any of ``done``, ``skipped``, ``blank``, ``failed``, ``cells``, ``dimensions``, ``bytes``; a missing one has no
        row.
    seconds : float
        Wall time of the run.
    area_m2 : float
        Ground that this run has covered, in square metres; 0 if unknown.
    folder : str or Path
        Folder of the export.

    Raises
    ------
    ValueError
        For a count that the table does not have.
    """
    known = [key for key, _ in ROWS]
    unknown = [key for key in counts if key not in known]
    if unknown:
        msg = f"Unknown counts {unknown}. Valid: {', '.join(known)}."
        raise ValueError(msg)
    rows = [(text, _count(key, counts[key])) for key, text in ROWS if key in counts]
    done = counts.get("done", 0)
    rows.append(("time", duration(seconds)))
    if done and seconds > 0:
        rows.append(("items/s", f"{done / seconds:,.2f}"))
        if area_m2 > 0:
            rows += [("area, km2", f"{area_m2 / 1e6:,.2f}"), ("km2/s", f"{area_m2 / 1e6 / seconds:,.3f}")]
    widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
    rule = "-" * min(_WIDTH, sum(widths) + 2)
    lines = ["Embedding export", rule, *(f"{text:<{widths[0]}}  {value:>{widths[1]}}" for text, value in rows), rule]
    if counts.get("failed"):
        lines.append(f"failures  {Path(folder) / failures.NAME}")
    lines.append(f"manifest  {Path(folder) / MANIFEST}")
    return "\n".join(lines)


def _count(key: str, value: float | str) -> str:
    if key == "bytes" and not isinstance(value, str):
        return f"{value / 1e6:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def duration(seconds: float) -> str:
    """Return a time span as people read it: ``42 s``, ``3 min 05 s``, ``2 h 07 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{int(seconds)} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


class ProgressLines:
    """Plain progress lines for a log; silent on a terminal, where somebody draws a bar with what `ground` says.

    Parameters
    ----------
    total : int or None
        Batches of the run; ``None`` if unknown: then there is no estimate of the time left.
    every : float
        Seconds between two lines, at least.
    stream : text file, optional
        Where to write; standard output by default.
    clock : callable
        Gives seconds.
    bar : bool
        Whether there is a bar on a terminal; else lines are written there, too.
    """

    def __init__(
        self,
        total: int | None,
        every: float = 30.0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        bar: bool = True,
    ) -> None:
        self.total = total
        self.every = every
        self._bar = bar
        self._stream = sys.stdout if stream is None else stream
        self._clock = clock
        self._start = self._last = clock()
        self._made = 0

    def update(self, batches: int, items: int, area_m2: float = 0.0) -> None:
        """Count a batch that was made, and say how far the run is: at the last one, or if the last line is old enough.

        Batches that an earlier run has finished, or of which nothing could be read, are passed over: they are not told
        of here and take no time, so that what the others took says how long the rest takes.

        Parameters
        ----------
        batches : int
            Batches done, of ``total``, with those that were passed over.
        items : int
            Items exported by this run so far.
        area_m2 : float
            Ground covered so far in square metres.
        """
        now = self._clock()
        self._made += 1
        if (self._bar and self._stream.isatty()) or (now - self._last < self.every and batches != self.total):
            return
        self._last = now
        self._stream.write(self.line(batches, items, area_m2, now - self._start, self._made) + "\n")
        self._stream.flush()

    def line(self, batches: int, items: int, area_m2: float, seconds: float, made: int | None = None) -> str:
        """Return the line for a state of the run, ``seconds`` after its start, in which it made ``made`` batches."""
        made = batches if made is None else made
        parts = [f"embedding: batch {batches:,}" + (f" of {self.total:,}" if self.total else "")]
        parts += [f"{batches - made:,} of them passed over"] if made < batches else []
        parts.append(f"{items:,} items")
        covered, speed = _ground(area_m2, seconds)
        parts += [*covered, *([f"{items / seconds:,.2f} items/s"] if seconds > 0 else []), *speed]
        if seconds > 0 and self.total and made and batches < self.total:
            parts.append(f"{duration(seconds / made * (self.total - batches))} left")
        return ", ".join(parts)

    def ground(self, area_m2: float) -> str:
        """Return what a bar says of the ground that is covered so far, in square metres; empty if it is unknown."""
        covered, speed = _ground(area_m2, self._clock() - self._start)
        return ", ".join(covered + speed)


def _ground(area_m2: float, seconds: float) -> tuple[list[str], list[str]]:
    """Return how much ground, and how much a second, as far as it is known."""
    if area_m2 <= 0:
        return [], []
    km2 = area_m2 / 1e6
    return [f"{km2:,.2f} km2"], [f"{km2 / seconds:,.3f} km2/s"] if seconds > 0 else []
