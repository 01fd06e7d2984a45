"""Sentinel-2's bands by wavelength and reader, and one number on its way to an encoder."""

from __future__ import annotations

from style import BLUE, GREY, ORANGE, VERMILION, arrow, bare, box, chip, panels, save

from eo_data.sensors.tables import SENTINEL2
from thor_terratorch_ext.statistics import statistics_for

#: Red of the sample's chip Spain_SYN01 at row 40, column 40.
RED, ROW, COLUMN = 3, 40, 40
ON_REQUEST, BY_NONE = ("COASTAL_AEROSOL", "WATER_VAPOR"), ("CIRRUS",)


def main() -> None:
    """Draw both panels."""
    figure, (above, below) = panels(1, 8.4, 4.2, rows=2, height_ratios=(1.3, 1))
    for level, band in enumerate(SENTINEL2.bands):
        colour = ORANGE if band.name in ON_REQUEST else GREY if band.name in BY_NONE else BLUE
        above.bar(band.wavelength_nm, 1, width=22, color=colour)
        above.text(band.wavelength_nm, 1.06 + 0.2 * (level % 3), band.aliases[0], ha="center", fontsize=8)
    for colour, text in ((BLUE, "THOR and AnySat"), (ORANGE, "THOR, on request"), (GREY, "neither")):
        above.bar(0, 0, color=colour, label=text)
    above.legend(loc="center", bbox_to_anchor=(0.82, 0.4), frameon=False, fontsize=9)
    above.set(xlim=(400, 2300), ylim=(0, 1.75), yticks=[], xlabel="wavelength in nm")
    above.set_title("Bands of Sentinel-2, by name: which encoder reads them", loc="left")
    above.spines[["left", "right", "top"]].set_visible(False)

    number = float(chip("Spain_SYN01")[RED, ROW, COLUMN])
    (red,) = statistics_for(["RED"])
    steps = (
        (f"digital number\n{number:.0f}", VERMILION),
        (f"reflectance\n(number + offset) x 0.0001\n= {number / 1e4:.4f}", BLUE),
        (
            f"input of THOR\n(reflectance - {red.mean:.3f}) / {red.std:.3f}\n"
            f"= {(number / 1e4 - red.mean) / red.std:.3f}",
            BLUE,
        ),
    )
    bare(below)
    below.set(xlim=(0, 1), ylim=(0, 1))
    for place, (text, colour) in zip((0.1, 0.42, 0.82), steps, strict=True):
        box(below, (place, 0.45), text, colour)
    arrow(below, (0.2, 0.45), (0.27, 0.45))
    arrow(below, (0.57, 0.45), (0.63, 0.45))
    below.set_title("One number of the sample (red, no offset): stated, converted once, normalised", loc="left")
    save(figure, "bands_and_units.svg")


if __name__ == "__main__":
    main()
