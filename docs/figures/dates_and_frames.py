"""One series of acquisitions under the three frame policies."""

from __future__ import annotations

from datetime import date

import numpy as np
from style import BLUE, DARK, GREY, LIGHT, ORANGE, VERMILION, panels, save

from eo_data.temporal.frame_policy import FramePolicy
from eo_data.temporal.frames import bins

START, END = date(2022, 6, 1), date(2022, 9, 1)
DAYS = [date(2022, 6, 4), date(2022, 6, 9), date(2022, 6, 20), date(2022, 8, 3), date(2022, 8, 13), date(2022, 8, 28)]
WANTED = ["2022-06-15", "2022-08-15"]
PARTS = 4


def main() -> None:
    """Draw the acquisitions, and below them what each policy makes of them."""
    pixels = np.ones((len(DAYS), 1, 1, 1), np.float32)
    policies = {
        "mode: all": FramePolicy(),
        f"mode: composites\nframes: {PARTS}": FramePolicy("composites", frames=PARTS, start=START, end=END),
        "mode: nearest\ndates: 15 June, 15 August": FramePolicy("nearest", dates=WANTED),
    }
    figure, (axes,) = panels(1, 8.4, 3.3)
    axes.scatter(DAYS, [3] * len(DAYS), s=60, color=DARK, zorder=3)
    for first, last in bins(START, END, PARTS):
        axes.axvspan(first, last, ymin=0.31, ymax=0.5, color=LIGHT, ec="white", lw=2)
    for level, policy in zip((2, 1, 0), policies.values(), strict=True):
        made = policy.apply(pixels, DAYS, None)
        for day, seen in zip(made.dates, made.observed, strict=True):
            axes.scatter(
                day,
                level,
                s=110,
                marker="s",
                color=BLUE if seen else "white",
                ec=BLUE if seen else VERMILION,
                hatch=None if seen else "////",
                lw=1.5,
                zorder=3,
            )
    for wanted in WANTED:
        axes.scatter(date.fromisoformat(wanted), 0, marker="|", s=500, color=ORANGE, lw=2.5, zorder=2)
    for handle in (
        {"s": 60, "color": DARK, "label": "acquisition"},
        {"s": 90, "marker": "s", "color": BLUE, "label": "frame, at its date"},
        {"s": 90, "marker": "s", "color": "white", "ec": VERMILION, "hatch": "////", "label": "masked frame"},
        {"s": 200, "marker": "|", "color": ORANGE, "lw": 2.5, "label": "wanted date"},
    ):
        axes.scatter([], [], **handle)
    axes.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.45, -0.12), frameon=False, fontsize=9)
    axes.set_yticks([3, 2, 1, 0], ["acquisitions", *policies])
    axes.set(ylim=(-0.6, 3.5), xlim=(date(2022, 5, 29), END))
    axes.set_xticks(
        [date(2022, 6, 1), date(2022, 7, 1), date(2022, 8, 1), END], ["1 June", "1 July", "1 August", "1 Sept."]
    )
    axes.grid(axis="x", color=GREY, alpha=0.4)
    axes.spines[["left", "right", "top"]].set_visible(False)
    save(figure, "dates_and_frames.svg")


if __name__ == "__main__":
    main()
