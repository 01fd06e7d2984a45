"""From the tokens of two groups of bands to a grid and to a vector."""

from __future__ import annotations

from style import BLUE, GREEN, ORANGE, PURPLE, arrow, bare, box, panels, save


def main() -> None:
    """Draw both ways."""
    figure, (axes,) = panels(1, 8.4, 3.2)
    bare(axes)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    box(axes, (0.12, 0.8), "10 m bands\n16 x 16 tokens", BLUE)
    box(axes, (0.12, 0.25), "20 m bands\n8 x 8 tokens", ORANGE)
    box(axes, (0.47, 0.8), "both on 16 x 16 cells,\nmerged (group_merge)", GREEN)
    box(axes, (0.47, 0.25), "mean over all\n16 x 16 + 8 x 8 tokens", PURPLE)
    box(axes, (0.85, 0.8), "grid\n(d, 16, 16), on the map", GREEN)
    box(axes, (0.85, 0.25), "vector\n(d,), one for the image", PURPLE)
    for start, end, colour in (
        ((0.22, 0.8), (0.32, 0.8), BLUE),
        ((0.22, 0.32), (0.33, 0.7), ORANGE),
        ((0.22, 0.73), (0.33, 0.36), BLUE),
        ((0.22, 0.25), (0.31, 0.25), ORANGE),
        ((0.62, 0.8), (0.72, 0.8), GREEN),
        ((0.63, 0.25), (0.74, 0.25), PURPLE),
    ):
        arrow(axes, start, end, colour)
    save(figure, "grids_and_vectors.svg")


if __name__ == "__main__":
    main()
