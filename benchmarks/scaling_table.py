"""Compute hours, cost and storage of a country, a continent and the land surface from measured speeds.

    python benchmarks/scaling_table.py             # the tables of docs/scaling.md
    python benchmarks/scaling_table.py --measure   # time the encoders on one core of this machine first

Only speeds are measured: on a GPU by `benchmarks/gpu.py`, on a core by ``--measure``. They are noted below, to be
exchanged for newer ones. All else is arithmetic with the areas, prices and settings that stand here.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

#: Square kilometres.
AREAS = {"Germany": 357_000.0, "Africa": 30_370_000.0, "land surface": 149_000_000.0}
#: Part of a window that is kept with the default halo, a sixth of its side.
KEPT = (2 / 3) ** 2
#: Dollars, assumed: an H100 an hour, a core an hour, a TB for a month in an object store.
GPU_HOUR, CORE_HOUR, TB_MONTH = 3.0, 0.04, 23.0
#: Dates of "a year": one a month.
DATES = 12
#: Bytes of a vector's number, and those of a vector besides, by how it is stored.
FORMATS = {"float32": (4, 0), "float16": (2, 0), "int8, scale a cell": (1, 4)}
PCA = 64


@dataclass(frozen=True)
class Encoder:
    """An encoder with its settings, and what was measured of it.

    Parameters
    ----------
    name : str
        Name in the tables.
    case : str
        Name in `benchmarks/throughput/cases.py`.
    dimensions : int
        Numbers in a vector.
    cell : float
        Side of a cell in metres.
    core : float
        Square kilometres a second on one core, float32, encoder alone, whole windows.
    gpu : float
        The same on an H100 with bfloat16.
    gpu_with_copies : float
        The same with copies to the GPU and of all vectors back.
    frames : int
        Dates that one window holds.
    """

    name: str
    case: str
    dimensions: int
    cell: float
    core: float
    gpu: float
    gpu_with_copies: float
    frames: int = 1

    def passes(self, dates: int) -> int:
        """Windows of one place that so many dates take."""
        return -(-dates // self.frames)

    def hours(self, area: float, speed: float, dates: int = 1) -> float:
        """Hours to encode an area, halo included."""
        return area * self.passes(dates) / (speed * KEPT) / 3600

    def bytes_a_km2(self, form: str, dimensions: int | None = None) -> float:
        """Bytes of the vectors of a square kilometre before compression."""
        number, beside = FORMATS[form]
        return (1000 / self.cell) ** 2 * ((dimensions or self.dimensions) * number + beside)


ENCODERS = (
    Encoder("THOR tiny", "THOR tiny", 192, 80, core=10.2, gpu=26_190, gpu_with_copies=6_912),
    Encoder("THOR base", "THOR base", 768, 80, core=1.18, gpu=5_939, gpu_with_copies=1_593),
    Encoder("AnySat base, 1 date", "AnySat base 96 px T1 p40", 768, 40, core=0.066, gpu=172, gpu_with_copies=160),
    Encoder(
        "AnySat base, 12 dates",
        "AnySat base 96 px T12 p40",
        768,
        40,
        core=0.040,
        gpu=63.4,
        gpu_with_copies=61.4,
        frames=DATES,
    ),
)


def measured(encoders: Sequence[Encoder], repeats: int = 3) -> Iterator[Encoder]:
    """Time encoders on one core, by the processor's time, which does not count other work of the machine."""
    import torch
    from throughput.cases import CASES
    from throughput.clock import computing

    torch.set_num_threads(1)
    cases = {case.name: case for case in CASES}
    for encoder in encoders:
        case = cases[encoder.case]
        model, data, times = case.model(), case.batch(1), list[float]()
        with computing("float32", "cpu"), torch.inference_mode():
            for _ in range(1 + repeats):
                start = time.process_time()
                model(data)
                times.append(time.process_time() - start)
        yield replace(encoder, core=case.km2 / min(times[1:]))


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table of Markdown."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def number(value: float) -> str:
    """Two or three digits, thousands apart."""
    if value >= 100:
        digits = len(f"{value:.0f}") - 3
        return f"{round(value / 10**digits) * 10**digits:,}".replace(",", " ")
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def speeds(encoders: Sequence[Encoder]) -> str:
    """Square kilometres a second, as measured, and what remains with the halo."""
    head = ["km2/s", "one core", "H100", "H100 with copies", "one core, kept", "H100, kept", "H100 with copies, kept"]
    rows = []
    for encoder in encoders:
        found = (encoder.core, encoder.gpu, encoder.gpu_with_copies)
        rows.append([encoder.name, *map(number, found), *(number(speed * KEPT) for speed in found)])
    return table(head, rows)


def work(encoders: Sequence[Encoder]) -> str:
    """Hours and dollars by area, for one date and a year of dates."""
    head = ["", "dates", "area", "core hours", "$ of cores", "H100 hours", "$", "H100 hours with copies", "$"]
    rows = []
    for encoder in encoders:
        for dates in (1, DATES) if encoder.frames == 1 else (DATES,):
            for name, area in AREAS.items():
                core, gpu, copies = (
                    encoder.hours(area, speed, dates) for speed in (encoder.core, encoder.gpu, encoder.gpu_with_copies)
                )
                money = (core, core * CORE_HOUR, gpu, gpu * GPU_HOUR, copies, copies * GPU_HOUR)
                rows.append([encoder.name, dates, name, *map(number, money)])
    return table(head, rows)


def storage(encoders: Sequence[Encoder]) -> str:
    """Bytes of the vectors of one date, or of one series."""
    head = ["", "stored as", "kB/km2", *(f"{name}, TB" for name in AREAS), "land surface, $ a month"]
    rows = []
    for encoder in {(one.dimensions, one.cell): one for one in encoders}.values():
        kinds = [(form, encoder.dimensions, form) for form in FORMATS]
        kinds.append((f"PCA to {PCA}, int8, scale a cell", PCA, "int8, scale a cell"))
        for shown, dimensions, form in kinds:
            size = encoder.bytes_a_km2(form, dimensions)
            whole = [size * area / 1e12 for area in AREAS.values()]
            name = encoder.name.split(",")[0]
            rows.append([name, shown, number(size / 1e3), *map(number, [*whole, whole[-1] * TB_MONTH])])
    return table(head, rows)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="time the encoders on one core of this machine first")
    options = parser.parse_args()
    encoders = tuple(measured(ENCODERS)) if options.measure else ENCODERS
    for part in (speeds, work, storage):
        print(part(encoders))


if __name__ == "__main__":
    main()
