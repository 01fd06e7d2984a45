"""Compute what areas cost from measured speeds: the tables of ``docs/scaling.md``.

    python benchmarks/scaling_table.py                # the tables, from the speeds below
    python benchmarks/scaling_table.py --measure      # the speed of one core here first: a minute

Hours are km2 divided by the km2/s of the encoder alone and by the share of each window that is kept.
Speeds of the H100 are those of `benchmarks/gpu.py`; those of a core are CPU seconds of one thread, which do not count
the time when another process has the core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass

#: Land, km2: Germany, Europe to the Urals, and all land of the earth.
AREAS = {"Germany": 357_000, "Europe": 10_200_000, "all land": 149_000_000}
#: Assumed prices in USD: an hour of one core, an hour of an H100, a GB in an object store for a month.
CORE_HOUR, H100_HOUR, GB_MONTH = 0.04, 3.0, 0.023
#: Share of a window that is kept: 288 px with a halo of 48 px for THOR, 96 px without a halo for AnySat.
HALO, NO_HALO = ((288 - 2 * 48) / 288) ** 2, 1.0
#: km2/s that one process reads, prepares and writes: a Sentinel-2 tile of 12 056 km2 took 480 s on two cores with THOR
#: tiny, and the encoder had 80 % of them.
FED = 12_056 / (0.2 * 480)


@dataclass(frozen=True)
class Work:
    """An encoder on one input.

    Parameters
    ----------
    name : str
        What is encoded.
    kept : float
        Share of a window that is kept.
    cell, width : int
        Side of a cell in metres, and numbers in its vector.
    core, h100_tf32, h100_bf16 : float
        km2/s of the encoder alone, of whole windows: one core in float32, and an H100.
    dates : int
        Vectors of a place and year, each of one run of the encoder.
    """

    name: str
    kept: float
    cell: int
    width: int
    core: float
    h100_tf32: float
    h100_bf16: float
    dates: int = 1

    def hours(self, km2: float, speed: float) -> float:
        """Hours of an area at a speed of whole windows."""
        return km2 * self.dates / (speed * self.kept) / 3600

    def terabytes(self, km2: float, bytes_of_number: float) -> float:
        """Storage of an area before compression."""
        return km2 * self.dates * 1e6 / self.cell**2 * self.width * bytes_of_number / 1e12


WORK = (
    Work("THOR tiny, one date", HALO, 80, 192, 11.1, 6552, 24829),
    Work("THOR base, one date", HALO, 80, 768, 1.43, 1565, 5752),
    Work("AnySat base, one date", NO_HALO, 40, 768, 0.069, 140, 159),
    Work("THOR tiny, 12 dates", HALO, 80, 192, 11.1, 6552, 24829, 12),
    Work("THOR base, 12 dates", HALO, 80, 768, 1.43, 1565, 5752, 12),
    Work("AnySat base, a series of 12 dates", NO_HALO, 40, 768, 0.0428, 52, 51),
)


def measure() -> Iterator[str]:
    """Yield km2 a CPU second of one thread, of whole windows."""
    import torch
    from gpu import Case

    torch.set_num_threads(1)
    for case in (
        Case("thor tiny", 288),
        Case("thor base", 288),
        Case("anysat base T1 p40", 96, 1, 40),
        Case("anysat base T12 p40", 96, 12, 40),
    ):
        model, batch = case.model(), case.batch(1)
        best = float("inf")
        with torch.inference_mode():
            for _ in range(4):
                start = time.process_time()
                model(batch)
                best = min(best, time.process_time() - start)
        yield f"{case.name}: {case.km2 / best:.3g} km2/s ({best:.2f} s a window)"


def number(value: float) -> str:
    """Two digits that count, with thousands apart."""
    return f"{float(f'{value:.2g}'):,.0f}".replace(",", " ") if value >= 10 else f"{value:.2g}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Rows as Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---", *["---:"] * (len(head) - 1)], *rows)) + "\n"


def speeds() -> str:
    """What is kept in a second, and how many processes keep an H100 busy."""
    rows = []
    for work in WORK:
        if work.name.endswith("12 dates") and "series" not in work.name:
            continue
        kept = [speed * work.kept for speed in (work.core, work.h100_tf32, work.h100_bf16)]
        rows.append([work.name, *(number(value) for value in kept), number(max(kept[2] / FED, 1))])
    return table(["", "a core, km2/s", "H100 tf32, km2/s", "H100 bf16, km2/s", "processes that feed it"], rows)


def time_and_price() -> str:
    """Hours and USD, by area and machine."""
    rows = []
    for work in WORK:
        for place, km2 in AREAS.items():
            core, tf32, bf16 = (work.hours(km2, speed) for speed in (work.core, work.h100_tf32, work.h100_bf16))
            cells = [number(core), number(core * CORE_HOUR), number(tf32), number(bf16), number(bf16 * H100_HOUR)]
            rows.append([f"{work.name}, {place}", *cells])
    return table(["", "core hours", "USD", "H100 hours, tf32", "H100 hours, bf16", "USD (bf16)"], rows)


def storage() -> str:
    """Terabytes before compression, by area and format."""
    rows = []
    for work in WORK:
        for place, km2 in AREAS.items():
            floats, halves, bytes_ = (work.terabytes(km2, size) for size in (4, 2, 1))
            components = bytes_ * 64 / work.width
            cells = [number(value) for value in (floats, halves, bytes_, components)]
            rows.append([f"{work.name}, {place}", *cells, number(bytes_ * 1000 * GB_MONTH)])
    head = ["", "float32, TB", "float16, TB", "int8, TB", "PCA 64 + int8, TB", "int8, USD a month"]
    return table(head, rows)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="measure one core here, and print that alone")
    if parser.parse_args().measure:
        for line in measure():
            print(line, flush=True)
        return
    print(speeds())
    print(time_and_price())
    print(storage())


if __name__ == "__main__":
    main()
