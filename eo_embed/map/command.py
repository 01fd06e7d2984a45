"""An export as one HTML page with a map: ``python -m eo_embed.map EXPORT``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eo_core.files import write_text
from eo_embed.map.page import Tiles, page

#: Most items on a page: more would make it slow to draw.
MOST_ITEMS = 10_000
MOST_PICTURES = 500
NEIGHBOURS = 8


def write_map(
    folder: str | Path,
    out: str | Path | None = None,
    layer: str = "",
    k: int = NEIGHBOURS,
    most: int = MOST_ITEMS,
    pictures: int = MOST_PICTURES,
    rgb_from: str | Path | None = None,
    root: str | Path | None = None,
    tiles: Tiles | None = None,
) -> tuple[Path, list[str]]:
    """Write an export as one HTML page.

    Parameters
    ----------
    folder : str or Path
        Folder of the export, or a table of its vectors.
    out : str or Path, optional
        The page; ``map.html`` in the folder by default.
    layer : str
        Layer of the export; may be left out where there is only one.
    k : int
        Similar places of each item.
    most : int
        Of more items so many are drawn, with a fixed seed.
    pictures : int
        Items that get a picture of their source and their cells.
    rgb_from, root : str or Path, optional
        How sources are found and read, see `eo_embed.pictures.quicklook.QuickLooks`.
    tiles : Tiles, optional
        A background that is fetched when the page is opened.

    Returns
    -------
    Path, list of str
        The page, and what a user should know of it; the page says so too.

    Raises
    ------
    ValueError
        If there is no complete export, no such layer, nothing with a georeference, or for a number out of range.
    OSError
        If the page cannot be written.
    """
    for name, value, least in (("k", k, 1), ("most", most, 1), ("pictures", pictures, 0)):
        if value < least:
            msg = f"{name} must be at least {least}, got {value}."
            raise ValueError(msg)
    from eo_embed.export.opening import open_embeddings  # noqa: PLC0415  (seconds, which --help need not wait)
    from eo_embed.map.content import page_content  # noqa: PLC0415
    from eo_embed.map.shown import shown_items  # noqa: PLC0415
    from eo_embed.map.thumbnails import thumbnails  # noqa: PLC0415
    from eo_embed.pictures.quicklook import QuickLooks  # noqa: PLC0415

    export = open_embeddings(folder)
    items, count = shown_items(export, layer, most)
    beside = export.path if export.path.is_dir() else export.path.parent
    grids = export.grids_of(layer)
    made = thumbnails(items, grids, QuickLooks(beside, rgb_from, root), pictures)
    content: dict[str, Any] = page_content(items, made, k)
    notes = []
    if count > len(items):
        notes.append(f"{len(items)} of {count} items are shown, drawn at random; similar places are sought among these")
    if placeless := sum(item.outline is None for item in items):
        notes.append(f"{placeless} items have no georeference and stand in the list only")
    pictured = len(made.looks.keys() | made.cells.keys())
    if not pictured and pictures:
        notes.append("no item has a picture, as there are no grids and no source was found (--root, --rgb-from)")
    elif pictured < len(items):
        notes.append(f"{pictured} of {len(items)} items have a picture")
    source = "pooled vectors" if export.pooled is not None else "means of the cells of each grid"
    facts = {"title": beside.resolve().name, "layer": layer, "notes": notes, "vectors": source}
    path = Path(out) if out is not None else beside / "map.html"
    write_text(path, page(f"{facts['title']}: embeddings on a map", {**facts, **content}, tiles))
    return path, notes


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="eo map",
        description="Write an export as one HTML page: a map, pictures, and the most similar places of each item. The "
        "page holds all that it needs; only with --tiles it asks an address for a background.",
        epilog="example: eo map output/embed_quickstart --out map.html",
    )
    parser.add_argument("export", type=Path, help="folder of the export")
    parser.add_argument("--out", type=Path, help="the page (EXPORT/map.html)")
    parser.add_argument("--layer", default="", help="if the export has several")
    parser.add_argument("--k", type=int, default=NEIGHBOURS, help=f"similar places of each item ({NEIGHBOURS})")
    parser.add_argument("--most", type=int, default=MOST_ITEMS, help=f"items; of more, some are drawn ({MOST_ITEMS})")
    parser.add_argument("--pictures", type=int, default=MOST_PICTURES, help=f"items with pictures ({MOST_PICTURES})")
    parser.add_argument("--rgb-from", type=Path, metavar="CONFIG", help="config whose data module reads the sources")
    parser.add_argument(
        "--root", type=Path, help="folder of the data set, if it is not where the config says from here"
    )
    parser.add_argument(
        "--tiles", metavar="URL", help="background, such as https://host/{z}/{x}/{y}.png; off by default"
    )
    parser.add_argument("--attribution", default="", help="whose map the tiles are")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; faults of the input end it with a message and exit code 2."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        tiles = Tiles(given.tiles, given.attribution) if given.tiles else None
        path, notes = write_map(
            given.export, given.out, given.layer, given.k, given.most, given.pictures, given.rgb_from, given.root, tiles
        )
    except (ValueError, OSError, argparse.ArgumentError) as error:
        parser.error(str(error))
    lines = "".join(f"note: {note}\n" for note in notes)
    sys.stdout.write(f"{lines}{path} ({path.stat().st_size / 1e6:.1f} MB)\n")


if __name__ == "__main__":
    main()
