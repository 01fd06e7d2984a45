"""Write an encoder as a file that runs without this project.

Examples
--------
  python -m eo_models.export thor_v1_base --bands BLUE GREEN RED NIR_BROAD --side 288 --patch 8 --out thor.onnx
  python -m eo_models.export thor_v1_tiny --bands BLUE RED VV VH --side 144 --out both.onnx
  python -m eo_models.export thor_v1_base --bands BLUE GREEN RED --side 288 --unit sentinel2_l2a=digital_number \
      --scale sentinel2_l2a=0.0001 --offset sentinel2_l2a=-1000 --out numbers.onnx
  python -m eo_models.export anysat_base --sensor sentinel2_l2a --side 24 --patch 10 --frames 8 --out series.onnx
  python -m eo_models.export anysat_base --sensor sentinel2_l2a sentinel1 --side 12 --patch 20 --frames 4 \
      --option image_size=null --format openvino --out both.xml

`eo embed ENCODER --describe` lists the sensors and bands of an encoder, its options, and what patches are measured in.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

import yaml

_FORMATS = {".onnx": "onnx", ".xml": "openvino", ".pt2": "torch_export"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; faults of the input end it with a message and exit code 2."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        text = _exported(given)
    except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")  # the usage would hide what to do
    sys.stdout.write(f"{text}\n")


def _exported(given: argparse.Namespace) -> str:
    from eo_models.export.call import Asked, Weights, export_encoder  # noqa: PLC0415  (--help need not wait)

    asked = Asked(
        side=given.side,
        bands=given.bands,
        sensors=given.sensor,
        patch=given.patch,
        pixel_size=given.pixel_size,
        frames=given.frames,
        units=_pairs("unit", given.unit, str),
        scales=_pairs("scale", given.scale, float),
        offsets=_pairs("offset", given.offset, float),
        normalised=given.normalised,
        layers=given.layers,
        group_merge=given.group_merge,
        output=given.output,
        pooling=given.pooling,
        options=_pairs("option", given.option, yaml.safe_load),
    )
    weights = Weights(not given.random_weights, given.ckpt, given.revision)
    suffix = "." + given.out.rpartition(".")[2]
    form = given.format or _FORMATS.get(suffix.lower(), "onnx")
    return str(export_encoder(given.encoder, given.out, asked, form=form, weights=weights, overwrite=given.overwrite))


def _pairs(what: str, given: Sequence[str], read: Callable[[str], Any]) -> dict[str, Any]:
    """Return NAME=VALUE as a mapping.

    Raises
    ------
    ValueError
        If it is none, or a value is no number where one is needed.
    """
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            msg = f"--{what} takes NAME=VALUE, got {text!r}."
            raise ValueError(msg)
        try:
            pairs[name] = read(value)
        except ValueError as error:
            msg = f"--{what} {text}: {value!r} is no number."
            raise ValueError(msg) from error
    return pairs


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m eo_models.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("encoder", help="name of the encoder; `eo embed --models` lists them")
    add("--out", required=True, help="the file")
    add("--format", choices=tuple(_FORMATS.values()), help="by default what the suffix says: .onnx, .xml, .pt2")
    add("--overwrite", action="store_true", help="replace a file that is there")
    images = parser.add_argument_group("images")
    images.add_argument("--side", type=int, required=True, help="pixels")
    images.add_argument("--bands", nargs="+", default=[], help="in the order of the channels")
    images.add_argument("--sensor", nargs="+", default=[], help="such as sentinel2_l2a, where the bands do not tell")
    images.add_argument("--patch", type=int, help="size of a patch: pixels or metres, see --describe of eo embed")
    images.add_argument("--pixel-size", type=float, help="metres, where the encoder takes any")
    images.add_argument("--frames", type=int, help="of series")
    images.add_argument("--unit", nargs="+", default=[], metavar="SENSOR=UNIT", help="of the numbers that come in")
    images.add_argument("--scale", nargs="+", default=[], metavar="SENSOR=NUMBER", help="of digital numbers")
    images.add_argument("--offset", nargs="+", default=[], metavar="SENSOR=NUMBER", help="added before they are scaled")
    images.add_argument("--normalised", action="store_true", help="values come normalised; else the file does it")
    result = parser.add_argument_group("result")
    result.add_argument("--output", choices=("pooled", "grid", "both"), default="both")
    result.add_argument("--layers", nargs="+", type=int, default=[-1], help="-1, the last")
    result.add_argument("--pooling", choices=("mean", "max", "cls"), default="mean")
    result.add_argument("--group-merge", choices=("mean", "sum", "concat"), default="mean")
    weights = parser.add_argument_group("weights: the published ones, or")
    weights.add_argument("--ckpt", help="a file")
    weights.add_argument("--revision", help="a revision of the published ones")
    weights.add_argument("--random-weights", action="store_true", help="random ones, to try things out")
    add("--option", nargs="+", default=[], metavar="NAME=VALUE", help="of the encoder and its preprocessing")
    return parser
