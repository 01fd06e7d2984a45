"""How all figures look, and where they go: SVG without text that depends on fonts, or PNG."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import rasterio
from PIL import Image

mpl.use("Agg")

import matplotlib.pyplot as plt

from eo_embed.pictures.projection import fit_projection

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
CHIPS = ROOT / "datasets" / "sample" / "v1.1" / "data" / "flood_events" / "HandLabeled"
#: Okabe and Ito's colours, which colour-blind readers tell apart.
BLUE, ORANGE, GREEN, SKY, YELLOW, VERMILION, PURPLE = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#56B4E9",
    "#F0E442",
    "#D55E00",
    "#CC79A7",
)
GREY, LIGHT, DARK = "#999999", "#E8E8E8", "#333333"


def panels(columns: int, width: float, height: float, rows: int = 1, **more: Any) -> tuple[Any, np.ndarray]:  # noqa: ANN401
    """Return a figure in inches and its axes, one in each cell."""
    plt.rcParams.update({"font.size": 10, "svg.hashsalt": "figures", "svg.fonttype": "path", "axes.titlesize": 10})
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), layout="constrained", **more)
    figure.get_layout_engine().set(h_pad=0.08)
    return figure, np.atleast_1d(axes)


def bare(axes: Any, title: str = "") -> None:  # noqa: ANN401
    """Take ticks and frame away."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title:
        axes.set_title(title)


def grid(axes: Any, cells: int, colours: Any, side: float = 1.0) -> None:  # noqa: ANN401
    """Draw a square of cells, row 0 on top."""
    step = side / cells
    axes.pcolormesh(
        np.arange(cells + 1) * step, np.arange(cells + 1) * step, colours, edgecolors="white", linewidth=0.6
    )
    axes.set_aspect("equal")
    axes.set_xlim(-0.02 * side, 1.02 * side)
    axes.set_ylim(1.02 * side, -0.02 * side)


def box(axes: Any, place: Sequence[float], text: str, colour: str, size: float = 10) -> None:  # noqa: ANN401
    """Draw a text in a box around its middle."""
    look = {"boxstyle": "round,pad=0.45", "facecolor": "white", "edgecolor": colour, "linewidth": 1.8}
    axes.text(*place, text, ha="center", va="center", fontsize=size, color=DARK, bbox=look)


def arrow(axes: Any, start: Sequence[float], end: Sequence[float], colour: str = DARK) -> None:  # noqa: ANN401
    """Draw an arrow."""
    axes.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.5})


def chip(name: str, kind: str = "S2Hand") -> np.ndarray:
    """Return the numbers of a chip of the embedded sample as float32, ``(band, row, column)``."""
    with rasterio.open(CHIPS / kind / f"{name}_{kind}.tif") as file:
        return file.read().astype(np.float32)


def rgb(numbers: np.ndarray, brightest: float = 2800) -> np.ndarray:
    """Return red, green and blue of Sentinel-2's digital numbers, 0..1, ``(row, column, 3)``."""
    return np.clip(numbers[[3, 2, 1]] / brightest, 0, 1).transpose(1, 2, 0)


def save(figure: Any, name: str, colours: int = 160) -> None:  # noqa: ANN401
    """Write a figure to the folder of images."""
    if name.endswith(".svg"):
        figure.savefig(IMAGES / name, metadata={"Date": None}, bbox_inches="tight", pad_inches=0.06)
    else:
        drawn = BytesIO()
        figure.savefig(drawn, dpi=130, bbox_inches="tight", pad_inches=0.06)
        Image.open(drawn).convert("RGB").quantize(colours, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)
    plt.close(figure)


def components(grid: np.ndarray) -> np.ndarray:
    """Return the first three principal components of a grid ``(d, y, x)`` as colours, ``(y, x, 4)``."""
    cells = grid.reshape(len(grid), -1).T
    return fit_projection(cells[np.isfinite(cells).all(axis=1)]).colours(grid).transpose(1, 2, 0)


def scale_bar(axes: Any, pixel: float, length: float, side: Sequence[int]) -> None:  # noqa: ANN401
    """Draw a bar of ``length`` metres into the lower left corner of a picture of pixels of ``pixel`` metres."""
    height, width = side
    axes.set_autoscale_on(False)
    left, bottom = 0.05 * width - 0.5, 0.94 * height - 0.5  # the middle of the first pixel is 0
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    look = {"facecolor": "black", "alpha": 0.55, "linewidth": 0}
    axes.add_patch(
        plt.Rectangle((left - 0.02 * width, 0.84 * height - 0.5), length / pixel + 0.04 * width, 0.14 * height, **look)
    )
    axes.plot([left, left + length / pixel], [bottom, bottom], color="white", lw=3, solid_capstyle="butt")
    axes.text(left, bottom - 0.02 * height, text, color="white", fontsize=9, va="bottom")
