"""Where pixels are missing in a chip of the sample, and how much of each cell was observed."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import ListedColormap
from style import BLUE, VERMILION, bare, chip, panels, rgb, save

NAME, PATCH = "USA_SYN16", 8


def main() -> None:
    """Draw image, mask and share by cell."""
    numbers = chip(NAME)
    valid = (numbers != 0).any(axis=0)
    cells = valid.reshape(valid.shape[0] // PATCH, PATCH, valid.shape[1] // PATCH, PATCH).mean(axis=(1, 3))
    figure, (image, mask, share) = panels(3, 8.4, 3.1)
    image.imshow(rgb(numbers, 2200))
    bare(image, "what the file holds (0 = missing)")
    mask.imshow(valid, cmap=ListedColormap([VERMILION, BLUE]), vmin=0, vmax=1)
    bare(mask, "valid")
    mask.set_xlabel("missing pixels become the band's mean\nafter normalisation, and stay marked")
    drawn = share.imshow(np.where(cells > 0, cells, np.nan), cmap="cividis", vmin=0, vmax=1)
    share.set_facecolor(VERMILION)
    bare(share, f"observed share of each cell of {PATCH} px")
    share.set_xlabel("red: no pixel at all,\nthe cell is no-data")
    figure.colorbar(drawn, ax=share, shrink=0.75)
    save(figure, "missing_pixels.png")


if __name__ == "__main__":
    main()
