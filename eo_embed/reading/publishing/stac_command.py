"""The command ``eo stac``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from eo_embed.reading.publishing.stac import Publication, write_catalogue


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="eo stac",
        description="Write a static STAC catalogue of a finished export: one Collection, and an Item for each grid.",
        epilog="example: eo stac out/scene --licence CC-BY-4.0 --model https://example.org/model-card",
    )
    parser.add_argument("export", type=Path, help="folder of the export")
    parser.add_argument("--licence", required=True, help="SPDX identifier, such as CC-BY-4.0, or other")
    parser.add_argument("--out", type=Path, help="folder of the catalogue (EXPORT/stac)")
    parser.add_argument("--id", default="", help="of the collection (name of the folder)")
    parser.add_argument("--title", default="")
    parser.add_argument("--description", default="")
    parser.add_argument("--model", default="", metavar="URL", help="address of the encoder, such as its model card")
    parser.add_argument(
        "--source", action="append", default=[], metavar="URL", help="address of a data set; repeatable"
    )
    parser.add_argument(
        "--period", nargs=2, type=date.fromisoformat, metavar=("FIRST", "LAST"), help="of items whose files say no date"
    )
    parser.add_argument("--layer", default="", help="if the export has several")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; faults of the input end it with a message and exit code 2."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        publication = Publication(
            given.licence, given.id, given.title, given.description, given.model, tuple(given.source),
            (given.period[0], given.period[1]) if given.period else None, given.layer,
        )  # fmt: skip
        made = write_catalogue(given.export, publication, given.out)
    except (ValueError, OSError, ImportError) as error:
        parser.error(str(error))
    sys.stdout.write(f"{made}\n")


if __name__ == "__main__":
    main()
