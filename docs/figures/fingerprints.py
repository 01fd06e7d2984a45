"""What a second run into the same folder does."""

from __future__ import annotations

from style import BLUE, GREEN, ORANGE, VERMILION, arrow, bare, box, panels, save


def main() -> None:
    """Draw the question and its answers."""
    figure, (axes,) = panels(1, 8.4, 3.4)
    bare(axes)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    box(
        axes,
        (0.13, 0.5),
        "weights, bands, units,\nstatistics, geometry,\noutputs of the export\n= one fingerprint",
        BLUE,
    )
    box(axes, (0.45, 0.5), "the folder holds\nan export of ...", BLUE)
    answers = (
        (0.88, "the same fingerprint and files:\ngo on with what is missing", GREEN),
        (0.5, "the same fingerprint, other files:\nmake these samples again", ORANGE),
        (0.12, "another fingerprint:\nrefuse, and show the difference", VERMILION),
    )
    arrow(axes, (0.28, 0.5), (0.35, 0.5))
    for level, text, colour in answers:
        box(axes, (0.81, level), text, colour)
        arrow(axes, (0.55, 0.5), (0.635, level), colour)
    save(figure, "fingerprints.svg")


if __name__ == "__main__":
    main()
