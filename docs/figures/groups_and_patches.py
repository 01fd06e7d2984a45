"""THOR's tokens of one image: each group of bands has its own grid."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import ListedColormap
from style import BLUE, GREEN, ORANGE, bare, grid, panels, save

from thor_terratorch_ext.model.channels import select_bands
from thor_terratorch_ext.model.layout import resolve_layout

BANDS = ["BLUE", "GREEN", "RED", "NIR_BROAD", "RED_EDGE_1", "SWIR_1", "VV", "VH"]
COVER = 640
NAMES = {0: "10 m bands", 1: "20 m bands", 3: "radar, VV and VH"}
COLOURS = {0: BLUE, 1: ORANGE, 3: GREEN}


def main() -> None:
    """Draw a row for each patch size, a column for each group."""
    figure, axes = panels(3, 7.6, 5.6, rows=2)
    for row, patch in zip(axes, (8, 4), strict=True):
        layout = resolve_layout(select_bands(BANDS), COVER, [patch])
        for one, group in zip(row, layout.groups, strict=True):
            grid(one, group.grid_size, np.ones((group.grid_size,) * 2), COVER)
            one.collections[0].set(cmap=ListedColormap([COLOURS[group.index]]), alpha=0.85)
            bare(one, NAMES[group.index] if patch == 8 else "")
            one.set_xlabel(f"{group.grid_size} x {group.grid_size} tokens of {group.footprint} m")
        row[0].set_ylabel(f"patch size {patch} px\n{layout.n_tokens} tokens")
    save(figure, "groups_and_patches.png")


if __name__ == "__main__":
    main()
