"""How much of a label an embedding holds: ``python -m eo_embed.probe EXPORT LABELS``.

Fits small models on pooled vectors of an export and scores them on samples that they have not seen, beside a baseline
that sees no vector at all.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eo_core.lazy import lazy_attributes
from eo_embed.reading.probing.names import DEFAULT_PROBES, PROBES, TASKS

if TYPE_CHECKING:
    from eo_embed.reading.probing.run import ProbeOptions, probe

__all__ = ["ProbeOptions", "main", "probe"]

# They load pandas and scikit-learn, seconds that --help need not wait.
__getattr__, __dir__ = lazy_attributes(
    __name__, {"ProbeOptions": "eo_embed.reading.probing.run", "probe": "eo_embed.reading.probing.run"}
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="eo probe",
        description="Score small models on the pooled vectors of an export, with confidence intervals.",
        epilog="examples:\n  eo probe out/fields crops.csv --label crop --split split\n"
        "  eo probe out/fields yields.parquet --label t_per_ha --task regression",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("export", type=Path, help="folder of the export, with output: pooled or both")
    parser.add_argument("labels", type=Path, help="table with a column id: CSV, Parquet, GeoJSON, GeoPackage")
    parser.add_argument("--label", default="label", metavar="COLUMN", help="of the classes or values (label)")
    parser.add_argument("--task", default=TASKS[0], choices=TASKS, help="classification by default")
    every = sorted({name for names in PROBES.values() for name in names})
    usual = "; ".join(f"{task}: {' '.join(names)}" for task, names in DEFAULT_PROBES.items())
    parser.add_argument("--probe", nargs="+", default=[], choices=every, help=usual)
    parser.add_argument("--layer", default="", help="if the export has several")
    division = parser.add_mutually_exclusive_group()
    division.add_argument("--split", metavar="COLUMN", help="with train and test; what is neither is left out")
    division.add_argument("--test-fraction", type=float, default=0.2, help="of a random division (0.2)")
    parser.add_argument("--group", metavar="COLUMN", help="never divided; the source raster by default, id for none")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn (0)")
    parser.add_argument("--bootstrap", type=int, default=1000, help="resamples for the intervals (1000), 0 for none")
    parser.add_argument("--k", type=int, default=5, help="neighbours of knn (5)")
    parser.add_argument("--out", type=Path, help="folder of the report (EXPORT/probe/COLUMN)")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; faults of the input end it with a message and exit code 2."""
    parser = _parser()
    given = parser.parse_args(arguments)
    from eo_embed.reading.probing.report import write_report  # noqa: PLC0415  (as above)
    from eo_embed.reading.probing.run import ProbeOptions, probe  # noqa: PLC0415
    from eo_embed.reading.probing.table import Columns  # noqa: PLC0415

    try:
        options = ProbeOptions(
            given.task, given.probe, given.layer, given.test_fraction, given.seed, given.bootstrap, given.k
        )
        report = probe(given.export, given.labels, Columns(given.label, given.split, given.group), options)
        beside = given.export if given.export.is_dir() else given.export.parent
        own = re.sub(r"[^\w-]+", "_", f"{given.label}-{given.layer}" if given.layer else given.label)
        folder = write_report(report, given.out or beside / "probe" / own)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    notes = "".join(f"note: {note}\n" for note in report.notes)
    sys.stdout.write(f"{report.table()}\n{notes}report in {folder}\n")


if __name__ == "__main__":
    main()
