"""Text in figures, panels and the HTML map can be read: WCAG 2 asks for a contrast of 4.5, and of 3 for marks."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib.colors import to_rgb

#: Functions of matplotlib that write.
WRITES = ("text", "annotate", "set_title", "set_xlabel", "set_ylabel", "suptitle", "set_text")
#: White text stands on this in pictures: black at 0.55 over the lightest pixel (`style.scale_bar`).
BACKING = (0.45, 0.45, 0.45)
WHITE = (1.0, 1.0, 1.0)
TEXT, MARKS = 4.5, 3.0
#: Colours of the HTML map that are written on others, and marks on others.
WRITTEN = [("text", "page"), ("text", "panel"), ("soft", "page"), ("soft", "panel"), ("label", "sea")]
WRITTEN += [("text", "button"), ("soft", "button"), ("panel", "alike")]
MARKED = [("chosen", "sea"), ("alike", "sea"), ("edge", "sea"), ("chosen", "panel"), ("soft", "panel")]

Colour = tuple[float, float, float]


def luminance(colour: Colour) -> float:
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(one: Colour, other: Colour) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def constants(file: Path) -> dict[str, str]:
    """Colours that a module gives names to."""
    found = {}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign):
            names = [part for target in node.targets for part in getattr(target, "elts", [target])]
            values = getattr(node.value, "elts", [node.value])
            for name, value in zip(names, values, strict=False):
                if isinstance(name, ast.Name) and isinstance(value, ast.Constant) and str(value.value).startswith("#"):
                    found[name.id] = str(value.value)
    return found


def written(file: Path, named: dict[str, str]) -> Iterator[tuple[int, str]]:
    """Lines where a module writes in a colour, and the colour."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or getattr(node.func, "attr", "") not in WRITES:
            continue
        for keyword in node.keywords:
            if keyword.arg in ("color", "c"):
                values = [keyword.value]
                if isinstance(keyword.value, ast.IfExp):
                    values = [keyword.value.body, keyword.value.orelse]
                for value in values:
                    if isinstance(value, ast.Constant):
                        yield node.lineno, str(value.value)
                    else:
                        assert isinstance(value, ast.Name), f"{file.name}:{node.lineno}: a colour that nobody can check"
                        yield node.lineno, named[value.id]


def faults(folder: Path, named: dict[str, str]) -> list[str]:
    found, seen = [], 0
    for file in sorted(folder.glob("*.py")):
        for line, colour in written(file, named):
            seen += 1
            on = BACKING if colour == "white" else WHITE
            if (value := contrast(to_rgb(colour), on)) < TEXT:
                found.append(f"{file.name}:{line}: {colour} has a contrast of {value:.1f}")
    assert seen
    return found


def test_text_of_figures_and_panels_can_be_read(root: Path) -> None:
    style = constants(root / "docs" / "figures" / "style.py")
    assert contrast(to_rgb(style["DARK"]), WHITE) > 12
    assert faults(root / "docs" / "figures", style) == []
    panels = root / "eo_finetune" / "panels"
    assert faults(panels, constants(panels / "colours.py")) == []


def test_pale_text_is_found(tmp_path: Path) -> None:
    (tmp_path / "figure.py").write_text('axes.text(0, 0, "a", color=GREY)\naxes.set_title("b", color="#333333")\n')
    assert faults(tmp_path, {"GREY": "#999999"}) == ["figure.py:1: #999999 has a contrast of 2.8"]
    assert contrast((0, 0, 0), WHITE) == pytest.approx(21)


def test_the_map_can_be_read_in_light_and_in_dark(root: Path) -> None:
    text = (root / "eo_embed" / "map" / "map.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", text, re.DOTALL)
    schemes = [dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in blocks]
    assert len(schemes) == 2
    for scheme in schemes:
        for pairs, least in ((WRITTEN, TEXT), (MARKED, MARKS)):
            for one, other in pairs:
                assert contrast(to_rgb(scheme[one]), to_rgb(scheme[other])) >= least, (one, other)
