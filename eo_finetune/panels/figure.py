"""Draw a sample beside its label, its prediction and the errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

#: Inches.
_PANEL, _GAP, _MARGIN, _TITLES, _LEGEND_ROW, _FOOT = 2.7, 0.12, 0.1, 0.7, 0.19, 0.14
#: Two classes: the first is the ground, the second what is looked for.
_TWO = ("#e6dfcf", "#2171b5")
#: More classes: those of tab10 and tab20 that are not grey, which means "no label".
_TEN = [colour for i, colour in enumerate(mpl.colormaps["tab10"].colors) if i != 7]  # type: ignore[attr-defined]
_TWENTY = [colour for i, colour in enumerate(mpl.colormaps["tab20"].colors) if i not in (14, 15)]  # type: ignore[attr-defined]
#: Errors. Red and amber stay apart for the colour blind.
TRUE_NEGATIVE, TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE = "#eef1f4", "#9cc3e0", "#cb181d", "#f5a623"
CORRECT, WRONG = "#dfe7ee", "#cb181d"
#: Stripes of pixels without a label.
_IGNORED = ("#b4b4b4", "#d8d8d8")
#: Percentiles that colour scales of values end at, so that single pixels do not take all the contrast.
_RANGE = (0.5, 99.5)
#: Legends list all classes up to this number, and above it those that are seen in the sample.
_ALL_CLASSES = 10


@dataclass(frozen=True)
class MapSample:
    """A sample with a label for each pixel.

    Parameters
    ----------
    name : str
        Path or id.
    pictures : tuple of (str, array)
        Titles and pictures ``(h, w, 3)`` in 0..1; the pixels may be of another size than the label's.
    label, prediction : array
        ``(H, W)``: classes, or values.
    ignored : bool array
        ``(H, W)``: pixels without a label.
    """

    name: str
    pictures: tuple[tuple[str, np.ndarray], ...]
    label: np.ndarray
    prediction: np.ndarray
    ignored: np.ndarray


@dataclass(frozen=True)
class SceneSample:
    """A sample with one label.

    Parameters
    ----------
    name : str
        Path or id.
    picture : array or None
        ``(h, w, 3)`` in 0..1.
    label, prediction : str
        As they are shown.
    probability : float or None
        Of the prediction.
    correct : bool or None
        Whether they agree; ``None`` for values.
    """

    name: str
    picture: np.ndarray | None
    label: str
    prediction: str
    probability: float | None
    correct: bool | None


def class_colours(count: int) -> np.ndarray:
    """Return one colour per class, float ``(count, 3)``; none of them is grey."""
    if count <= 2:
        colours: Sequence[Any] = _TWO
    elif count <= len(_TEN):
        colours = _TEN
    elif count <= len(_TWENTY):
        colours = _TWENTY
    else:
        colours = [mpl.colormaps["turbo"](i / (count - 1)) for i in range(count)]
    return np.array([to_rgb(colour) for colour in colours[:count]])


def error_map(label: np.ndarray, prediction: np.ndarray, ignored: np.ndarray, classes: int) -> np.ndarray:
    """Return the colours of right and wrong pixels, float ``(H, W, 3)``; ignored pixels have grey stripes."""
    if classes == 2:
        table = np.array(
            [[to_rgb(TRUE_NEGATIVE), to_rgb(FALSE_POSITIVE)], [to_rgb(FALSE_NEGATIVE), to_rgb(TRUE_POSITIVE)]]
        )
        shown = table[np.where(ignored, 0, label).clip(0, 1), prediction.clip(0, 1)]
    else:
        shown = np.where((label == prediction)[..., None], to_rgb(CORRECT), to_rgb(WRONG))
    return _striped(shown, ignored)


def class_scores(label: np.ndarray, prediction: np.ndarray, ignored: np.ndarray, names: Sequence[str]) -> str:
    """Return IoU and accuracy of one sample in words, over pixels that have a label."""
    true, said = label[~ignored], prediction[~ignored]
    if true.size == 0:
        return "no pixel has a label"
    accuracy = f"accuracy {np.mean(true == said):.3f}"
    unions = {c: np.count_nonzero((true == c) | (said == c)) for c in range(len(names))}
    ious = {c: np.count_nonzero((true == c) & (said == c)) / n for c, n in unions.items() if n}
    if len(names) == 2:
        iou = f"IoU of {names[1]} {ious[1]:.3f}" if 1 in ious else f"no {names[1]}, and none predicted"
    else:
        iou = f"mIoU {np.mean(list(ious.values())):.3f} over {len(ious)} classes"
    return f"{iou}, {accuracy}{_share(ignored)}"


def value_scores(label: np.ndarray, prediction: np.ndarray, ignored: np.ndarray) -> str:
    """Return RMSE, MAE and bias (prediction - label) of one sample in words, over pixels that have a label."""
    difference = (prediction.astype(np.float64) - label)[~ignored]
    if difference.size == 0:
        return "no pixel has a label"
    rmse, mae = math.sqrt(np.mean(difference**2)), np.mean(np.abs(difference))
    return f"RMSE {rmse:.4g}, MAE {mae:.4g}, bias {np.mean(difference):+.4g}{_share(ignored)}"


def _share(ignored: np.ndarray) -> str:
    share = ignored.mean()
    return f", {'< 0.1%' if share < 0.001 else f'{share:.1%}'} without label" if share else ""


def segmentation_figure(sample: MapSample, names: Sequence[str]) -> Figure:
    """Draw pictures, label, prediction and errors in a row, with legends below."""
    label, prediction, ignored = sample.label, sample.prediction, sample.ignored
    colours = class_colours(len(names))
    top = len(names) - 1
    panels = [
        *sample.pictures,
        ("label", _striped(colours[np.where(ignored, 0, label).clip(0, top)], ignored)),
        ("prediction", colours[prediction.clip(0, top)]),
        (
            f"errors (positive: {names[1]})" if len(names) == 2 else "errors",
            error_map(label, prediction, ignored, len(names)),
        ),
    ]
    shown = set(range(len(names)))
    if len(names) > _ALL_CLASSES:
        shown = {int(c) for c in np.unique(np.concatenate([label[~ignored], prediction.ravel()]))}
    without = [_patch(_IGNORED[1], "no label", hatch="/////")] if ignored.any() else []
    classes = [_patch(colours[c], names[c]) for c in range(len(names)) if c in shown] + without
    found = {"correct": CORRECT, "wrong": WRONG}
    if len(names) == 2:
        found = {
            "false positive": FALSE_POSITIVE,
            "false negative": FALSE_NEGATIVE,
            "true positive": TRUE_POSITIVE,
            "true negative": TRUE_NEGATIVE,
        }
    errors = [_patch(colour, text) for text, colour in found.items()] + without
    columns = _columns(classes, 2 * _PANEL + _GAP), _columns(errors, _PANEL + 0.3)
    rows = max(math.ceil(len(classes) / columns[0]), math.ceil(len(errors) / columns[1]))
    row = _Row(len(panels), _aspect(sample), rows * _LEGEND_ROW + _FOOT)
    axes = row.draw(panels)
    row.head(sample.name, class_scores(label, prediction, ignored, names))
    style: dict[str, Any] = {"loc": "upper center", "frameon": False, "fontsize": 8, "handlelength": 1.2}
    style |= {"handleheight": 0.9, "columnspacing": 1.0, "borderaxespad": 0, "handletextpad": 0.5, "labelspacing": 0.35}
    middle = 1 + _GAP / _PANEL / 2
    drop = -0.06 / row.height
    axes[-3].legend(handles=classes, ncols=columns[0], bbox_to_anchor=(middle, drop), **style)
    axes[-1].legend(handles=errors, ncols=columns[1], bbox_to_anchor=(0.5, drop), **style)
    return row.figure


def regression_figure(sample: MapSample) -> Figure:
    """Draw pictures, label, prediction and their difference in a row, with colour bars below."""
    label, prediction, ignored = sample.label, sample.prediction, sample.ignored
    seen = label[~ignored] if not ignored.all() else prediction.ravel()
    low, high = np.percentile(seen, _RANGE)
    values = ScalarMappable(Normalize(low, high if high > low else low + 1), "viridis")
    difference = prediction.astype(np.float64) - np.where(ignored, 0, label)
    apart = np.abs(difference[~ignored])
    limit = float(np.percentile(apart, _RANGE[1])) if apart.size else 0.0
    errors = ScalarMappable(Normalize(-(limit or 1), limit or 1), "RdBu_r")
    panels = [
        *sample.pictures,
        ("label", _striped(values.to_rgba(np.where(ignored, low, label))[..., :3], ignored)),
        ("prediction", values.to_rgba(prediction)[..., :3]),
        ("prediction - label", _striped(errors.to_rgba(difference)[..., :3], ignored)),
    ]
    row = _Row(len(panels), _aspect(sample), 0.5)
    row.draw(panels)
    row.head(sample.name, value_scores(label, prediction, ignored))
    both = np.concatenate([seen, prediction.ravel()])
    row.bar(values, (len(panels) - 3, len(panels) - 2), _extend(both, values))
    row.bar(errors, (len(panels) - 1, len(panels) - 1), _extend(difference[~ignored], errors))
    return row.figure


def scene_figure(samples: Sequence[SceneSample], title: str) -> Figure:
    """Draw a sheet of thumbnails with label and prediction; wrong ones are framed and written in red."""
    columns = min(4, len(samples))
    rows = math.ceil(len(samples) / columns)
    side, text = 2.1, 0.62
    width, height = columns * (side + _GAP) + 2 * _MARGIN, rows * (side + text) + 0.45
    figure = Figure(figsize=(width, height))
    judged = [sample.correct for sample in samples if sample.correct is not None]
    right = f": {sum(judged)} of {len(judged)} right" if judged else ""
    figure.text(_MARGIN / width, 1 - 0.12 / height, f"{title}{right}", va="top", fontsize=10, fontweight="bold")
    for i, sample in enumerate(samples):
        left = _MARGIN + (i % columns) * (side + _GAP)
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
        spine.set_color(WRONG if wrong else "#888888")
        spine.set_linewidth(2.5 if wrong else 0.6)
    sure = "" if sample.probability is None else f" ({sample.probability:.2f})"
    axes.text(
        0, -0.03, shortened(sample.name, 2.1, 15), transform=axes.transAxes, va="top", fontsize=6.5, color="#666666"
    )
    axes.text(0, -0.11, f"label: {shortened(sample.label, 1.7, 13)}", transform=axes.transAxes, va="top", fontsize=7.5)
    predicted = f"predicted: {shortened(sample.prediction, 1.0, 13)}{sure}"
    style: Mapping[str, Any] = {"color": WRONG, "fontweight": "bold"} if wrong else {}
    axes.text(0, -0.19, predicted, transform=axes.transAxes, va="top", fontsize=7.5, **style)


def shortened(text: str, width: float, per_inch: float) -> str:
    """Shorten a text to ``width`` inches; the end of a path tells samples apart, so that stays."""
    most = int(width * per_inch)
    return text if len(text) <= most else f"...{text[3 - most :]}"


def _aspect(sample: MapSample) -> float:
    height, width = sample.label.shape
    return height / width


def _striped(colours: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """Put diagonal grey stripes over ignored pixels."""
    height, width = ignored.shape
    period = max(2, max(height, width) // 40)
    rows, columns = np.ogrid[:height, :width]
    dark = ((rows + columns) // max(1, period // 2)) % 2 == 0
    stripes = np.where(dark[..., None], to_rgb(_IGNORED[0]), to_rgb(_IGNORED[1]))
    return np.where(ignored[..., None], stripes, colours)


def _patch(colour: Any, text: str, hatch: str | None = None) -> Patch:  # noqa: ANN401
    return Patch(
        facecolor=colour, edgecolor=_IGNORED[0] if hatch else "#777777", linewidth=0.4, label=text, hatch=hatch
    )


def _columns(patches: Sequence[Patch], width: float) -> int:
    longest = max(len(str(patch.get_label())) for patch in patches)
    return max(1, min(len(patches), int(width / (0.45 + 0.062 * longest))))


def _extend(values: np.ndarray, scale: ScalarMappable) -> str:
    low, high = scale.get_clim()
    below, above = bool((values < low).any()), bool((values > high).any())
    return {(True, True): "both", (True, False): "min", (False, True): "max", (False, False): "neither"}[below, above]


class _Row:
    """Panels of one size side by side, a head above, room for legends below; in inches, so that all look the same."""

    def __init__(self, panels: int, aspect: float, foot: float) -> None:
        self.aspect = aspect
        self.panel_width = _PANEL if aspect <= 1.5 else _PANEL * 1.5 / aspect
        self.height = self.panel_width * aspect
        self.foot = foot
        self.size = (panels * (_PANEL + _GAP) - _GAP + 2 * _MARGIN, self.height + _TITLES + foot)
        self.figure = Figure(figsize=self.size)

    def draw(self, panels: Sequence[tuple[str, np.ndarray]]) -> list[Axes]:
        drawn = []
        for i, (title, pixels) in enumerate(panels):
            axes = self._axes(
                _MARGIN + i * (_PANEL + _GAP) + (_PANEL - self.panel_width) / 2,
                self.foot,
                self.panel_width,
                self.height,
            )
            axes.imshow(np.clip(pixels, 0, 1), aspect="auto")
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_linewidth(0.5)
                spine.set_color("#555555")
            axes.set_title(shortened(title, _PANEL, 15), fontsize=9, pad=3)
            drawn.append(axes)
        return drawn

    def head(self, name: str, scores: str) -> None:
        width, height = self.size
        place = _MARGIN / width
        self.figure.text(place, 1 - 0.07 / height, shortened(name, width, 11), va="top", fontsize=10, fontweight="bold")
        self.figure.text(place, 1 - 0.27 / height, scores, va="top", fontsize=9, color="#333333")

    def bar(self, scale: ScalarMappable, panels: tuple[int, int], extend: str) -> None:
        first, last = panels
        left = _MARGIN + first * (_PANEL + _GAP)
        width = (last - first + 1) * (_PANEL + _GAP) - _GAP
        axes = self._axes(left + 0.15 * width, self.foot - 0.2, 0.7 * width, 0.1)
        bar = self.figure.colorbar(scale, cax=axes, orientation="horizontal", extend=extend)
        bar.ax.tick_params(labelsize=7, pad=1.5, length=2)
        bar.locator = mpl.ticker.MaxNLocator(5)
        bar.outline.set_linewidth(0.4)

    def _axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        whole_width, whole_height = self.size
        return self.figure.add_axes(
            (left / whole_width, bottom / whole_height, width / whole_width, height / whole_height)
        )
