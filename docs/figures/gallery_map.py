"""The HTML map of an export, in a browser: run ``docs/tools/notebooks.py --execute 04_similar_places`` before."""

from __future__ import annotations

import shutil
from io import BytesIO

from PIL import Image
from playwright.sync_api import sync_playwright
from style import IMAGES, ROOT

PAGE = ROOT / "output" / "notebooks" / "places" / "export" / "map.html"


def main() -> None:
    """Open the page without a window, choose a place, and keep what is seen."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 640})
        page.goto(PAGE.as_uri())
        page.wait_for_function("view.width > 0")
        box = page.locator("#canvas").bounding_box()
        x, y = page.evaluate(
            "name => { const s = view.shapes[content.ids.indexOf(name)]; return view.toScreen(s.x, s.y); }", "r03c08"
        )
        page.mouse.click(box["x"] + x, box["y"] + y)
        page.wait_for_timeout(500)
        seen = page.screenshot()
        browser.close()
    picture = Image.open(BytesIO(seen)).convert("RGB")
    picture.quantize(128, dither=Image.Dither.NONE).save(IMAGES / "gallery_map.png", optimize=True)


if __name__ == "__main__":
    main()
