"""Panels side by side; all measures are in inches, so that every picture has panels and letters of one size."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Patch

#: Side of a panel, room between two of them, and room around all.
PANEL, GAP, MARGIN = 2.7, 0.12, 0.1
#: Room for name, scores and titles above the panels.
_TITLES = 0.7


def shortened(text: str, width: float, per_inch: float) -> str:
    """Shorten a text to ``width`` inches; the end of a path tells samples apart, so that stays."""
    most = int(width * per_inch)
    return text if len(text) <= most else f"...{text[3 - most :]}"


class Row:
    """Panels of one size side by side, a head above, room for legends or colour bars below.

    Parameters
    ----------
    panels : int
        Number of panels.
    aspect : float
        Height of a panel by its width.
    foot : float
        Room below the panels in inches.
    """

    def __init__(self, panels: int, aspect: float, foot: float) -> None:
        self.aspect = aspect
        self.panel_width = PANEL if aspect <= 1.5 else PANEL * 1.5 / aspect
        self.height = self.panel_width * aspect
        self.foot = foot
        self.size = (panels * (PANEL + GAP) - GAP + 2 * MARGIN, self.height + _TITLES + foot)
        self.figure = Figure(figsize=self.size)

    def draw(self, panels: Sequence[tuple[str, np.ndarray]]) -> list[Axes]:
        """Draw titles and pictures ``(h, w, 3)`` in 0..1; return the axes."""
        drawn = []
        for i, (title, pixels) in enumerate(panels):
            axes = self._axes(
                MARGIN + i * (PANEL + GAP) + (PANEL - self.panel_width) / 2,
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
            axes.set_title(shortened(title, PANEL, 15), fontsize=9, pad=3)
            drawn.append(axes)
        return drawn

    def head(self, name: str, scores: str) -> None:
        """Write the name of the sample and its scores above the panels."""
        width, height = self.size
        place = MARGIN / width
        self.figure.text(place, 1 - 0.07 / height, shortened(name, width, 11), va="top", fontsize=10, fontweight="bold")
        self.figure.text(place, 1 - 0.27 / height, scores, va="top", fontsize=9, color="#333333")

    def bar(self, scale: ScalarMappable, panels: tuple[int, int], extend: str) -> None:
        """Draw a colour bar below the first to the last of two panels; ``extend`` as for matplotlib's ``colorbar``."""
        first, last = panels
        left = MARGIN + first * (PANEL + GAP)
        width = (last - first + 1) * (PANEL + GAP) - GAP
        axes = self._axes(left + 0.15 * width, self.foot - 0.2, 0.7 * width, 0.1)
        bar = self.figure.colorbar(scale, cax=axes, orientation="horizontal", extend=extend)
        bar.ax.tick_params(labelsize=7, pad=1.5, length=2)
        bar.locator = mpl.ticker.MaxNLocator(5)
        bar.outline.set_linewidth(0.4)

    def legend(self, axes: Axes, patches: Sequence[Patch], columns: int, panels: int) -> None:
        """Draw a legend below ``panels`` panels, of which ``axes`` is the first."""
        middle = (panels + (panels - 1) * GAP / PANEL) / 2
        axes.legend(
            handles=list(patches),
            ncols=columns,
            bbox_to_anchor=(middle, -0.06 / self.height),
            loc="upper center",
            frameon=False,
            fontsize=8,
            handlelength=1.2,
            handleheight=0.9,
            columnspacing=1.0,
            borderaxespad=0,
            handletextpad=0.5,
            labelspacing=0.35,
        )

    def _axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        whole_width, whole_height = self.size
        return self.figure.add_axes(
            (left / whole_width, bottom / whole_height, width / whole_width, height / whole_height)
        )
