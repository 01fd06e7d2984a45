"""What THOR's rules make of a chip's size, and where the cells lie."""

from __future__ import annotations

from matplotlib.patches import Rectangle
from style import BLUE, DARK, LIGHT, ORANGE, VERMILION, bare, panels, save

from thor_terratorch_ext.geometry import SnapPolicy, plan_snap

GSDS, PATCH = (10, 20), 8


def draw(axes: object, side: int, title: str) -> None:
    """Draw a square chip, the pixels that the encoder gets, and its coarsest cells."""
    plan = plan_snap(side, side, 10, GSDS, SnapPolicy())
    kept = plan.final_hw[0]
    resampled = plan.resize is not None
    shown = side if resampled else kept
    corner = (side - shown) / 2
    axes.add_patch(Rectangle((0, 0), side, side, fc=LIGHT, ec=DARK, lw=1.5))
    axes.add_patch(Rectangle((corner, corner), shown, shown, fill=False, ec=BLUE, lw=2))
    cells = kept // (PATCH * 2)
    for i in range(1, cells):
        at = corner + shown * i / cells
        axes.plot([corner, corner + shown], [at, at], color=BLUE, lw=0.5)
        axes.plot([at, at], [corner, corner + shown], color=BLUE, lw=0.5)
    cell = shown / cells
    axes.add_patch(Rectangle((corner + cell, corner + cell), cell, cell, fc=ORANGE, ec=VERMILION, lw=1.5))
    low, high = min(0, corner), max(side, corner + shown)
    margin = 0.05 * side
    axes.set(xlim=(low - margin, high + margin), ylim=(high + margin, low - margin), aspect="equal")
    what = f"resampled to {kept} px" if resampled else f"{'cropped' if corner > 0 else 'padded'} to {kept} px"
    bare(axes, title)
    axes.set_xlabel(f"{what}, patches of {PATCH} px\na 20 m cell is {cell * 10:.0f} m wide")


def main() -> None:
    """Draw a crop, a pad and a resampled chip."""
    figure, axes = panels(3, 8.4, 3.5)
    for one, side in zip(axes, (150, 155, 512), strict=True):
        draw(one, side, f"a chip of {side} px")
    save(figure, "geometry.svg")


if __name__ == "__main__":
    main()
