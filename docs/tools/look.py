"""Looks at the built site in headless Chromium, from the file system: without a server, as somebody who unpacked it.

python docs/tools/look.py SITE                   # search, requests, widths, words of pictures, contrast of text
python docs/tools/look.py SITE --screens FOLDER  # also writes five pages, wide and narrow, to look at
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from playwright.sync_api import TimeoutError as NoAnswer

#: What is typed, and a page that must be among the answers.
SEARCHED = ("halo", "large/tiles.html")
SCREENS = (
    "index.html",
    "start/five_minutes.html",
    "howto/chips.html",
    "recipes/sen1floods11_thor_S1.html",
    "notebooks/05_probe.html",
)
#: Further pages with text in other colours.
CODE = ("cli.html", "start/install.html", "reference/api/eo_embed.html", "reference/errors/files.html")
WIDTHS = {"wide": 1440, "narrow": 390}
SCHEMES = ("light", "dark")
#: A table or a line of code may scroll inside a page, the page itself may not.
_TOO_WIDE = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"

#: Texts whose colour is too near to that behind them, by WCAG 2: below 4.5, or 3 where letters are large.
_PALE = """() => {
  const channel = value => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b)
  const colour = text => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a] }
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3]))
  const behind = element => {
    const layers = []
    for (; element; element = element.parentElement) layers.push(colour(getComputedStyle(element).backgroundColor))
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255])
  }
  const found = new Map()
  const texts = document.createTreeWalker(document.querySelector(".md-content"), NodeFilter.SHOW_TEXT)
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement, style = getComputedStyle(element)
    const place = element.getBoundingClientRect(), text = texts.currentNode.textContent.trim()
    if (!text || !place.width || !place.height || style.visibility === "hidden" || style.opacity === "0") continue
    const ground = behind(element), both = [luminance(over(colour(style.color), ground)), luminance(ground)]
    const contrast = (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05)
    if (contrast < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5))
      found.set(style.color, `${style.color} has a contrast of ${contrast.toFixed(2)}: ${text.slice(0, 40)}`)
  }
  return [...found.values()]
}"""


def faults_of_pictures(site: Path) -> list[str]:
    """Return pictures without words for those who do not see them; logos of the theme are none."""
    found = []
    for file in sorted(site.rglob("*.html")):
        for tag in re.findall(r"<img\b[^>]*>", file.read_text(encoding="utf-8")):
            words = re.search(r'\balt="([^"]*)"', tag)
            if words is None or len(words[1]) < 10:
                found.append(f"{file.relative_to(site)}: {tag[:100]} has no words")
    return found


def faults_of_search(page: Page, site: Path) -> list[str]:
    """Return what is wrong with the search from ``file://``."""
    text, expected = SEARCHED
    page.goto((site / "start" / "install.html").as_uri())
    try:
        page.locator("input.md-search__input").click(timeout=20_000)
        page.keyboard.type(text, delay=30)
        page.wait_for_selector(".md-search-result__item a", timeout=20_000)
    except NoAnswer as error:
        return [f"the search for {text!r} gives nothing from file://: {error}"]
    links = page.eval_on_selector_all(".md-search-result__item a", "found => found.map(link => link.href)")
    return [] if any(expected in link for link in links) else [f"the search for {text!r} finds no {expected}: {links}"]


def main(arguments: list[str]) -> None:
    """Look, and end with what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site", type=Path)
    parser.add_argument("--screens", type=Path)
    given = parser.parse_args(arguments)
    site = given.site.resolve()
    faults, asked = faults_of_pictures(site), set[str]()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, width in WIDTHS.items():
            page = browser.new_page(viewport={"width": width, "height": 900})
            page.on("request", lambda request: asked.add(request.url))
            for uri in SCREENS:
                page.goto((site / uri).as_uri())
                if (over := page.evaluate(_TOO_WIDE)) > 0:
                    faults.append(f"{uri} is {over} pixels wider than a window of {width}")
                if given.screens:
                    given.screens.mkdir(parents=True, exist_ok=True)
                    page.screenshot(path=given.screens / f"{Path(uri).stem}_{name}.png")
            if name == "wide":
                faults += faults_of_search(page, site)
            page.close()
        for scheme in SCHEMES:
            page = browser.new_page(color_scheme=scheme)
            for uri in (*SCREENS, *CODE):
                page.goto((site / uri).as_uri())
                faults += [f"{uri}, {scheme}: {text}" for text in page.evaluate(_PALE)]
            page.close()
        browser.close()
    faults += [f"a page asks {url}" for url in sorted(asked) if not url.startswith(("file:", "data:", "blob:"))]
    if faults:
        sys.exit("\n".join(faults))
    print(f"looked at {len(SCREENS)} pages in {len(WIDTHS)} widths, and searched, from {site.as_uri()}")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
