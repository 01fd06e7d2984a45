"""Measure exports: ours against the peer's batch API and against TerraTorch's own task, each in a process of its own.

    python benchmarks/export.py --out benchmarks/results/NAME.json
    python benchmarks/export.py --size base --outputs pooled --runs 3
    python benchmarks/export.py --quick

64 chips of Sentinel-2 of 288 px as GeoTIFF, THOR with random weights, patches of 8 px. Kinds run in turns, as many
rounds as ``--runs``; a ratio is the median of the rounds' ratios, so that a machine whose load changes does not decide.

======= ===============================================================================================
ours    ``Trainer.predict`` with `eo_embed.EmbeddingTask`: find, read, encode, write, complete the export
stock   the same with TerraTorch's ``EmbeddingGenerationTask``, our data module and backbone
peer    rs-embed's ``get_embeddings_batch_from_data``: arrays in memory to arrays, nothing read or written;
        its Python is that of ``--peer-python``, by default of ``uv sync --project tests/parity``
======= ===============================================================================================

``encoder`` is the encoder's part of the time. The start is measured, too: from the start of a process to the first
embedding by `eo_embed.embed`, and to the first batch of ``terratorch predict``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from export_runs.asked import Asked
from export_runs.chips import write_chips
from export_runs.first_batch import predict_config
from throughput.peak import device_facts

HERE = Path(__file__).resolve().parent
KINDS = ("ours", "stock", "peer")
PEER_PYTHON = HERE.parent / "tests" / "parity" / ".venv" / "bin" / "python"
SIDE = 288
ASKED = ("size", "chips", "side", "batch", "workers", "matmul", "precision", "engine", "threads")


def environment(threads: int | None) -> dict[str, str]:
    """Return what processes are started with: our code, and the peer's word for random weights."""
    paths = [str(HERE), str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {"OMP_NUM_THREADS": str(threads)} if threads else {}
    return {**os.environ, **own, "PYTHONPATH": os.pathsep.join(paths), "RS_EMBED_THOR_PRETRAINED": "0"}


def run(command: list[str], threads: int | None) -> str:
    """Return what a process prints.

    Raises
    ------
    RuntimeError
        If it fails, with the end of what it says.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(threads))  # noqa: S603
    if done.returncode != 0:
        msg = f"{' '.join(command[:3])} ended with {done.returncode}:\n{done.stderr[-3000:]}"
        raise RuntimeError(msg)
    return done.stdout


def export_once(kind: str, asked: Asked, peer_python: Path, threads: int | None) -> dict[str, Any]:
    """Return what one export took."""
    script = "peer_run.py" if kind == "peer" else "lightning_run.py"
    python = str(peer_python) if kind == "peer" else sys.executable
    with tempfile.TemporaryDirectory() as folder:
        text = replace(asked, out=str(Path(folder) / "out")).text
        printed = run([python, str(HERE / "export_runs" / script), kind, text], threads)
    lines = [line for line in printed.splitlines() if line.startswith("{")]
    found: dict[str, Any] = json.loads(lines[-1])
    return {"kind": kind, **found, "items_per_s": found["items"] / found["seconds"]}


def rounds(
    asked: Asked, kinds: list[str], count: int, peer_python: Path, threads: int | None
) -> Iterator[dict[str, Any]]:
    """Yield each export of each round; the order of kinds turns from round to round."""
    for number in range(count):
        turned = kinds[number % len(kinds) :] + kinds[: number % len(kinds)]
        for kind in turned:
            yield {"output": asked.output, "round": number, **export_once(kind, asked, peer_python, threads)}


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return medians and ratios by output and kind; a ratio above 1 is in our favour."""
    found = []
    for output in dict.fromkeys(row["output"] for row in rows):
        of_output = [row for row in rows if row["output"] == output]
        ours = {row["round"]: row["items_per_s"] for row in of_output if row["kind"] == "ours"}
        spent = {row["round"]: row["core_s"] / row["items"] for row in of_output if row["kind"] == "ours"}
        for kind in dict.fromkeys(row["kind"] for row in of_output):
            own = [row for row in of_output if row["kind"] == kind]
            rates = [row["items_per_s"] for row in own]
            shares = [row["encoder_s"] / row["seconds"] for row in own if row["encoder_s"] is not None]
            by_cores = [row["core_s"] / row["items"] / spent[row["round"]] for row in own if row["round"] in spent]
            ratios = [ours[row["round"]] / row["items_per_s"] for row in own if row["round"] in ours]
            found.append(
                {
                    "output": output,
                    "kind": kind,
                    "items_per_s": statistics.median(rates),
                    "slowest": min(rates),
                    "quickest": max(rates),
                    "encoder": statistics.median(shares) if shares else None,
                    "ours_is": statistics.median(ratios) if ratios else None,
                    "ours_is_by_cores": statistics.median(by_cores) if by_cores else None,
                    "peak_mib": max(row["peak_mib"] for row in own),
                    "written_mb": statistics.median(row["written_mb"] for row in own),
                    "runs": len(own),
                }
            )
    return found


def starts(asked: Asked, count: int, threads: int | None) -> list[dict[str, Any]]:
    """Return the seconds from the start of a process to its first embedding; the first is not counted.

    Byte code and the cache of files are warm then, as they are for a user who has done it before.
    """
    chip, found = str(asked.files[0]), []
    for number in range(count + 1):
        begun = time.time()
        printed = run([sys.executable, str(HERE / "export_runs" / "first_batch.py"), chip, asked.size], threads)
        told = json.loads(printed.splitlines()[-1])
        one = {"way": "embed", "import_s": told["imported"] - begun, "first_s": told["first"] - begun}
        two = {"way": "terratorch predict", "import_s": None, "first_s": _start_of_predict(asked, threads)}
        found += [one, two] if number else []
    return found


def start_summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return medians by way."""
    found = []
    for way in dict.fromkeys(row["way"] for row in rows):
        own = [row for row in rows if row["way"] == way]
        imports = [row["import_s"] for row in own if row["import_s"] is not None]
        median = statistics.median(imports) if imports else None
        first = statistics.median(row["first_s"] for row in own)
        found.append({"way": way, "import_s": median, "first_s": first, "runs": len(own)})
    return found


def _start_of_predict(asked: Asked, threads: int | None) -> float:
    with tempfile.TemporaryDirectory() as folder:
        told, config = Path(folder) / "told.json", Path(folder) / "config.yaml"
        own = replace(asked, out=str(Path(folder) / "out"))
        config.write_text(yaml.safe_dump(predict_config(own, told)), encoding="utf-8")
        begun = time.time()
        run([sys.executable, "-m", "terratorch", "predict", "--config", str(config)], threads)
        first: float = json.loads(told.read_text(encoding="utf-8"))["first"]
    return first - begun


def table(rows: list[dict[str, Any]]) -> str:
    """Return rows as a table of Markdown."""
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
    for row in rows:
        shown = (
            "-" if value is None else f"{value:.3g}" if isinstance(value, float) else value for value in row.values()
        )
        lines.append("| " + " | ".join(map(str, shown)) + " |")
    return "\n".join(lines)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="tiny", choices=("tiny", "small", "base", "large"))
    parser.add_argument("--outputs", default="pooled,grid", help="comma-separated")
    parser.add_argument("--kinds", default=",".join(KINDS), help="comma-separated, any of: " + ", ".join(KINDS))
    parser.add_argument("--chips", type=int, default=64)
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of each process; by default those of PyTorch")
    parser.add_argument("--matmul", default="highest", choices=("highest", "high", "medium"), help="of ours and stock")
    parser.add_argument(
        "--precision", default="default", help="of our task, such as auto or bf16; default: as it comes"
    )
    parser.add_argument("--engine", default="pytorch", choices=("pytorch", "openvino"), help="of our task")
    parser.add_argument("--peer-python", type=Path, default=PEER_PYTHON, help="Python that has rs-embed")
    parser.add_argument("--no-start", action="store_true", help="leave the start out")
    parser.add_argument("--quick", action="store_true", help="4 chips of 64 px, one round: does it run")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args(arguments)
    if options.quick:
        options.chips, options.side, options.runs, options.batch, options.workers = 4, 64, 1, 2, 0
    return options


def main() -> None:
    """Measure, write and print."""
    options = parse()
    kinds, left_out = options.kinds.split(","), []
    if "peer" in kinds and not options.peer_python.is_file():
        kinds.remove("peer")
        left_out.append({"part": "peer", "why": "no environment of rs-embed: uv sync --project tests/parity makes one"})
    found: dict[str, Any] = {
        "measured_by": "benchmarks/export.py",
        "date": datetime.now(UTC).date().isoformat(),
        "quick": options.quick,
        "device": device_facts("cpu"),
        "asked": {key: str(getattr(options, key)) for key in ASKED},
        "left_out": left_out,
    }
    with tempfile.TemporaryDirectory() as folder:
        found["pixels"] = write_chips(Path(folder), options.chips, options.side)
        same = {key: getattr(options, key) for key in ("size", "batch", "workers", "matmul", "precision", "engine")}
        asked = Asked(folder, "", **same)
        rows: list[dict[str, Any]] = []
        for output in options.outputs.split(","):
            for row in rounds(replace(asked, output=output), kinds, options.runs, options.peer_python, options.threads):
                rows.append(row)
                print(json.dumps(row), file=sys.stderr, flush=True)
        found |= {"rows": rows, "summary": summary(rows)}
        found["start"] = [] if options.no_start else starts(asked, options.runs, options.threads)
        found["start_summary"] = start_summary(found["start"])
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print("\n\n".join(table(part) for part in (found["summary"], found["start_summary"]) if part))
    for one in left_out:
        print(f"{one['part']}: {one['why']}")


if __name__ == "__main__":
    main()
