"""Embeddings with several encoders at work, on this machine or on a cluster of Ray.

Examples
--------
  python -m eo_embed.ray --config embed.yaml --concurrency 2
  python -m eo_embed.ray --config embed.yaml --concurrency 8 --gpus-per-actor 1 --address auto
  python -m eo_embed.ray --config embed.yaml --concurrency 2 --model.init_args.out out/two

The config is that of `terratorch predict`, and so are further arguments, and so is what comes out. The same command
goes on with a run that was interrupted. The exit code is 0 if all is there; 2 for any fault, also where the export is
complete but for items that failed (on_error: raise); 143 after SIGTERM.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m eo_embed.ray",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--config", type=Path, required=True, help="of terratorch predict, with the task eo_embed.EmbeddingTask")
    add("--concurrency", type=int, required=True, help="number of encoders at work, each in a process of its own")
    add("--address", help="of a cluster, or auto; without it, Ray starts on this machine and ends with the run")
    add("--cpus-per-actor", type=int, help="cores of each (default: this machine's shared out; on a cluster 1)")
    add("--gpus-per-actor", type=float, default=0.0, help="GPUs of each, or a part of one such as 0.5 (default: 0)")
    add("--tries", type=int, default=2, help="of a batch whose process ends, before its samples go alone (default: 2)")
    add("--object-store-memory", default="500 MB", help="for Ray on this machine (default: 500 MB)")
    given, others = parser.parse_known_args(arguments)
    from eo_embed.ray.driver import run_on_ray  # noqa: PLC0415  (--help need not wait)
    from eo_embed.ray.recipes import ConfigRecipe  # noqa: PLC0415

    try:
        summary = run_on_ray(
            ConfigRecipe(given.config.absolute(), others),
            given.concurrency,
            address=given.address,
            cpus_per_actor=given.cpus_per_actor,
            gpus_per_actor=given.gpus_per_actor,
            tries=given.tries,
            object_store_memory=given.object_store_memory,
        )
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    except SystemExit as end:
        # Ray ends the process after SIGTERM with the number of the signal.
        sys.exit(128 + signal.SIGTERM if end.code == signal.SIGTERM else end.code)
    sys.stdout.write(f"{summary}\n")
