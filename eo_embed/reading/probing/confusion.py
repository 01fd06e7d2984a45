"""Pictures of what a probe confuses: a confusion matrix, or predicted over true values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

#: Classes of which cells still have room for their counts.
MOST_NUMBERED = 40
#: Characters of a class name that are shown.
_LONGEST = 24


def draw_confusion(matrix: np.ndarray, names: Sequence[str], title: str) -> Figure:
    """Draw a confusion matrix: counts as numbers, the share of the true class as colour.

    Parameters
    ----------
    matrix : ndarray
        Int ``(k, k)``, a row for each true class.
    names : sequence of str
        Names of the classes, in the order of the rows.
    title : str
        Title of the picture.

    Returns
    -------
    matplotlib.figure.Figure
        A class without test samples has a grey row.
    """
    side = len(names)
    shown = _short(names)
    longest = max(map(len, shown))
    cell = max(0.42, 0.13 * len(str(matrix.max())), 1.8 / side) if side <= MOST_NUMBERED else 0.2
    room = cell * side + 0.09 * longest
    figure = Figure(figsize=(room + 2.1, room + 1.4), layout="constrained")
    axes = figure.add_subplot()
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.full(matrix.shape, np.nan), where=totals > 0)
    axes.set_facecolor("0.85")
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    upright = longest * 0.085 > cell
    ticks = np.arange(side)
    size = 9 if side <= MOST_NUMBERED else 6
    axes.set_xticks(ticks, map(_plain, shown), rotation=90 if upright else 0, fontsize=size)
    axes.set_yticks(ticks, map(_plain, shown), fontsize=size)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if side <= MOST_NUMBERED:
        for row, column in np.argwhere(matrix > 0):
            ink = "white" if shares[row, column] > 0.55 else "black"
            text = str(matrix[row, column])
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=8)
    figure.colorbar(image, ax=axes, label="share of the true class", fraction=0.046, pad=0.03)
    figure.suptitle(_plain(title), fontsize=10)
    return figure


def draw_scatter(true: np.ndarray, predicted: np.ndarray, title: str, label: str) -> Figure:
    """Draw predicted over true values ``(n,)`` with the line on which they are equal; ``label`` names the values."""
    figure = Figure(figsize=(4.8, 5.0), layout="constrained")
    axes = figure.add_subplot()
    low, high = (float(end(np.concatenate([true, predicted]))) for end in (np.min, np.max))
    margin = 0.05 * (high - low) or 1.0
    span = (low - margin, high + margin)
    axes.plot(span, span, color="0.6", linewidth=1, zorder=1)
    axes.scatter(true, predicted, s=14, alpha=float(np.clip(100 / len(true), 0.15, 0.8)), edgecolors="none", zorder=2)
    axes.set(xlim=span, ylim=span, aspect="equal", xlabel=f"true {_plain(label)}", ylabel=f"predicted {_plain(label)}")
    figure.suptitle(_plain(title), fontsize=10)
    return figure


def _short(names: Sequence[str]) -> list[str]:
    """Shorten names in their middle, unless that makes two alike: what tells classes apart is often at the end."""
    short = [name if len(name) <= _LONGEST else f"{name[:10]}...{name[13 - _LONGEST :]}" for name in names]
    return short if len(set(short)) == len(short) else list(names)


def _plain(text: str) -> str:
    """Keep matplotlib from reading a dollar as the start of a formula."""
    return text.replace("$", r"\$")
