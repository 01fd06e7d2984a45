"""The picture of the README: a chip of the sample, its embeddings, the predicted map and the label.

Run the README's first command before: encoder and map are those of the quick start.
"""

from __future__ import annotations

import numpy as np
import rasterio
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from style import BLUE, CHIPS, GREY, ROOT, YELLOW, bare, chip, panels, rgb, save

from eo_embed import embed

NAME = "Spain_SYN02"  # of the test split
RUN = ROOT / "output" / "quickstart"


def main() -> None:
    """Draw the four panels."""
    e = embed(
        "thor_v1_tiny",
        CHIPS / "S2Hand" / f"{NAME}_S2Hand.tif",
        offset=0,
        patch_size=8,
        ckpt=RUN / "last.ckpt",
        pretrained=False,
    )
    with rasterio.open(RUN / "maps" / f"{NAME}_S2Hand_pred.tif") as file:
        predicted = file.read(1)
        crs, transform = file.crs, file.transform
    label = chip(NAME, "LabelHand")[0]
    colours = ListedColormap([GREY, YELLOW, BLUE])
    figure, axes = panels(4, 10, 3.1)
    for one, image, title in zip(
        axes,
        (rgb(chip(NAME)), components(e.grid.to_numpy()), predicted, label),
        ("Sentinel-2 (synthetic)", "embeddings of THOR tiny", "predicted map", "label"),
        strict=True,
    ):
        one.imshow(image, **({} if image.ndim == 3 else {"cmap": colours, "vmin": -1, "vmax": 1}))
        bare(one, title)
    latitude = np.radians(transform.f) if crs.is_geographic else 0.0
    metres = transform.a * (111_320 * np.cos(latitude) if crs.is_geographic else 1)
    axes[0].plot([6, 6 + 300 / metres], [121, 121], color="white", lw=3)
    axes[0].text(6, 117, "300 m", color="white", fontsize=9)
    shown = ("not labelled", "land", "water") if (label < 0).any() else ("land", "water")
    legend = [Patch(color=colours(i), label=text) for i, text in enumerate(shown, start=3 - len(shown))]
    figure.legend(handles=legend, loc="outside lower right", ncols=3, frameon=False, fontsize=9)
    save(figure, "overview.png")


def components(grid: np.ndarray) -> np.ndarray:
    """Return the first three principal components of a grid ``(d, y, x)`` as colours, ``(y, x, 3)``."""
    cells = grid.reshape(len(grid), -1).T
    cells = cells - cells.mean(axis=0)
    axes = np.linalg.svd(cells, full_matrices=False)[2][:3]
    axes *= np.sign(axes[np.arange(3), np.abs(axes).argmax(axis=1)])[:, None]
    shown = cells @ axes.T
    low, high = np.percentile(shown, [2, 98], axis=0)
    return np.clip((shown - low) / (high - low), 0, 1).reshape(*grid.shape[1:], 3)


if __name__ == "__main__":
    main()
