"""Metrics as text: one CSV row for each number, or Markdown tables."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from eo_finetune.class_scores import SCORES, class_means


@dataclass(frozen=True)
class Section:
    """The results on one data loader.

    Parameters
    ----------
    name : str
        ``test``, or with the name of the data loader.
    overall : mapping of str to float
        Metrics as the task logged them.
    facts : mapping of str to int or None
        Numbers of samples and pixels, ignore index.
    classes : mapping of str to mapping
        Scores and support by class.
    """

    name: str
    overall: Mapping[str, float]
    facts: Mapping[str, int | None]
    classes: Mapping[str, Mapping[str, float]]


def as_csv(sections: Sequence[Section]) -> str:
    """Return rows of section, class (empty for overall ones), metric, value; no value where it is undefined."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("section", "class", "metric", "value"))
    for section in sections:
        for metric, value in (*section.facts.items(), *section.overall.items()):
            writer.writerow((section.name, "", metric, _cell(value, "")))
        for name, row in section.classes.items():
            for metric, value in row.items():
                writer.writerow((section.name, name, metric, _cell(value, "")))
    return text.getvalue()


def _cell(value: float | int | None, undefined: str, digits: int = 9) -> str:
    if value is None:
        return "none"
    if isinstance(value, int):
        return str(value)
    return undefined if math.isnan(value) else f"{value:.{digits}g}"


def as_markdown(sections: Sequence[Section]) -> str:
    """Return aligned tables, readable as they are."""
    lines: list[str] = []
    for section in sections:
        lines += [f"# {section.name}", "", *_said(section), ""]
        overall = [(name, _fixed(value)) for name, value in section.overall.items()]
        lines += [*_table(("metric", "value"), overall), ""] if overall else []
        if section.classes:
            rows = [
                (name, *(_fixed(row[score]) for score in SCORES), f"{int(row['support'])}")
                for name, row in section.classes.items()
            ]
            means = class_means(section.classes)
            total = sum(int(row["support"]) for row in section.classes.values())
            rows.append(("mean of classes", *(_fixed(means[score]) for score in SCORES), str(total)))
            unit = "pixels" if "pixels" in section.facts else "samples"
            lines += [*_table(("class", *SCORES, f"support ({unit})"), rows), ""]
            lines += ["`-`: neither in the labels nor predicted; not in the means.", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _said(section: Section) -> Iterator[str]:
    for name, value in section.facts.items():
        yield f"- {name}: {'none' if value is None else value}"


def _fixed(value: float) -> str:
    """Four decimals, fewer of large numbers, and four significant digits of small ones."""
    if math.isnan(value):
        return "-"
    if 1e3 <= abs(value) < 1e6:
        return f"{value:.1f}"
    return f"{value:.4f}" if value == 0 or 1e-2 <= abs(value) < 1e3 else f"{value:.4g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        first = row[0].ljust(widths[0])
        rest = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        return f"| {' | '.join([first, *rest])} |"

    rule = "|".join(["", "-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:]), ""])
    return [line(cells[0]), rule, *(line(row) for row in cells[1:])]
