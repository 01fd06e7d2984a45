"""Panels that `eo_finetune.PredictionPanels` drew in the quick start: run the README's first command before."""

from __future__ import annotations

from PIL import Image
from style import IMAGES, ROOT

PANELS = ROOT / "output" / "quickstart" / "panels"
#: Parts of the names of two test chips: an easy one, and one with clouds and pixels that were not seen.
NAMES = ("Spain_SYN02", "USA_SYN16")
WIDTH = 1150


def main() -> None:
    """Put two panels one above the other."""
    pictures = []
    for name in NAMES:
        (path,) = PANELS.glob(f"*{name}*.png")
        picture = Image.open(path).convert("RGB")
        pictures.append(
            picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
        )
    sheet = Image.new("RGB", (WIDTH, sum(picture.height for picture in pictures)), "white")
    top = 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height
    # By this method the few pixels of a legend keep their colours.
    reduced = sheet.quantize(200, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    reduced.save(IMAGES / "gallery_panels.png", optimize=True)


if __name__ == "__main__":
    main()
