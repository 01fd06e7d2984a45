"""The page works as it is shown: a place clicked, keys, fingers; nothing from an export is taken for HTML."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from affine import Affine
from placed_exports import placed, write_export

from eo_embed import Export, open_embeddings
from eo_embed.map.command import write_map
from eo_embed.map.page import Tiles, page

if TYPE_CHECKING:
    from playwright.sync_api import Page

Opened = Callable[..., "Page"]
SIDE, COLUMNS, ROWS = 8, 5, 4


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """20 chips in 4 rows, with grids of 8 x 8 cells, vectors that are no function of the place, and dates."""
    generator = np.random.default_rng(0)
    items = []
    for i in range(COLUMNS * ROWS):
        row, column = divmod(i, COLUMNS)
        vector = generator.normal(size=6).astype(np.float32)
        grid = vector[:, None, None] + generator.normal(size=(6, SIDE, SIDE)).astype(np.float32) / 10
        place = Affine(100, 0, 500_000 + 1000 * column, 0, -100, 5_000_000 - 1000 * row)
        days = tuple(date(2022, 6, 1) + timedelta(days=10 * k + i) for k in range(1 + i % 3))
        items.append(placed(f"row {row}/chip {column}", grid, place, pooled=vector, dates=days))
    return write_export(tmp_path_factory.mktemp("map") / "export", items)


@pytest.fixture(scope="module")
def path(export: Export) -> Path:
    return write_map(export.path, k=5)[0]


def centre(shown: Page, name: str) -> tuple[float, float]:
    """Return where an item's centre is in the window."""
    box = shown.locator("#canvas").bounding_box()
    assert box is not None
    x, y = shown.evaluate(
        "name => { const s = view.shapes[content.ids.indexOf(name)]; return view.toScreen(s.x, s.y); }", name
    )
    return box["x"] + x, box["y"] + y


def neighbours(export: Export, name: str) -> list[str]:
    return list(export.similar(name, 5)["id"])


def listed(shown: Page) -> list[str]:
    return [text.split("\n")[0] for text in shown.locator("#similar .id").all_inner_texts()]


def test_a_click_shows_the_place_and_its_neighbours_which_can_be_clicked_in_turn(
    export: Export, path: Path, opened: Opened
) -> None:
    shown = opened(path)
    assert shown.locator("#chosen").is_hidden()
    shown.mouse.click(*centre(shown, "row 2/chip 3"))
    assert shown.locator("#name").inner_text() == "row 2/chip 3"
    assert "2022-06-14 to 2022-06-24" in shown.locator("#facts").inner_text().replace("\u2011", "-")
    assert shown.locator("#figures img.cells").count() == 1
    assert listed(shown) == neighbours(export, "row 2/chip 3")
    scores = [float(text) for text in shown.locator("#similar .score").all_inner_texts()]
    np.testing.assert_allclose(scores, export.similar("row 2/chip 3", 5)["score"], atol=6e-4)
    second = neighbours(export, "row 2/chip 3")[1]
    shown.locator("#similar button").nth(1).click()
    assert shown.locator("#name").inner_text() == second
    assert listed(shown) == neighbours(export, second)
    assert shown.evaluate("document.activeElement.id") == "name"


def test_items_are_painted_where_they_are_and_in_their_colour(path: Path, opened: Opened) -> None:
    """The pixel at the longitude and latitude of a cell has the colour of that cell's pixel in the picture."""
    from pyproj import Transformer

    shown = opened(path)
    shown.wait_for_function("view.images.size === 20 && [...view.images.values()].every(one => one.complete)")
    shown.wait_for_timeout(100)
    to_lonlat = Transformer.from_crs(32633, 4326, always_xy=True)
    middle = shown.evaluate("middleLatitude(content.rings)")
    cells = ((0, 0, 1, 6), (2, 3, 5, 2), (3, 4, 7, 7))
    places = []
    for row, column, cell_row, cell_column in cells:
        x = 500_000 + 1000 * column + 100 * (cell_column + 0.5)
        y = 5_000_000 - 1000 * row - 100 * (cell_row + 0.5)
        lon, lat = to_lonlat.transform(x, y)
        places.append([lon * math.cos(math.radians(middle)), -lat, COLUMNS * row + column, cell_row, cell_column])
    painted, expected = shown.evaluate(
        """places => {
            const read = (canvas, x, y) => [...canvas.getContext("2d").getImageData(x, y, 1, 1).data];
            const copy = image => {
                const made = document.createElement("canvas");
                made.width = image.naturalWidth || image.width; made.height = image.naturalHeight || image.height;
                made.getContext("2d", { willReadFrequently: true }).drawImage(image, 0, 0);
                return made;
            };
            const map = copy(view.canvas), at = (v, middle, length) => (v - middle) * view.scale + length / 2;
            return [places.map(([x, y]) => read(map, at(x, view.x, view.width), at(y, view.y, view.height))),
                    places.map(([, , i, row, column]) => read(copy(view.images.get(i)), column, row))];
        }""",
        places,
    )
    assert painted == expected


def test_the_keyboard_alone_reaches_everything(export: Export, path: Path, opened: Opened) -> None:
    shown = opened(path)
    shown.keyboard.press("Tab")
    assert shown.evaluate("document.activeElement.id") == "canvas"
    shown.keyboard.press("n")
    shown.keyboard.press("n")
    status = shown.locator("#status").inner_text()
    assert "2 of 20 in view. Enter chooses it." in status
    shown.keyboard.press("Enter")
    name = shown.locator("#name").inner_text()
    assert status.startswith(name)
    assert listed(shown) == neighbours(export, name)
    assert f"the most similar one is {neighbours(export, name)[0]}" in shown.locator("#status").inner_text()
    before = shown.evaluate("[view.x, view.scale]")
    shown.keyboard.press("ArrowRight")
    assert shown.evaluate("view.x") > before[0]
    place = centre(shown, name)
    shown.keyboard.press("+")
    assert shown.evaluate("view.scale") == pytest.approx(1.5 * before[1])
    assert centre(shown, name) == pytest.approx(place)
    shown.keyboard.press("0")
    assert shown.evaluate("[view.x, view.scale]") == pytest.approx(before)
    shown.keyboard.press("Escape")
    assert shown.locator("#chosen").is_hidden()
    # Every control has a name and can be reached with the Tab key.
    shown.mouse.click(*centre(shown, "row 0/chip 0"))
    named = "e => e.ariaLabel || e.textContent.trim() || e.labels?.length || e.hasAttribute('alt')"
    assert shown.evaluate(f"[...document.querySelectorAll('button, input, canvas, img')].every({named})")
    assert shown.evaluate("[...document.querySelectorAll('button, input')].every(e => e.tabIndex >= 0)")


def test_the_list_finds_ids_and_dates(path: Path, opened: Opened) -> None:
    shown = opened(path)
    assert shown.locator("#list button").count() == 20
    shown.fill("#find", "ROW 1/chip 4")
    assert shown.locator("#list button").count() == 1
    shown.press("#find", "Enter")
    assert shown.locator("#name").inner_text() == "row 1/chip 4"
    assert shown.locator("#list button").get_attribute("aria-current") == "true"
    shown.fill("#find", "2022-06-12")  # the only date of item 11, the second one of item 1
    assert shown.locator("#list button").count() == 2
    shown.fill("#find", "nowhere")
    assert shown.locator("#list button").count() == 0
    assert "No item" in shown.locator("#more").inner_text()


def test_one_item_alone_has_a_page_too(tmp_path: Path, opened: Opened) -> None:
    place = Affine(100, 0, 500_000, 0, -100, 5_000_000)
    item = placed("alone", None, place, pooled=np.ones(4, np.float32), shape=(8, 8))
    shown = opened(write_map(write_export(tmp_path / "export", [item]).path)[0])
    shown.mouse.click(*centre(shown, "alone"))
    assert shown.locator("#name").inner_text() == "alone"
    assert shown.locator("#heading").inner_text() == "There is no other item"


def test_items_on_each_other_are_chosen_in_turn(tmp_path: Path, opened: Opened) -> None:
    place = Affine(100, 0, 500_000, 0, -100, 5_000_000)
    items = [
        placed(name, None, place, pooled=vector, shape=(8, 8))
        for name, vector in zip("abcd", np.eye(4, dtype=np.float32) + 1, strict=True)
    ]
    shown = opened(write_map(write_export(tmp_path / "export", items).path)[0])
    found = []
    for _ in range(5):
        shown.mouse.click(*centre(shown, "a"))
        found.append(shown.locator("#name").inner_text())
    assert found == ["a", "b", "c", "d", "a"]
    assert "One of 4 items here" in shown.locator("#status").inner_text()


def test_dragging_and_pinching_move_the_map_and_choose_nothing(path: Path, opened: Opened) -> None:
    shown = opened(path, 360, 740, has_touch=True)
    x, y = centre(shown, "row 1/chip 2")
    shown.mouse.move(x, y)
    shown.mouse.down()
    shown.mouse.move(x + 60, y + 30, steps=4)
    shown.mouse.up()
    assert centre(shown, "row 1/chip 2") == pytest.approx((x + 60, y + 30), abs=1)
    assert shown.locator("#chosen").is_hidden()
    shown.mouse.move(x, y)
    before = shown.evaluate("view.scale")
    shown.mouse.wheel(0, -300)
    shown.wait_for_function(f"view.scale > {before} * 1.2")
    before = shown.evaluate("view.scale")
    touch = shown.context.new_cdp_session(shown)
    for kind, gap in (("touchStart", 40), ("touchMove", 60), ("touchMove", 80), ("touchEnd", None)):
        points = [] if gap is None else [{"x": x - gap / 2, "y": y, "id": 0}, {"x": x + gap / 2, "y": y, "id": 1}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert shown.evaluate("view.scale") == pytest.approx(2 * before, rel=0.02)
    assert shown.locator("#chosen").is_hidden()


@pytest.mark.parametrize("width", [320, 360, 1280])
def test_nothing_is_wider_than_the_window(path: Path, opened: Opened, width: int) -> None:
    shown = opened(path, width, 740)
    shown.locator("#list button").first.click()
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    heights = "[...document.querySelectorAll('#buttons button, li button, input')].map(e => e.offsetHeight)"
    assert min(shown.evaluate(heights)) >= 36


def test_what_comes_from_an_export_is_text(tmp_path: Path, opened: Opened) -> None:
    evil = "</script><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>{{script}}"
    ids = [evil, "<b>bold</b>", "&amp;", "plain"]
    content = {
        "title": evil, "layer": "<i>", "notes": ["<u>note"], "vectors": "pooled vectors", "ids": ids,
        "dates": [["<s>2022"]] * 4, "rings": [[[i, 0, i + 0.5, 0, i + 0.5, 1, i, 1]] for i in range(4)], "corners": {},
        "colours": ["#808080"] * 4, "explained": 0.5, "similar": [[1], [0], [0], [0]], "scores": [[0.5]] * 4,
        "cells": {}, "looks": {},
    }  # fmt: skip
    text = page(evil, content)
    assert text.count("<script") == 2
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    shown = opened(tmp_path / "page.html")
    shown.locator("#list button").first.click()
    assert shown.locator("#name").inner_text() == evil
    assert shown.title() == evil
    assert shown.locator("#panel b, #panel s, header u, header i").count() == 0


def test_tiles_are_asked_for_only_if_stated(path: Path, export: Export, tmp_path: Path, browser: object) -> None:
    tiles = Tiles("https://tiles.example/{z}/{x}/{y}.png", "Map by <Example>")
    page_path = write_map(export.path, tmp_path / "tiles.html", tiles=tiles)[0]
    context = browser.new_context()  # type: ignore[attr-defined]
    asked: list[str] = []

    def answer(route: object) -> None:
        asked.append(route.request.url)  # type: ignore[attr-defined]
        route.abort()  # type: ignore[attr-defined]

    context.route(lambda url: url.startswith("https:"), answer)
    shown = context.new_page()
    shown.goto(page_path.as_uri())
    shown.wait_for_function("view.tileImages?.size > 0")
    assert shown.locator("#attribution").inner_text() == "Map by <Example>"
    # The tile of the window's middle, by the formula of the tile scheme.
    zoom = shown.evaluate("Math.round(Math.log2(view.scale * 360 / 256))")
    lon, lat = shown.evaluate("[view.projection.lon(view.x), view.projection.lat(view.y)]")
    column = int((lon + 180) / 360 * 2**zoom)
    row = int((1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * 2**zoom)
    shown.wait_for_timeout(200)
    assert f"https://tiles.example/{zoom}/{column}/{row}.png" in asked
    # The page's own policy lets it ask nobody else.
    shown.evaluate("new Image().src = 'https://elsewhere.example/x.png'")
    shown.wait_for_timeout(100)
    assert {url.split("/")[2] for url in asked} == {"tiles.example"}
    context.close()


def test_ten_thousand_items_are_drawn_in_a_blink(tmp_path: Path, opened: Opened) -> None:
    count = 10_000
    content = {
        "title": "many", "layer": "", "notes": [], "vectors": "pooled vectors", "ids": [f"i{i}" for i in range(count)],
        "dates": [[]] * count, "corners": {}, "colours": ["#336699"] * count, "explained": 0.5,
        "rings": [[[x, y, x + 0.9, y, x + 0.9, y + 0.9, x, y + 0.9]] for x in range(100) for y in range(-50, 50)],
        "similar": [[(i + 1) % count] for i in range(count)], "scores": [[0.5]] * count, "cells": {}, "looks": {},
    }  # fmt: skip
    (tmp_path / "page.html").write_text(page("many", content), encoding="utf-8")
    shown = opened(tmp_path / "page.html")
    assert shown.locator("#list button").count() == 100
    assert "9,900 more" in shown.locator("#more").inner_text()
    taken = """() => Math.min(...[1, 2, 3, 4, 5].map(() => {
        const start = performance.now();
        view.draw();
        return performance.now() - start;
    }))"""
    assert shown.evaluate(taken) < 300  # 20 ms on an idle core
    shown.mouse.click(*centre(shown, "i4242"))
    assert shown.locator("#name").inner_text() == "i4242"


@pytest.mark.parametrize(
    ("url", "attribution", "match"),
    [
        ("file:///z/{z}/{x}/{y}", "a", "Expected the address of tiles"),
        ("https://host; script-src */{z}/{x}/{y}", "a", "Expected the address of tiles"),
        ("https://host/{z}/{x}.png", "a", "{y} is missing"),
        ("https://host/{z}/{x}/{y}.png", " ", "Say whose map.*--attribution"),
    ],
)
def test_tiles_that_are_none_are_refused(url: str, attribution: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Tiles(url, attribution)


def test_an_export_is_left_as_it_was(export: Export, path: Path) -> None:
    assert path == export.path / "map.html"
    assert open_embeddings(export.path).ids == export.ids
