"""Colours of classes and errors."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.typing import ColorType

#: Two classes: the first is the ground, the second what is looked for.
_TWO = ("#e6dfcf", "#2171b5")
#: Up to nine: Paul Tol's muted scheme, which the colour blind tell apart.
_NINE = ("#CC6677", "#332288", "#DDCC77", "#117733", "#88CCEE", "#882255", "#44AA99", "#999933", "#AA4499")
#: More classes, for which no scheme does that: those of tab20 that are not grey, which means "no label".
_TWENTY = [colour for i, colour in enumerate(mpl.colormaps["tab20"].colors) if i not in (14, 15)]  # type: ignore[attr-defined]
#: Errors. They differ in lightness too, so that the colour blind tell them apart, and no class has their colours.
TRUE_NEGATIVE, TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE = "#eef1f4", "#9cc3e0", "#a50f15", "#f5a623"
CORRECT, WRONG = "#dfe7ee", "#1a1a1a"
#: Frame and text of a wrong scene, which are thick and bold as well.
MARK = "#a50f15"
#: Stripes of pixels without a label.
NO_LABEL = ("#b4b4b4", "#d8d8d8")


def class_colours(count: int) -> np.ndarray:
    """Return one colour per class, float ``(count, 3)``; none of them is grey."""
    if count <= 2:
        colours: Sequence[ColorType] = _TWO
    elif count <= len(_NINE):
        colours = _NINE
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
    return striped(shown, ignored)


def striped(colours: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """Return colours ``(H, W, 3)`` with diagonal grey stripes over the pixels that have no label."""
    height, width = ignored.shape
    period = max(2, max(height, width) // 40)
    rows, columns = np.ogrid[:height, :width]
    dark = ((rows + columns) // max(1, period // 2)) % 2 == 0
    stripes = np.where(dark[..., None], to_rgb(NO_LABEL[0]), to_rgb(NO_LABEL[1]))
    return np.where(ignored[..., None], stripes, colours)
