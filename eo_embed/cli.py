"""Earth-observation embeddings: from files, products and places to vectors and maps.

Examples
--------
  eo embed thor_v1_base scene.tif --out out/scene
  eo embed anysat_base --point 121.5 31.2 2048 --time 2022-06-01 2022-09-01 --source scenes --out out/place
  eo map out/place
  eo inspect --facts scene.tif
  eo config copy quickstart_fit && eo run fit --config config/quickstart_fit.yaml
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType

#: Module and function of each command, and what it does. They are imported when they are asked for.
COMMANDS: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "run": ("eo_cli.run.command", "main", "terratorch fit, validate, test or predict with a quiet terminal"),
        "embed": ("eo_embed.one_call.command", "main", "embeddings of files, products or places"),
        "merge": ("eo_embed.merge", "main", "one export of all shards below a folder"),
        "map": ("eo_embed.map.command", "main", "an export as one HTML page"),
        "pictures": ("eo_embed.pictures.command", "main", "the grids of an export as pictures"),
        "convert": (
            "eo_embed.reading.publishing.command",
            "main",
            "an export as Zarr, COGs or GeoParquet that others read",
        ),
        "stac": ("eo_embed.reading.publishing.stac_command", "main", "a STAC catalogue of an export"),
        "probe": ("eo_embed.probe", "main", "how well labels can be read off an export"),
        "inspect": ("eo_data.inspect", "main", "what happens to a sample on its way to the encoder"),
        "statistics": ("eo_data.statistics", "main", "mean and deviation of a data set's bands"),
        "index": ("eo_data.index", "main", "an index table of a data set"),
        "doctor": ("eo_cli.doctor.command", "main", "versions, machine, weights, disk, and what to do"),
        "config": ("eo_cli.config", "main", "recipes by name, a config with its includes, or that of a checkpoint"),
    }
)


def usage() -> str:
    """Return what `eo --help` prints."""
    rows = "\n".join(f"  {name:<11} {text}" for name, (_, _, text) in COMMANDS.items())
    summary, _, examples = (__doc__ or "").partition("\n\n")
    return (
        f"usage: eo COMMAND ...\n\n{summary}\n\ncommands:\n{rows}\n\n`eo COMMAND --help` says more. Training and "
        f"large exports: `eo run fit` and `eo run predict`.\n\n{examples}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; an unknown one ends with a message and exit code 2."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        sys.stdout.write(usage())
        sys.exit(0 if given else 2)
    if given[0] not in COMMANDS:
        sys.stderr.write(f"eo: there is no command {given[0]!r}. Valid: {', '.join(COMMANDS)}.\n")
        sys.exit(2)
    module, function, _ = COMMANDS[given[0]]
    sys.exit(getattr(importlib.import_module(module), function)(given[1:]))


if __name__ == "__main__":
    main()
