"""Embeddings of files, products or places, written to a folder.

Examples
--------
  eo embed thor_v1_base S2A_MSIL2A_20220601T...SAFE --out out/one
  eo embed anysat_base a_20220601.tif a_20220611.tif --out out/series
  eo embed thor_v1_base --point 121.5 31.2 2048 --time 2022-06-01 2022-09-01 --source scenes --out out/place
  eo embed anysat_base --places fields.gpkg --time 2022-01-01 2023-01-01 --source scenes --out out/fields
  eo embed thor_v1_base --bbox 11.0 45.0 11.1 45.1 --time 2022-06-01 2022-07-01 --source earth-search --dry-run
  eo embed thor_v1_base scene.tif --bands BLUE GREEN RED --sensor sentinel2_l2a --unit reflectance --out out/x
  eo embed thor_v1_base scene.tif --option patch_size=4 --option l2_normalise=true --out out/y
  eo embed --models
  eo embed thor_v1_base --describe

Options of the encoder and of the image are given by --option NAME=VALUE; --describe lists those of the encoder. The
folder is read by eo_embed.open_embeddings, and shown by `eo map`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml

from eo_core.arguments import from_text
from eo_data.catalog.shards import Shard


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; faults of the input end it with a message and exit code 2, failed places with 1."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        text, failed = _answer(given)
    except (ValueError, TypeError, OSError, argparse.ArgumentError) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")  # the usage would hide what to do
    sys.stdout.write(f"{text}\n")
    if failed:
        sys.exit(1)


def _answer(given: argparse.Namespace) -> tuple[str, int]:
    """Return what is printed, and how many places failed."""
    from eo_models.preset import describe, models  # noqa: PLC0415  (--help need not wait)

    if given.models:
        return "\n".join(models()), 0
    if given.encoder is None:
        msg = f"Name an encoder: {', '.join(models())}."
        raise ValueError(msg)
    if given.describe:
        return str(describe(given.encoder)), 0
    if given.out is None and not given.dry_run:
        msg = "Say where the embeddings go: --out FOLDER. Or add --dry-run to see what would be read of places."
        raise ValueError(msg)
    from eo_data.readers.described.plan import Plan  # noqa: PLC0415
    from eo_data.readers.described.tile_plan import TilePlan  # noqa: PLC0415
    from eo_embed.one_call.call import embed  # noqa: PLC0415  (imports PyTorch)
    from eo_embed.one_call.result import Embedded  # noqa: PLC0415

    found = embed(given.encoder, _what(given), **_options(given))
    if isinstance(found, TilePlan):
        return str(found), 0
    if isinstance(found, Plan):
        return str(found), len(found.failures)
    failures = {} if isinstance(found, Embedded) else found.failures
    lines = [f"{found!r} in {given.out}"]
    lines += [f"failed: {name}: {reason}" for name, reason in list(failures.items())[:5]]
    lines += [f"... {len(failures)} in all, see {given.out}"] if len(failures) > 5 else []
    return "\n".join(lines), len(failures)


def _what(given: argparse.Namespace) -> Any:  # noqa: ANN401
    """Return what is to be encoded: files, or places.

    Raises
    ------
    ValueError
        If it is not one of them.
    """
    from eo_data.catalog.scenes.places import BBox, PointBuffer  # noqa: PLC0415

    stated = [name for name in ("files", "point", "bbox", "places") if getattr(given, name)]
    if len(stated) != 1:
        msg = f"Give either files, --point, --bbox or --places; got {' and '.join(stated) or 'none of them'}."
        raise ValueError(msg)
    if given.point:
        return PointBuffer(given.point[0], given.point[1], given.point[2], id=given.id or "place")
    if given.bbox:
        west, south, east, north = given.bbox
        return BBox(west, south, east, north, id=given.id or "place")
    if given.places:
        return given.places
    return given.files[0] if len(given.files) == 1 else given.files


def _options(given: argparse.Namespace) -> Mapping[str, Any]:
    """Return the arguments of `embed`; what is not stated has its default there."""
    names = (
        *("bands", "sensor", "unit", "offset", "pixel_size", "dates", "time", "source", "output", "pooling"),
        *("layers", "group_merge", "device", "precision", "matmul", "ckpt", "out", "id", "max_cloud", "orbit"),
        *("dry_run", "remote_cache"),
    )
    stated = {name: value for name in names if (value := getattr(given, name)) not in (None, "")}
    own = dict(_pair(text) for text in given.option)
    if twice := [name for name in own if name in stated]:
        msg = f"{twice[0]} is given twice, by its own argument and by --option. Leave one out."
        raise ValueError(msg)
    if given.random_weights:
        stated["pretrained"] = False
    if given.shard is not None:
        stated["shard"] = Shard.of_text(given.shard)
    if given.frames is not None:
        stated["frames"] = from_text(given.frames)
    return {**stated, **own, "progress": sys.stderr.isatty()}


def _pair(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        msg = f"--option takes NAME=VALUE, such as patch_size=4, got {text!r}."
        raise ValueError(msg)
    return name, yaml.safe_load(value)


def _parser() -> argparse.ArgumentParser:
    from eo_embed.export.settings import Output  # noqa: PLC0415
    from eo_models.contract import GroupMerge, Pooling  # noqa: PLC0415

    parser = argparse.ArgumentParser(
        prog="eo embed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("encoder", nargs="?", help="name of the encoder; --models lists them")
    add("files", nargs="*", help="files or products; several are one dated series")
    add("--models", action="store_true", help="list the encoders, and end")
    add("--describe", action="store_true", help="say what the encoder takes and gives, and end")
    what = parser.add_argument_group("places")
    what.add_argument("--point", nargs=3, type=float, metavar=("LON", "LAT", "METRES"), help="a point and a buffer")
    what.add_argument("--bbox", nargs=4, type=float, metavar=("WEST", "SOUTH", "EAST", "NORTH"), help="in degrees")
    what.add_argument("--places", type=Path, help="GeoPackage, GeoJSON, GeoParquet: one embedding a row")
    what.add_argument("--time", nargs=2, metavar=("START", "END"), help="dates, the end excluded")
    what.add_argument(
        "--source",
        help="folder of products or files; earth-search, planetary-computer, copernicus, earth-engine; or the address "
        "or file of a STAC catalogue",
    )
    what.add_argument("--frames", help="all, median, a number of equal parts of the window, or [dates]")
    what.add_argument("--max-cloud", type=float, metavar="PERCENT", help="leave out scenes that state more clouds")
    what.add_argument("--orbit", choices=("ascending", "descending"), help="of radar; that of most dates")
    what.add_argument("--remote-cache", metavar="FOLDER", help="keep there what is fetched from servers")
    what.add_argument("--dry-run", action="store_true", help="say what would be read, and end")
    image = parser.add_argument_group("what files do not say")
    image.add_argument("--bands", nargs="+", help="names of the bands in the order of the file")
    image.add_argument("--sensor", help="such as sentinel2_l2a")
    image.add_argument("--unit", help="digital_number, reflectance, decibel, linear_power, kelvin, native")
    image.add_argument("--offset", type=float, help="of Sentinel-2's digital numbers: -1000 or 0")
    image.add_argument("--pixel-size", type=float, help="metres")
    image.add_argument("--dates", nargs="+", help="one a file")
    result = parser.add_argument_group("result")
    result.add_argument("--out", help="folder of the export")
    result.add_argument("--shard", metavar="INDEX/OF", help="this part of many places, such as 0/3; see `eo merge`")
    result.add_argument("--id", default="", help="name of the result")
    result.add_argument("--output", choices=get_args(Output), help="both")
    result.add_argument("--layers", nargs="+", type=int, help="-1, the last")
    result.add_argument("--pooling", choices=get_args(Pooling), help="mean")
    result.add_argument("--group-merge", choices=get_args(GroupMerge), help="mean")
    run = parser.add_argument_group("encoder")
    run.add_argument("--ckpt", help="file of weights")
    run.add_argument("--random-weights", action="store_true", help="load none, to try things out")
    run.add_argument("--device", help="auto, cpu, cuda, mps")
    run.add_argument("--precision", help="32, bf16, int8, or auto: bf16 where the hardware is faster with it")
    run.add_argument("--matmul", help="of float32: highest, high (TF32), medium (bfloat16) where the hardware can")
    run.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="of encoder or image")
    return parser


if __name__ == "__main__":
    main()
