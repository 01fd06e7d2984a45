"""One export of all shards below a folder, as one process would have made it.

Examples
--------
  terratorch predict --config embed.yaml --data.init_args.shard '{index: 0, of: 3}'   # and 1, and 2
  python -m eo_embed.merge out/embeddings
  eo merge out/embeddings --remove-shards

The exit code is 0 if all is there; 1 if the whole is there, but for items that failed where that is an error
(on_error: raise, or there are no others); 2 if nothing was made, as shards are missing, not finished, or do not belong
together.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eo_embed.writers.layout import MANIFEST

if TYPE_CHECKING:
    from eo_embed.export.shards.whole import Merged

#: How many failed items are named.
_NAMED = 5


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="eo merge", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder that the shards were exported to: what lies below is shards/")
    parser.add_argument("--remove-shards", action="store_true", help="remove the shards once the whole is there")
    parser.add_argument("--take-over", action="store_true", help="go on where a run on another machine left a lock")
    given = parser.parse_args(arguments)
    from eo_embed.export.shards.whole import merge_shards  # noqa: PLC0415  (--help need not wait)

    try:
        merged = merge_shards(given.folder, remove=given.remove_shards, take_over=given.take_over)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    size = merged.counts["bytes"] / 1e6
    sys.stdout.write(
        f"{merged.shards} shards are one export: {merged.items:,} items, {len(merged.failures):,} failed, {size:,.1f} "
        f"megabytes\nmanifest  {given.folder / MANIFEST}\n"
    )
    if merged.failures:
        sys.stderr.write(_told(merged, given.folder))
        # As of one process: failures may be skipped where there is anything else.
        sys.exit(int(merged.on_error == "raise" or not merged.items))


def _told(merged: Merged, folder: Path) -> str:
    lines = [f"failed: {row['id']}: {row['reason']}" for row in merged.failures[:_NAMED]]
    if len(merged.failures) > _NAMED:
        lines.append(f"... {len(merged.failures)} in all, see {folder / 'failures.csv'}")
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()
