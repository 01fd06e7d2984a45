"""AnySat's three outputs of one tile."""

from __future__ import annotations

import numpy as np
from style import bare, grid, panels, save

SIDE, PIXEL, PATCH = 24, 10, 40


def main() -> None:
    """Draw the cells of each output on the same ground."""
    figure, axes = panels(3, 8.4, 3.4)
    patches = SIDE * PIXEL // PATCH
    rng = np.random.default_rng(4)
    coarse = rng.random((patches, patches))
    fine = np.kron(coarse, np.ones((SIDE // patches,) * 2)) * 0.7 + 0.3 * rng.random((SIDE, SIDE))
    for one, values, name, width in zip(
        axes,
        (coarse, fine, np.full((1, 1), coarse.mean())),
        ("patch", "dense", "tile"),
        ("D", "2 D", "D"),
        strict=True,
    ):
        grid(one, len(values), values, SIDE * PIXEL)
        one.collections[0].set(cmap="cividis", clim=(0, 1))
        bare(one, f'output="{name}"')
        one.set_xlabel(f"{len(values)} x {len(values)} cells of {SIDE * PIXEL // len(values)} m\n{width} numbers each")
    save(figure, "patches_and_outputs.png")


if __name__ == "__main__":
    main()
