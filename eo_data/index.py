"""Write which files, dates and labels of a data set belong together (``python -m eo_data.index``).

The files are written below the root of the data set, as `eo_data.catalog.index_table.from_index` reads them. The data
sets are those of `eo_data.catalog.known.tables`: ``pastis`` (PASTIS and PASTIS-R), ``biomassters``, and ``classes``
for scenes in one folder per class (EuroSAT).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import yaml

from eo_core.files import write_text
from eo_data.catalog.known.kinds import IndexContent
from eo_data.catalog.known.tables import KNOWN_INDICES

_EXAMPLES = """examples:
  eo index pastis datasets/pastis_r
  eo index classes datasets/eurosat --out index.json
  eo index pastis --help          # options of one kind
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="eo index",
        description="Write the index of a data set.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="kind", required=True)
    for known in KNOWN_INDICES:
        command = commands.add_parser(known.name, help=known.summary)
        known.add_options(command)
        command.add_argument("root", type=Path, help="folder of the data set")
        command.add_argument("--out", default="index.json", help="file below the root (index.json)")
        command.set_defaults(make=known.make)
    return parser


def _write(content: IndexContent, root: Path, out: str) -> None:
    for name, statistics in content.statistics.items():
        text = yaml.safe_dump(dict(statistics), sort_keys=False, width=120)
        write_text(root / f"statistics_{name}.yaml", text)
    write_text(root / out, "[\n" + ",\n".join(json.dumps(row) for row in content.rows) + "\n]\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; faults of the input end it with a message and exit code 2."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        content: IndexContent = options.make(options)
        _write(content, options.root, options.out)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    lines = [f"class {number}: {name}" for number, name in enumerate(content.classes)]
    counts = Counter(row.get("split", "no split") for row in content.rows)
    lines.append(f"{options.root / options.out}: " + ", ".join(f"{n} {split}" for split, n in counts.items()))
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
