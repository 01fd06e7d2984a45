"""Look at the installation and the machine: versions, threads, GPU, weights, disk, and what to do.

Ends with exit code 1 if something that everybody needs does not work, else with 0. TerraTorch is not imported, nothing
is fetched, and nothing is written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

_EXAMPLES = """examples:
  eo doctor
  eo doctor > doctor.txt     # goes into a report of a fault; it has folders of this machine, no credentials
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report."""
    parser = argparse.ArgumentParser(
        prog="eo doctor",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(arguments)
    from eo_cli.doctor.findings import Part, is_broken, report  # noqa: PLC0415  (--help need not wait)
    from eo_cli.doctor.machine import look_at_disk, look_at_machine  # noqa: PLC0415
    from eo_cli.doctor.packages import look_at_packages  # noqa: PLC0415
    from eo_cli.doctor.weights import cache_folder, look_at_weights  # noqa: PLC0415

    parts: list[Part] = [look_at_packages()]
    if not is_broken(parts):  # else the rest cannot be asked
        parts += [look_at_machine(), look_at_weights(), look_at_disk(cache_folder())]
    print(report(parts))  # noqa: T201
    return int(is_broken(parts))


if __name__ == "__main__":
    sys.exit(main())
