"""Indices of public data sets: which files, dates, labels and splits belong together (``python -m eo_data.index``).

The files are written below the root of the data set, as `eo_data.catalog.index_table.from_index` reads them:
``pastis`` (PASTIS and PASTIS-R), ``biomassters``, and ``classes`` for scenes in one folder per class (EuroSAT).
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
from eo_data.catalog.known.biomassters import biomassters_rows
from eo_data.catalog.known.class_folders import class_rows
from eo_data.catalog.known.pastis import _PASTIS, pastis_rows, pastis_statistics


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m eo_data.index", description="Write the index of a data set.")
    kinds = parser.add_subparsers(dest="kind", required=True)
    pastis = kinds.add_parser("pastis", help="PASTIS, PASTIS-R; writes statistics_<modality>.yaml, too")
    biomassters = kinds.add_parser("biomassters", help="BioMassters")
    biomassters.add_argument("--val-share", type=float, default=0.1, help="of the training chips (0.1)")
    classes = kinds.add_parser("classes", help="scenes in one folder per class, such as EuroSAT")
    classes.add_argument("--folder", default=".", help="that holds the folders of the classes, below the root")
    classes.add_argument("--files", default="*.tif", help="pattern of the scenes in it (*.tif)")
    classes.add_argument("--modality", default="image", help="name of the modality in the config (image)")
    classes.add_argument("--split", action="append", default=[], metavar="SPLIT=FILE", help="train=train.txt")
    for command in (pastis, biomassters, classes):
        command.add_argument("root", type=Path, help="folder of the data set")
        command.add_argument("--out", default="index.json", help="file below the root (index.json)")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; faults of the input end it with a message and exit code 2."""
    parser = _parser()
    given = parser.parse_args(arguments)
    lines: list[str] = []
    try:
        if given.kind == "pastis":
            rows = pastis_rows(given.root)
            for name in (name for name in _PASTIS if rows and name in rows[0]):
                statistics = yaml.safe_dump(pastis_statistics(given.root, name), sort_keys=False, width=120)
                write_text(given.root / f"statistics_{name}.yaml", statistics)
        elif given.kind == "biomassters":
            rows = biomassters_rows(given.root, given.val_share)
        else:
            splits = dict(text.partition("=")[::2] for text in given.split)
            rows, names = class_rows(given.root, given.folder, given.modality, given.files, splits)
            lines += [f"class {number}: {name}" for number, name in enumerate(names)]
        write_text(given.root / given.out, "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    except (ValueError, OSError) as error:
        parser.error(str(error))
    counts = Counter(row.get("split", "no split") for row in rows)
    lines.append(f"{given.root / given.out}: " + ", ".join(f"{n} {split}" for split, n in counts.items()))
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
