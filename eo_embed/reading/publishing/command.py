"""The command ``eo convert``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from eo_embed.reading.publishing.convert import FORMS, Conversion, convert


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="eo convert",
        description="Write a finished export in a form that others read. The export stays as it is; what of OUT is "
        "there already, and was made the same way, stays too.",
        epilog="example: eo convert out/scene out/store --to zarr --model https://example.org/model-card",
    )
    parser.add_argument("export", type=Path, help="folder of the export")
    parser.add_argument("out", type=Path, help="another folder")
    parser.add_argument(
        "--to",
        choices=FORMS,
        required=True,
        help="cog: GeoTIFFs and vectors, an export again; parquet: vectors along a Hilbert curve, for maps and "
        "databases; zarr: one store for each CRS, by the convention geoemb",
    )
    parser.add_argument("--dtype", default="", help="float32, float16, int8 (default of zarr), int8_alphaearth (cog)")
    parser.add_argument("--unit-length", action="store_true", help="scale vectors to length one")
    parser.add_argument("--pca", type=int, default=0, metavar="K", help="reduce vectors to K principal components")
    parser.add_argument("--seed", type=int, default=0, help="of the cells that the components are fitted on (0)")
    parser.add_argument("--layer", default="", help="if the export has several")
    parser.add_argument("--ids", default="", metavar="PATTERN", help="items that are taken, such as '2024/*'")
    parser.add_argument(
        "--overlap", default="refuse", help="zarr: refuse, or first: of cells of several items those of the first id"
    )
    parser.add_argument(
        "--no-shards", action="store_true", help="zarr: a file for each chunk, as GDAL 3.12 cannot read shards"
    )
    parser.add_argument("--group", type=int, default=0, help="parquet: rows of a row group (about 128 MB)")
    parser.add_argument("--model", default="", metavar="URL", help="address of the encoder, such as its model card")
    parser.add_argument(
        "--source", action="append", default=[], metavar="URL", help="address of a data set; repeatable"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; faults of the input end it with a message and exit code 2."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        conversion = Conversion(
            given.to, given.dtype, given.unit_length, given.pca, given.seed, given.layer, given.ids, given.overlap,
            not given.no_shards, given.group, given.model, tuple(given.source),
        )  # fmt: skip
        made = convert(given.export, given.out, conversion)
    except (ValueError, OSError, ImportError) as error:
        parser.error(str(error))
    for path, now in made:
        sys.stdout.write(f"{path} {'written' if now else 'was there already'}\n")


if __name__ == "__main__":
    main()
