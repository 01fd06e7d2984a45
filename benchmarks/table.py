"""Write the tables of `benchmarks/README.md` from the JSON files in `benchmarks/results`.

    python benchmarks/table.py            # after a new result
    python benchmarks/table.py --check    # fail if the README is not what the results give
    python benchmarks/table.py --csv benchmarks/results/NAME.json    # rows for the public throughput bench

Speeds are measured, costs are computed from them and from ``prices.json``; ``peers.json`` has what others publish.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
README, RESULTS = HERE / "README.md", HERE / "results"
BEGIN, END = "<!-- written by benchmarks/table.py: begin -->", "<!-- end -->"
#: Columns of calebrob6/throughput-bench that are filled; its fp32 has TF32 on, its amp is autocast.
BENCH = {"tf32": "fp32", "bf16": "amp", "bf16-mixed": "amp"}
BENCH_COLUMNS = (
    *("model_name", "display_name", "task", "precision", "compiled", "compile_mode", "gpu_name", "gpu_mem_gb"),
    *("batch_size", "throughput_median", "throughput_min", "throughput_max", "pixels_per_sec", "macs_G"),
    *("peak_memory_mb", "pytorch_version", "cuda_version", "timestamp"),
)
#: Ratios of exports by the clock, and by the time that cores were busy.
RATIOS = ("ours_is", "ours_is_by_cores")
Result = dict[str, Any]


def results(folder: Path, measured_by: str) -> list[tuple[str, Result]]:
    """Return the results of a script, by name, but those of quick runs."""
    read = ((path.stem, json.loads(path.read_text(encoding="utf-8"))) for path in sorted(folder.glob("*.json")))
    return [(name, one) for name, one in read if measured_by in one.get("measured_by", "") and not one.get("quick")]


def number(value: float | None) -> str:
    """Two or three digits, thousands apart; a dash for nothing."""
    if value is None:
        return "-"
    if value >= 100:
        digits = len(f"{value:.0f}") - 3
        return f"{round(value / 10**digits) * 10**digits:,}".replace(",", " ")
    if value >= 10:
        return f"{value:.0f}"
    return f"{float(f'{value:.2g}'):.9f}".rstrip("0").rstrip(".")


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table.

    Raises
    ------
    ValueError
        If a row has not as many cells as the head: they would stand in the wrong columns.
    """
    lines = [list(head), ["---"] * len(head), *map(list, rows)]
    if wrong := [line for line in lines if len(line) != len(head)]:
        msg = f"Expected {len(head)} cells ({', '.join(head)}), got {len(wrong[0])}: {' | '.join(wrong[0])}."
        raise ValueError(msg)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def price_of(device: Result, prices: Sequence[Result]) -> Result | None:
    """Return the price that is taken for a device."""
    kind, name = device.get("kind", "cuda"), device["name"]
    fits = (one for one in prices if one["device"] in name and one.get("kind", "cuda") == kind)
    return next(fits, None)


def dollars(row: Result, price: Result | None) -> float | None:
    """Return the cost of 1 000 km2: of the seconds of the card, or of those that the CPU's cores were busy."""
    if price is None:
        return None
    cost: float = price["dollars_an_hour"] / 3600 / _rate(row, price) * 1000
    return cost


def _rate(row: Result, price: Result) -> float:
    """Return km2 a second of what has the price: a card, or a core."""
    if price["per"] == "card":
        return float(row["km2_per_s"])
    return float(row["windows_per_core_s"] * row["km2_per_s"] / row["windows_per_s"])


def best(rows: Iterable[Result]) -> list[Result]:
    """Return of each encoder, precision and mode the batch that is quickest."""
    found: dict[tuple[str, ...], Result] = {}
    for row in rows:
        key = (row["case"], row["precision"], row["mode"])
        if key not in found or row["windows_per_s"] > found[key]["windows_per_s"]:
            found[key] = row
    return list(found.values())


def speed_rows(name: str, result: Result, prices: Sequence[Result]) -> Iterator[list[str]]:
    """Yield lines of the throughput table."""
    device = result["device"]
    price = price_of(device, prices)
    rows = [*result["rows"].get("encoder", ()), *result["rows"].get("compiled", ())]
    for row in best(rows):
        stated, tflops = device.get("stated_bf16_tflops"), row["tflops"]
        share = f"{tflops / stated:.0%}" if stated else f"{row['of_measured_peak']:.0%} of measured"
        yield [
            f"{row['encoder']}, {row['input']}",
            f"{row['precision']}, {row['mode']}",
            str(row["batch"] or "-"),
            number(row["windows_per_s"]),
            number(row.get("windows_per_core_s")),
            number(row["km2_per_s"]),
            number(tflops),
            share,
            number(dollars(row, price)),
            name,
        ]


def peer_rows(peers: Result, prices: Sequence[Result]) -> Iterator[list[str]]:
    """Yield the lines of others."""
    for row in peers["encoders"]:
        km2 = row["windows_per_s"] * (row["side"] * 0.01) ** 2
        device = {"name": row["device"]}
        yield [
            f"{row['case']}, {row['side']} px",
            f"{row['precision']}, {row['mode']}",
            str(row["batch"] or "-"),
            number(row["windows_per_s"]),
            "-",
            number(km2),
            "-",
            "-",
            number(dollars({"km2_per_s": km2}, price_of(device, prices))),
            f"{row['device']}: {row['source']}",
        ]


def throughput(folder: Path) -> str:
    """Return the throughput table, and how its costs are computed."""
    prices, peers = (json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in ("prices", "peers"))
    measured = results(folder, "benchmarks/gpu.py")
    head = (
        "encoder, image",
        "precision",
        "batch",
        "img/s",
        "img / core s",
        "km2/s",
        "TFLOP/s",
        "of bf16 peak",
        "$ / 1 000 km2",
        "from",
    )
    lines = [line for name, one in measured for line in speed_rows(name, one, prices["prices"])]
    lines += peer_rows(peers, prices["prices"])
    parts = [markdown(head, lines)]
    parts += [f"- *{name}*: {machine(one)}" for name, one in measured]
    parts += [
        f"- *$*: {one['dollars_an_hour']} an hour and {one['per']} ({one['what']}; {one['source']})"
        for one in prices["prices"]
    ]
    parts.append(arithmetic(measured, prices["prices"]))
    whole = [(one["work"], one["figure"], one["source"]) for one in peers["whole_runs"]]
    parts.append("Whole runs of others, as they state them:\n\n" + markdown(("work", "figure", "source"), whole))
    return _joined(parts)


def machine(result: Result) -> str:
    """Return what a result was measured on and by."""
    device = result["device"]
    about = [device["name"]]
    if device.get("features"):
        about.append(f"{device['threads']} threads, {', '.join(device['features'])}")
    if device.get("load"):
        about.append(f"load {device['load'][0]:.1f} before")
    about.append(f"PyTorch {device['torch']}")
    left = len(result.get("left_out", ()))
    note = f"; {result['note']}" if result.get("note") else ""
    return f"{', '.join(about)}, {result['date']}, {result['measured_by']}{note}" + (
        f"; {left} measurements left out, see its `left_out`" if left else ""
    )


def arithmetic(measured: Sequence[tuple[str, Result]], prices: Sequence[Result]) -> str:
    """Return the way from a speed to a cost, for the first row of each device."""
    lines = [
        "Cost of 1 000 km2 = $ an hour / 3 600 s / (km2/s of a card, or of a busy core) x 1 000; the encoder alone, "
        "windows without overlap:"
    ]
    for name, one in measured:
        price, rows = price_of(one["device"], prices), one["rows"].get("encoder", ())
        if price is not None and rows:  # a run that ended early has none
            row = best(rows)[0]
            rate = f"{_rate(row, price):.4g} km2/s and {price['per']}"
            of = f"{name}, {row['case']}, {row['precision']}"
            cost = number(dollars(row, price))
            lines.append(f"- {of}: {price['dollars_an_hour']} / 3 600 / {rate} x 1 000 = ${cost}")
    return "\n".join(lines)


def published(folder: Path) -> str:
    """Return how we stand to the published code, timed in turns in one process."""
    head = ("encoder, image", "precision", "batch", "ours, img/s", "published, img/s", "ratio", "difference", "from")
    rows = [
        (
            f"{row['encoder']}, {row['input']}",
            row["precision"],
            str(row["batch"]),
            number(row["windows_per_s"]),
            number(row["published_windows_per_s"]),
            f"{row['ratio']:.2f} ({row['lowest_ratio']:.2f}..{row['highest_ratio']:.2f})",
            f"{row['difference']:.1e}",
            name,
        )
        for name, one in results(folder, "benchmarks/gpu.py")
        for row in one["rows"].get("published", ())
    ]
    return markdown(head, rows) if rows else "Not measured."


def training(folder: Path) -> str:
    """Return seconds of steps of training."""
    head = ("encoder, image", "precision", "trained", "batch", "s a step", "img/s", "from")
    rows = [
        (
            f"{row['encoder']}, {row['input']}",
            row["precision"],
            {"head": "a linear head", "all": "all weights"}[row["trained"]],
            str(row["batch"]),
            number(row["s_per_step"]),
            number(row["windows_per_s"]),
            name,
        )
        for name, one in results(folder, "benchmarks/gpu.py")
        for row in one["rows"].get("fit", ())
    ]
    return markdown(head, rows) if rows else "Not measured."


def golden(folder: Path) -> str:
    """Return the largest errors against golden vectors, by device and precision."""
    lines = []
    for name, one in results(folder, "benchmarks/gpu.py"):
        rows = one["rows"].get("golden", ())
        for precision in dict.fromkeys(row["precision"] for row in rows):
            own = [row for row in rows if row["precision"] == precision]
            worst = max(own, key=lambda row: row["error"])
            lines.append((name, precision, str(len(own)), f"{worst['error']:.1e}", worst["case"]))
    head = ("from", "precision", "cases", "largest error", "in")
    return markdown(head, lines) if lines else "Not measured."


def exports(folder: Path) -> str:
    """Return the export table, and that of the start."""
    head = ("THOR", "output", "by", "chips/s", "km2/s", "encoder's share", "ours is", "by cores", "peak MiB", "from")
    rows, starts = [], []
    for name, one in results(folder, "benchmarks/export.py"):
        asked = one["asked"]
        km2 = (int(asked["side"]) * 0.01) ** 2
        told = (asked["precision"], asked.get("engine", "pytorch"))
        how = ", ".join((asked["matmul"], *(one for one in told if one not in ("default", "pytorch"))))
        rows += [
            (
                f"{asked['size']}, {asked['side']} px, {how}",
                row["output"],
                row["kind"],
                f"{row['items_per_s']:.2f} ({row['slowest']:.2f}..{row['quickest']:.2f})",
                number(row["items_per_s"] * km2),
                "-" if row["encoder"] is None else f"{row['encoder']:.0%}",
                *("" if row["kind"] == "ours" or not row[key] else f"{row[key]:.2f}x" for key in RATIOS),
                str(row["peak_mib"]),
                name,
            )
            for row in one["summary"]
        ]
        for row in one.get("start_summary", ()):
            imported = f"{row['import_s']:.1f}" if row["import_s"] else "-"
            starts.append((row["way"], imported, f"{row['first_s']:.1f}", name))
    parts = [markdown(head, rows)] if rows else ["Not measured."]
    if starts:
        about = "From the start of a process to its first embedding, medians in seconds:"
        parts.append(about + "\n\n" + markdown(("way", "imported", "first embedding", "from"), starts))
    return _joined(parts)


def engines(folder: Path) -> str:
    """Return what runs one batch on a CPU, and how much faster than PyTorch."""
    head = ("encoder", "input, batch", "engine", "seconds", "x PyTorch", "start, s", "difference", "from")
    rows = [
        (
            row["encoder"],
            f"{row['input']}, patch {row['patch']}, {row['batch']}",
            row["engine"],
            number(row["seconds"]),
            f"{row['speedup']:.2f}",
            number(row["start_s"]),
            f"{row['difference']:.1e}",
            name,
        )
        for name, one in results(folder, "benchmarks/engines.py")
        for row in one["rows"]
    ]
    return markdown(head, rows) if rows else "Not measured."


def _joined(parts: Sequence[str]) -> str:
    """Join parts by empty lines, but lines of a list."""
    text = ""
    for part in parts:
        near = part.startswith("- ") and text.rpartition("\n")[2].startswith("- ")
        text += ("" if not text else "\n" if near else "\n\n") + part
    return text


def generated(folder: Path) -> str:
    """Return all that stands between the marks of the README."""
    sections = {
        "Encoders": throughput(folder),
        "Equality to the published encoders": golden(folder),
        "Beside the published code": published(folder),
        "Steps of training": training(folder),
        "Exports": exports(folder),
        "Engines on a CPU": engines(folder),
    }
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())


def bench_rows(result: Result) -> Iterator[dict[str, Any]]:
    """Yield rows in the columns of calebrob6/throughput-bench; what it counts otherwise is left out."""
    device = result["device"]
    for row in [*result["rows"].get("encoder", ()), *result["rows"].get("compiled", ())]:
        if row["precision"] not in BENCH:
            continue
        side = int(row["input"].split(" px")[0])
        slowest, quickest = (row["batch"] / row[key] if row.get(key) else None for key in ("longest_s", "shortest_s"))
        yield {
            "model_name": row["case"].lower().replace(" ", "_"),
            "display_name": f"{row['case']} ({row['input']})",
            "task": "embedding",
            "precision": BENCH[row["precision"]],
            "compiled": row["mode"] == "compiled",
            "compile_mode": "default" if row["mode"] == "compiled" else "none",
            "gpu_name": device["name"],
            "gpu_mem_gb": device.get("memory_gib"),
            "batch_size": row["batch"],
            "throughput_median": round(row["windows_per_s"], 2),
            "throughput_min": slowest and round(slowest, 2),
            "throughput_max": quickest and round(quickest, 2),
            "pixels_per_sec": round(row["windows_per_s"] * side**2),
            "macs_G": round(row["gflop_per_window"] / 2, 2),
            "peak_memory_mb": row.get("peak_gib") and round(row["peak_gib"] * 1024, 1),
            "pytorch_version": device["torch"],
            "cuda_version": device.get("cuda"),
            "timestamp": result["date"],
        }


def main() -> None:
    """Write, check, or print rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail if the README is not what the results give")
    parser.add_argument("--csv", type=Path, help="print this result's rows for the public throughput bench")
    options = parser.parse_args()
    if options.csv:
        writer = csv.DictWriter(sys.stdout, BENCH_COLUMNS)
        writer.writeheader()
        writer.writerows(bench_rows(json.loads(options.csv.read_text(encoding="utf-8"))))
        return
    before, mark, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        parser.error(f"{README} must have the lines {BEGIN!r} and {END!r}, between which the tables stand.")
    text = f"{before}{BEGIN}\n\n{generated(RESULTS)}\n\n{END}{after}"
    if options.check:
        if text != README.read_text(encoding="utf-8"):
            parser.error("benchmarks/README.md is not what benchmarks/results gives: run python benchmarks/table.py.")
        return
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
