"""``python -m tests.faults --cases 10000 --faults 300 --seed 0``: broken inputs and faults, as one table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "helpers"))

from tests.faults.inputs.cases import run_hostile, run_inputs, show_case
from tests.faults.outcome import Tally, table
from tests.faults.runs.cases import run_faults, show_fault

#: How many bad cases of a kind are listed.
_LISTED = 25


def main() -> None:
    """Run the command; exit code 1 if anything happened that must not."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--cases", type=int, default=300, help="broken inputs (10000 are the whole)")
    parser.add_argument("--faults", type=int, default=15, help="faults of runs (300 are the whole)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--case", help="run one case by its name, such as 'tiff lzw tiled:12'")
    parser.add_argument("--fault", type=int, help="run one fault by its number")
    parser.add_argument("--listed", type=int, default=_LISTED, help="how many bad cases of a kind are listed")
    given = parser.parse_args()
    if given.case:
        sys.stdout.write(f"{given.case}: {show_case(given.case, given.seed)}\n")
        return
    if given.fault is not None:
        sys.stdout.write(f"fault {given.fault}: {show_fault(given.fault, given.seed)}\n")
        return
    tallies: list[Tally] = run_inputs(given.cases, given.seed, given.workers) if given.cases else []
    tallies += [run_hostile(given.workers)] if given.cases else []
    tallies += run_faults(given.faults, given.seed, given.workers) if given.faults else []
    sys.stdout.write(table(tallies) + "\n")
    for tally in tallies:
        for case, why in sorted(tally.bad)[: given.listed]:
            sys.stdout.write(f"  {case}: {why}\n")
    sys.exit(any(tally.bad for tally in tallies))


if __name__ == "__main__":
    main()
