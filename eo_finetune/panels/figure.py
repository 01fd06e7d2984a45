"""Draw a sample beside its label, its prediction and the errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.typing import ColorType

from eo_finetune.panels.colours import (
    CORRECT,
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    MARK,
    NO_LABEL,
    TRUE_NEGATIVE,
    TRUE_POSITIVE,
    WRONG,
    class_colours,
    error_map,
    striped,
)
from eo_finetune.panels.drawable import MapSample, SceneSample
from eo_finetune.panels.row import GAP, MARGIN, PANEL, Row, shortened
from eo_finetune.panels.scores import class_scores, value_scores

#: Inches: a row of a legend, and room below it.
_LEGEND_ROW, _FOOT = 0.19, 0.14
#: Percentiles that colour scales of values end at, so that single pixels do not take all the contrast.
_RANGE = (0.5, 99.5)
#: Legends list all classes up to this number, and above it those that are seen in the sample.
_ALL_CLASSES = 10
#: Colours of the error map, for two classes and for more.
_ERRORS_OF_TWO: Mapping[str, str] = {
    "false positive": FALSE_POSITIVE,
    "false negative": FALSE_NEGATIVE,
    "true positive": TRUE_POSITIVE,
    "true negative": TRUE_NEGATIVE,
}
_ERRORS_OF_MANY: Mapping[str, str] = {"correct": CORRECT, "wrong": WRONG}


def segmentation_figure(sample: MapSample, names: Sequence[str]) -> Figure:
    """Draw pictures, label, prediction and errors in a row, with legends below.

    Parameters
    ----------
    sample : MapSample
        Label and prediction are classes.
    names : sequence of str
        Name of each class.
    """
    label, prediction, ignored = sample.label, sample.prediction, sample.ignored
    two = len(names) == 2
    colours = class_colours(len(names))
    top = len(names) - 1
    panels = [
        *sample.pictures,
        ("label", striped(colours[np.where(ignored, 0, label).clip(0, top)], ignored)),
        ("prediction", colours[prediction.clip(0, top)]),
        (f"errors (positive: {names[1]})" if two else "errors", error_map(label, prediction, ignored, len(names))),
    ]
    no_label = [_patch(NO_LABEL[1], "no label", hatch="/////")] if ignored.any() else []
    classes = [_patch(colours[c], names[c]) for c in _listed(sample, len(names))] + no_label
    errors = [_patch(colour, text) for text, colour in (_ERRORS_OF_TWO if two else _ERRORS_OF_MANY).items()] + no_label
    class_columns, error_columns = _columns(classes, 2 * PANEL + GAP), _columns(errors, PANEL + 0.3)
    rows = max(math.ceil(len(classes) / class_columns), math.ceil(len(errors) / error_columns))
    row = Row(len(panels), _aspect(sample), rows * _LEGEND_ROW + _FOOT)
    *_, under_label, _, under_errors = row.draw(panels)
    row.head(sample.name, class_scores(label, prediction, ignored, names))
    row.legend(under_label, classes, class_columns, panels=2)
    row.legend(under_errors, errors, error_columns, panels=1)
    return row.figure


def _listed(sample: MapSample, count: int) -> list[int]:
    """Classes that the legend lists."""
    if count <= _ALL_CLASSES:
        return list(range(count))
    seen = np.unique(np.concatenate([sample.label[~sample.ignored], sample.prediction.ravel()]))
    return [int(c) for c in seen if 0 <= c < count]


def regression_figure(sample: MapSample) -> Figure:
    """Draw pictures, label, prediction and their difference in a row, with colour bars below.

    Parameters
    ----------
    sample : MapSample
        Label and prediction are values.
    """
    label, prediction, ignored = sample.label, sample.prediction, sample.ignored
    seen = label[~ignored] if not ignored.all() else prediction.ravel()
    difference = prediction.astype(np.float64) - np.where(ignored, 0, label)
    values, errors = _scale_of_values(seen), _scale_of_errors(difference[~ignored])
    panels = [
        *sample.pictures,
        ("label", striped(values.to_rgba(np.where(ignored, 0, label))[..., :3], ignored)),
        ("prediction", values.to_rgba(prediction)[..., :3]),
        ("prediction - label", striped(errors.to_rgba(difference)[..., :3], ignored)),
    ]
    row = Row(len(panels), _aspect(sample), 0.5)
    row.draw(panels)
    row.head(sample.name, value_scores(label, prediction, ignored))
    both = np.concatenate([seen, prediction.ravel()])
    row.bar(values, (len(panels) - 3, len(panels) - 2), _extend(both, values))
    row.bar(errors, (len(panels) - 1, len(panels) - 1), _extend(difference[~ignored], errors))
    return row.figure


def _scale_of_values(seen: np.ndarray) -> ScalarMappable:
    low, high = np.percentile(seen, _RANGE)
    return ScalarMappable(Normalize(low, high if high > low else low + 1), "viridis")


def _scale_of_errors(difference: np.ndarray) -> ScalarMappable:
    """White at no error, and as far to either side."""
    limit = float(np.percentile(np.abs(difference), _RANGE[1])) if difference.size else 0.0
    return ScalarMappable(Normalize(-(limit or 1), limit or 1), "RdBu_r")


def scene_figure(samples: Sequence[SceneSample], title: str) -> Figure:
    """Draw a sheet of thumbnails with label and prediction; wrong ones have a thick red frame and bold red text."""
    columns = min(4, len(samples))
    rows = math.ceil(len(samples) / columns)
    side, text = 2.1, 0.62
    width, height = columns * (side + GAP) + 2 * MARGIN, rows * (side + text) + 0.45
    figure = Figure(figsize=(width, height))
    judged = [sample.correct for sample in samples if sample.correct is not None]
    right = f": {sum(judged)} of {len(judged)} right" if judged else ""
    figure.text(MARGIN / width, 1 - 0.12 / height, f"{title}{right}", va="top", fontsize=10, fontweight="bold")
    for i, sample in enumerate(samples):
        left = MARGIN + (i % columns) * (side + GAP)
        bottom = height - 0.4 - (i // columns) * (side + text) - side
        axes = figure.add_axes((left / width, bottom / height, side / width, side / height))
        _thumbnail(axes, sample)
    return figure


def _thumbnail(axes: Axes, sample: SceneSample) -> None:
    blank = np.ones((2, 2, 3), dtype=np.float32)
    axes.imshow(blank if sample.picture is None else sample.picture)
    axes.set_xticks([])
    axes.set_yticks([])
    wrong = sample.correct is False
    for spine in axes.spines.values():
        spine.set_color(MARK if wrong else "#888888")
        spine.set_linewidth(2.5 if wrong else 0.6)
    sure = "" if sample.probability is None else f" ({sample.probability:.2f})"
    axes.text(
        0, -0.03, shortened(sample.name, 2.1, 15), transform=axes.transAxes, va="top", fontsize=6.5, color="#666666"
    )
    axes.text(0, -0.11, f"label: {shortened(sample.label, 1.7, 13)}", transform=axes.transAxes, va="top", fontsize=7.5)
    predicted = f"predicted: {shortened(sample.prediction, 1.0, 13)}{sure}"
    style: Mapping[str, Any] = {"color": MARK, "fontweight": "bold"} if wrong else {}
    axes.text(0, -0.19, predicted, transform=axes.transAxes, va="top", fontsize=7.5, **style)


def _aspect(sample: MapSample) -> float:
    height, width = sample.label.shape
    return height / width


def _patch(colour: ColorType, text: str, hatch: str | None = None) -> Patch:
    return Patch(
        facecolor=colour, edgecolor=NO_LABEL[0] if hatch else "#777777", linewidth=0.4, label=text, hatch=hatch
    )


def _columns(patches: Sequence[Patch], width: float) -> int:
    longest = max(len(str(patch.get_label())) for patch in patches)
    return max(1, min(len(patches), int(width / (0.45 + 0.062 * longest))))


def _extend(values: np.ndarray, scale: ScalarMappable) -> str:
    low, high = scale.get_clim()
    below, above = bool((values < low).any()), bool((values > high).any())
    return {(True, True): "both", (True, False): "min", (False, True): "max", (False, False): "neither"}[below, above]
