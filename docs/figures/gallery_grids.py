"""Grids of two encoders for three patch sizes over one real scene, by their principal components. Random weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from real_tiles import BANDS, DAYS, SIDE, slovenia, stretched
from style import bare, components, panels, save, scale_bar

from eo_embed import embed

STATED: dict[str, Any] = {
    "bands": BANDS,
    "sensor": "sentinel2_l1c",
    "unit": "reflectance",
    "pixel_size": 10,
    "pretrained": False,
}


def thor(patch: int) -> np.ndarray:
    """THOR tiny, one date, patches in pixels."""
    return embed("thor_v1_tiny", slovenia(), patch_size=patch, **STATED).grid.to_numpy()


def anysat(patch: int) -> np.ndarray:
    """AnySat tiny, four dates, patches in metres."""
    series = np.stack([slovenia(day) for day in DAYS])
    return embed("anysat_tiny", series, dates=DAYS, image_size=None, patch_size=patch, **STATED).grid.to_numpy()


def main() -> None:
    """Draw a row for each encoder."""
    figure, axes = panels(4, 9.6, 5.1, rows=2)
    rows = (("THOR tiny, one date", thor, (16, 8, 4), 10), ("AnySat tiny, four dates", anysat, (160, 80, 40), 1))
    for row, (name, encode, sizes, metres), bands in zip(axes, rows, ([2, 1, 0], [6, 2, 1]), strict=True):
        row[0].imshow(stretched(slovenia()[bands]))
        bare(row[0], "true colour" if bands[0] == 2 else "near infrared, red, green")
        scale_bar(row[0], 10, 200, (SIDE, SIDE))
        for one, size in zip(row[1:], sizes, strict=True):
            grid = encode(size)
            one.imshow(components(grid), interpolation="nearest")
            bare(one, f"{name}\npatches of {size * metres} m: {grid.shape[1]} x {grid.shape[2]}")
            scale_bar(one, size * metres, 200, grid.shape[1:])
    save(figure, "gallery_grids.png", 250)


if __name__ == "__main__":
    main()
