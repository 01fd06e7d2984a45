"""Real Sentinel-1 backscatter in decibel, as THOR and AnySat read it."""

from __future__ import annotations

import numpy as np
import rasterio
from real_tiles import DATA, flanders
from style import bare, panels, save, scale_bar


def main() -> None:
    """Draw one polarisation of a scene, and both of a monthly composite."""
    (path,) = (DATA / "s1_pyrosar").glob("*.tif")
    with rasterio.open(path) as file:
        scene = file.read(1, masked=True).astype(float).filled(np.nan)[20:180, 60:220]
    vv, vh = (20 * np.log10(flanders(f"S1-SIGMA0-{name}")) - 83 for name in ("VV", "VH"))
    shown = (("VV, one pass", scene, 20, 1000), ("VV, a month", vv, 10, 200), ("VH, the same month", vh, 10, 200))
    figure, axes = panels(3, 7.6, 3.1)
    for one, (title, decibel, pixel, length) in zip(axes, shown, strict=True):
        low, high = np.nanpercentile(decibel, [2, 98])
        drawn = one.imshow(decibel, cmap="gray", vmin=low, vmax=high)
        bare(one, title)
        scale_bar(one, pixel, length, decibel.shape)
        figure.colorbar(drawn, ax=one, location="bottom", shrink=0.8, label="dB")
    save(figure, "gallery_radar.png", 24)


if __name__ == "__main__":
    main()
