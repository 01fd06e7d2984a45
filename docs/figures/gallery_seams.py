"""The seams of tiles with and without a halo, over a real scene, against the scene in one piece. Random weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from real_tiles import BANDS, SIDE, slovenia, stretched
from style import bare, panels, save, scale_bar

from eo_embed import embed
from eo_embed.pictures.projection import fit_projection

TILE, HALO, PATCH = 48, 16, 4


def encode(**tiles: int) -> np.ndarray:
    """The grid of THOR tiny, ``(D, 24, 24)``."""
    stated: dict[str, Any] = {"bands": BANDS, "sensor": "sentinel2_l1c", "unit": "reflectance", "pixel_size": 10}
    stated["transform"] = (10, 0, 0, 0, -10, 0)
    return embed("thor_v1_tiny", slovenia(), patch_size=PATCH, pretrained=False, **stated, **tiles).grid.to_numpy()


def distances(tiled: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """One minus the cosine of each cell, less the mean of the scene in one piece, ``(y, x)``."""
    mean = whole.mean(axis=(1, 2), keepdims=True)
    one, other = tiled - mean, whole - mean
    return 1 - (one * other).sum(axis=0) / (np.linalg.norm(one, axis=0) * np.linalg.norm(other, axis=0))


def main() -> None:
    """Draw the grids above, their distance from the one in one piece below."""
    whole = encode()
    tiled = {"side by side": encode(tile=TILE, halo=0), f"halo of {HALO} px": encode(tile=TILE, halo=HALO)}
    far = {name: distances(grid, whole) for name, grid in tiled.items()}
    figure, axes = panels(3, 7.8, 5.4, rows=2)
    shown = fit_projection(whole.reshape(len(whole), -1).T)
    for one, (name, grid) in zip(axes[0], {"in one piece": whole, **tiled}.items(), strict=True):
        one.imshow(shown.colours(grid).transpose(1, 2, 0), interpolation="nearest")
        bare(one, name if grid is whole else f"tiles of {TILE} px, {name}")
        scale_bar(one, 10 * PATCH, 200, grid.shape[1:])
    axes[1, 0].imshow(stretched(slovenia()[[2, 1, 0]]))
    bare(axes[1, 0], "Sentinel-2, true colour")
    scale_bar(axes[1, 0], 10, 200, (SIDE, SIDE))
    most = max(float(np.percentile(own, 99)) for own in far.values())
    for one, (name, own) in zip(axes[1, 1:], far.items(), strict=True):
        drawn = one.imshow(own, cmap="cividis", vmin=0, vmax=most)
        bare(one, f"distance, {name}\nmedian {np.median(own):.4f}")
    figure.colorbar(drawn, ax=axes[1, 1:], shrink=0.8, label="1 - cosine")
    save(figure, "gallery_seams.png", 250)


if __name__ == "__main__":
    main()
