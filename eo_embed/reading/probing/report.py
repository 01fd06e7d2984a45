"""What probes found: as a table for people, as files for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from eo_core.files import write_file, write_text
from eo_core.fingerprint import plain_values
from eo_embed.reading.probing.bootstrap import CLASS_SCORES, LEVEL, OVERALL_SCORES, REGRESSION_SCORES
from eo_embed.reading.probing.confusion import draw_confusion, draw_scatter
from eo_embed.reading.probing.names import BASELINE, TASKS
from eo_embed.reading.probing.table import TEST

#: Column names of the table for people.
_TITLES: Mapping[str, str] = {
    "balanced_accuracy": "balanced accuracy", "f1_macro": "macro F1", "f1_weighted": "weighted F1", "f1": "F1",
    "r2": "R2", "rmse": "RMSE", "mae": "MAE",
}  # fmt: skip
_PICTURES = ("confusion", "scatter")


@dataclass(frozen=True)
class Score:
    """One number with its 95 % confidence interval.

    Parameters
    ----------
    probe : str
        Name of the probe, or ``baseline``.
    metric : str
        One of `OVERALL_SCORES`, `CLASS_SCORES` or `REGRESSION_SCORES`.
    class_name : str
        Name of the class that the score is of; empty for scores of all classes together.
    value, low, high : float
        NaN where undefined; ``low`` and ``high`` also without resamples, and of ``support``.
    """

    probe: str
    metric: str
    class_name: str
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "-"
        if self.metric == "support":
            return f"{self.value:.0f}"
        value, low, high = (
            f"{x:.3g}" if self.metric in ("rmse", "mae", "bias") else f"{x:.3f}"
            for x in (self.value, self.low, self.high)
        )
        return value if math.isnan(self.low) else f"{value} [{low}, {high}]"


@dataclass(frozen=True, eq=False)
class ProbeReport:
    """What the probes of an export found.

    Parameters
    ----------
    task : {'classification', 'regression'}
        Kind of the labels.
    scores : tuple of Score
        Scores of all probes, those of the baseline first.
    predictions : DataFrame
        ``id``, ``split``, ``label``, and one column per probe, filled in the test rows.
    classes : tuple of str
        Names of the classes; empty for regression.
    confusions : mapping of str to ndarray
        By probe, int ``(k, k)``, a row for each true class.
    facts : mapping
        Everything that made these numbers, as plain JSON values.
    notes : tuple of str
        What a reader should know.
    """

    task: str
    scores: tuple[Score, ...]
    predictions: pd.DataFrame
    classes: tuple[str, ...] = ()
    confusions: Mapping[str, np.ndarray] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def probes(self) -> tuple[str, ...]:
        """Names of the probes, the baseline first."""
        return tuple(dict.fromkeys(score.probe for score in self.scores))

    def score(self, probe: str, metric: str, class_name: str = "") -> Score:
        """Return one score.

        Raises
        ------
        ValueError
            If there is no such score.
        """
        wanted = (probe, metric, class_name)
        for score in self.scores:
            if (score.probe, score.metric, score.class_name) == wanted:
                return score
        metrics = dict.fromkeys(score.metric for score in self.scores)
        msg = (
            f"There is no score {wanted}. Probes: {', '.join(self.probes)}; metrics: {', '.join(metrics)}; classes: "
            f"{', '.join(self.classes) or 'none'}."
        )
        raise ValueError(msg)

    def table(self) -> str:
        """Return the scores of all probes, one a row, as Markdown that reads well as plain text."""
        metrics = OVERALL_SCORES if self.task == TASKS[0] else REGRESSION_SCORES
        rows = [[probe, *(str(self.score(probe, metric)) for metric in metrics)] for probe in self.probes]
        return _table(["probe", *(_TITLES.get(metric, metric) for metric in metrics)], rows)

    def markdown(self) -> str:
        """Return the whole report as Markdown."""
        return "\n\n".join(self._sections()) + "\n"

    def _sections(self) -> Iterator[str]:
        facts = self.facts
        yield f"# Probes of {facts['export']}"
        yield (
            f"{self.task.capitalize()} of `{facts['label']}`: {facts['train']} training and {facts['test']} test "
            f"samples ({facts['split']}), {facts['dimensions']} dimensions, seed {facts['seed']}."
        )
        yield self.table()
        yield _about_intervals(facts)
        if self.notes:
            yield "\n".join(f"- {note}" for note in self.notes)
        for probe in self.probes if self.classes else ():
            if probe != BASELINE:
                rows = [
                    [name, *(str(self.score(probe, metric, name)) for metric in CLASS_SCORES)] for name in self.classes
                ]
                titles = ["class", *(_TITLES.get(metric, metric) for metric in CLASS_SCORES)]
                yield f"## {probe}\n\n{_table(titles, rows)}"
        settings = [f"- {probe}: {_spelt(given)}" for probe, given in facts["probes"].items()]
        yield "\n".join(["## Settings", "", *settings])


def write_report(report: ProbeReport, folder: str | Path) -> Path:
    """Write a report, and return its folder.

    Writes ``report.md``, ``report.csv`` (probe, metric, class, value, low, high), ``predictions.csv``,
    ``report.json`` and a picture for each probe; pictures of probes that an earlier report had are removed.

    Parameters
    ----------
    report : ProbeReport
        What the probes found.
    folder : str or Path
        Is made.
    """
    folder = Path(folder)
    scores = pd.DataFrame([vars(score) for score in report.scores]).rename(columns={"class_name": "class"})
    facts = {**report.facts, "notes": list(report.notes)}
    drawn = {f"{kind}_{probe}.png": figure for kind, probe, figure in _pictures(report)}
    for name, figure in drawn.items():
        write_file(folder / name, partial(figure.savefig, format="png", dpi=120))
    for kind in _PICTURES:
        for path in folder.glob(f"{kind}_*.png"):
            if path.name not in drawn:
                path.unlink()
    write_text(folder / "report.csv", scores.to_csv(index=False))
    write_text(folder / "predictions.csv", report.predictions.to_csv(index=False))
    write_text(
        folder / "report.json", json.dumps(plain_values(facts), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    )
    write_text(folder / "report.md", report.markdown())
    return folder


def _pictures(report: ProbeReport) -> Iterator[tuple[str, str, Figure]]:
    tested = report.predictions[report.predictions["split"] == TEST]
    for probe in report.probes:
        if probe == BASELINE:
            continue
        if report.task == TASKS[0]:
            title = f"{probe}: accuracy {report.score(probe, 'accuracy')}"
            yield _PICTURES[0], probe, draw_confusion(report.confusions[probe], report.classes, title)
        else:
            true, predicted = (tested[name].to_numpy(dtype=np.float64) for name in ("label", probe))
            title = f"{probe}: R2 {report.score(probe, 'r2')}"
            yield _PICTURES[1], probe, draw_scatter(true, predicted, title, report.facts["label"])


def _about_intervals(facts: Mapping[str, Any]) -> str:
    count, groups = facts["bootstrap"], facts["test_groups"]
    if not count:
        return "No confidence intervals (bootstrap 0)."
    drawn = f"the {groups} test groups ({facts['grouped_by']})" if facts["grouped_by"] else "the test samples"
    return (
        f"In brackets {LEVEL:.0%} confidence intervals: percentiles over {count} resamples of {drawn}. They say what "
        "other test samples of the same kind would give, not what other training samples would."
    )


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [[text.replace("|", r"\|").replace("\n", " ") for text in row] for row in (titles, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(titles))]
    lines = [" | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(f"| {line} |" for line in (lines[0], " | ".join("-" * width for width in widths), *lines[1:]))


def _spelt(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items()) or "none"
