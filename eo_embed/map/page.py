"""Style, script and content of a map in one HTML file that asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

_PLACE = re.compile(r"\{\{(\w+)\}\}")
_STYLES, _SCRIPTS = ("map.css",), ("view.js", "page.js")


@dataclass(frozen=True)
class Tiles:
    """A background of map tiles, which the page fetches from elsewhere when it is opened.

    Parameters
    ----------
    url : str
        Address with ``{z}``, ``{x}`` and ``{y}``, in Web Mercator.
    attribution : str
        Whose map that is; most providers ask for it.

    Raises
    ------
    ValueError
        If the address is none of tiles, or there is no attribution.
    """

    url: str
    attribution: str

    def __post_init__(self) -> None:
        """Check both."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.netloc or not re.fullmatch(r"[\w.:\[\]-]+", parts.netloc):
            msg = f"Expected the address of tiles such as https://host/{{z}}/{{x}}/{{y}}.png, got {self.url!r}."
            raise ValueError(msg)
        if missing := [name for name in ("{z}", "{x}", "{y}") if name not in self.url]:
            msg = f"The address of tiles needs {{z}}, {{x}} and {{y}}; {', '.join(missing)} is missing in {self.url!r}."
            raise ValueError(msg)
        if not self.attribution.strip():
            msg = f"Say whose map the tiles of {self.url} are (--attribution): their providers ask for it."
            raise ValueError(msg)

    @property
    def origin(self) -> str:
        """Scheme and host."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


def page(title: str, content: Mapping[str, Any], tiles: Tiles | None = None) -> str:
    """Return the HTML of a page.

    Whatever comes from an export is data: it lies in JSON, and the script puts it on the page as text. A policy in the
    page forbids the browser all addresses but those of tiles.

    Parameters
    ----------
    title : str
        Of the page.
    content : mapping
        As ``page.js`` reads it.
    tiles : Tiles, optional
        Background.
    """
    style, script = ("".join(_asset(name) for name in names) for names in (_STYLES, _SCRIPTS))
    images = "data:" if tiles is None else f"data: {tiles.origin}"
    policy = (
        f"default-src 'none'; img-src {images}; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    background = None if tiles is None else {"url": tiles.url, "attribution": tiles.attribution}
    parts = {
        "policy": html.escape(policy),
        "title": html.escape(title),
        "style": style,
        "script": script,
        # Within a script element nothing but `<` has a meaning to HTML.
        "content": json.dumps({**content, "tiles": background}, allow_nan=False, separators=(",", ":")).replace(
            "<", "\\u003c"
        ),
    }
    # In one pass: what is put in is not searched again.
    return _PLACE.sub(lambda found: parts[found[1]], _asset("map.html"))


def _asset(name: str) -> str:
    return (files("eo_embed.map") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
