"""Real optical images: Sentinel-2 L1C and L2A, and Landsat 7, in true colour."""

from __future__ import annotations

import numpy as np
from real_tiles import flanders, olinda, slovenia, stretched
from style import bare, panels, save, scale_bar


def main() -> None:
    """Draw three panels."""
    composite = np.stack([flanders(f"S2-L2A-{band}") for band in ("B04", "B03", "B02")])
    shown = (
        ("Sentinel-2 L1C, Slovenia", slovenia()[[2, 1, 0]], 10, 200),
        ("Sentinel-2 L2A composite, Flanders", composite, 10, 200),
        ("Landsat 7, Olinda", olinda(), 28.5, 2000),
    )
    figure, axes = panels(3, 7.8, 3)
    for one, (title, planes, pixel, length) in zip(axes, shown, strict=True):
        one.imshow(stretched(planes))
        bare(one, title)
        scale_bar(one, pixel, length, planes.shape[1:])
    save(figure, "gallery_optical.png", 72)


if __name__ == "__main__":
    main()
