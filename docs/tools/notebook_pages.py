"""Notebooks as pages of the site: cells and outputs as Markdown, pictures as files beside it. Needs no Jupyter.

mkdocs-jupyter would do it, too, but its pages fetch MathJax from another server.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "notebooks"
_PNG = "image/png"


@dataclass(frozen=True)
class NotebookPage:
    """A notebook as it stands on the site.

    Parameters
    ----------
    text : str
        Markdown.
    pictures : mapping of str to bytes
        PNG by name of the file, beside the page.
    """

    text: str
    pictures: Mapping[str, bytes]


def pages(folder: Path = FOLDER) -> dict[str, NotebookPage]:
    """Return the pages of all notebooks by their names without suffix."""
    return {file.stem: page(file) for file in sorted(folder.glob("*.ipynb"))}


def page(file: Path) -> NotebookPage:
    """Return the page of a notebook."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
        source = _text(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(_fenced(source, "python"))
        for output in cell["outputs"]:
            data = output.get("data", {})
            if _PNG in data:
                name = f"{file.stem}_{len(pictures)}.png"
                pictures[name] = base64.b64decode(_text(data[_PNG]))
                parts.append(f"![{output['metadata'].get(_PNG, {}).get('alt', '')}]({name})")
            else:
                parts += _of_text(output, data)
    return NotebookPage("\n\n".join(parts) + "\n", pictures)


def _of_text(output: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[str]:
    if "text/markdown" in data:
        # A heading of an output is none of the page.
        yield re.sub(r"^#+ (.*)$", r"**\1**", _text(data["text/markdown"]), flags=re.MULTILINE)
    elif said := _text(output.get("text") or data.get("text/plain", "")).rstrip():
        yield _fenced(said, "text")


def _text(lines: str | list[str]) -> str:
    return lines if isinstance(lines, str) else "".join(lines)


def _fenced(text: str, language: str) -> str:
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall(r"`{3,}", text))])
    return f"{fence}{language}\n{text}\n{fence}"
