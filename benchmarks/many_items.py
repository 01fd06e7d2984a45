"""Measure what an export's records cost, by the number of items: ledger, tables of vectors, manifest, merge of shards.

    python benchmarks/many_items.py --items 20000 200000          # quick: is it linear?
    python benchmarks/many_items.py --items 10000000              # 100 shards of 100 000 items: two core hours
    python benchmarks/many_items.py --items 20000 200000 --shards 0    # all in one folder, by one process

An `Exporter` with a stand-in encoder writes vectors of a few numbers, each with a place, a date and a source, from
batches that are made up: no file is read. Every step is a process of its own, so
that its peak of memory counts alone. Steps: `write` makes a shard (the slowest and the largest of them are shown);
`merge` makes the whole of all shards; `again` merges once more, which finds nothing to do but to look at all items;
`resume` opens a folder again that one process has written. CPU seconds do not count the time when others have the
machine. At the end the whole is compared with what was made: as many rows as items, all in order.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eo_core.files import write_text

if TYPE_CHECKING:
    from eo_embed.export.exporter import Exporter

#: Side of a sample in metres and pixels, and samples in a row of the made-up country.
SIDE, PIXELS, ACROSS = 2560.0, 4, 200
#: Samples of one zone.
IN_ZONE = ACROSS * 400
CRS = "EPSG:32633"
SHARD_OF = "shard_of.npy"


def name_of(number: int) -> str:
    """Id of a sample: as long as usual ones, and in another order than the numbers."""
    return f"{number % 60:02d}U/{number // IN_ZONE:03d}/scene_{number:09d}"


def share_out(items: int, shards: int, path: Path) -> None:
    """Write which shard each item belongs to, so that it is computed once."""
    from eo_data.catalog.shards import Shard

    if shards == 1:
        np.save(path, np.zeros(items, np.int16))
        return
    every = [Shard(i, shards) for i in range(shards)]
    of = np.fromiter((_index(every, name_of(i)) for i in range(items)), np.int16, items)
    np.save(path, of)


def _index(every: Sequence[Any], name: str) -> int:
    """Index of the shard that holds an id, computed as `Shard.holds` does and then asked of it."""
    import hashlib

    index = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % len(every)
    if not every[index].holds(name):
        msg = f"{name} is not in shard {every[index]}: the rule of Shard.holds is another one now."
        raise ValueError(msg)
    return index


def batch_of(numbers: np.ndarray) -> dict[str, Any]:
    """What a data module gives of some samples, but for the pixels: a few, to tell the samples from each other."""
    import torch

    of_zone = numbers % IN_ZONE
    places = np.zeros((len(numbers), 6))
    places[:, 0], places[:, 3] = 300_000 + of_zone % ACROSS * SIDE, 5_900_000 - of_zone // ACROSS * SIDE
    places[:, 1], places[:, 5] = SIDE / PIXELS, -SIDE / PIXELS
    names = [name_of(number) for number in numbers.tolist()]
    days = [(date(2024, 1, 1) + timedelta(number % 366)).isoformat() for number in numbers.tolist()]
    files = [f"{name}/B02.tif" for name in names]
    made_of = [_made_of(file, day) for file, day in zip(files, days, strict=True)]
    return {
        "image": torch.from_numpy(numbers.astype(np.float64)).reshape(-1, 1, 1, 1).expand(-1, 1, PIXELS, PIXELS),
        "filename": files,
        "id": names,
        "sources": files,
        "inputs": made_of,
        "acquired": [f"s2 {day} (name)" for day in days],
        "crs": [CRS] * len(numbers),
        "geotransform": torch.from_numpy(places),
    }


def _made_of(file: str, day: str) -> str:
    state = {"path": file, "size": 2_000_000, "mtime": 1.7e9, "ctime": 1.7e9, "digest": "0" * 32}
    return json.dumps({"files": [state], "dates": {"s2": [day]}})


class StandIn:
    """Makes of each sample a vector of numbers that only this sample has."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions

    def __call__(self, image: Any, **_: Any) -> list[Any]:  # noqa: ANN401
        """Return the vectors as those of one layer."""
        import torch

        from eo_models.features import Features

        steps = torch.arange(1, self._dimensions + 1)
        return [Features(torch.sin(image[:, :, 0, 0] * steps).float()[:, None], None, None)]


def export_of(whole: Path, index: int, shards: int, dimensions: int) -> Exporter:
    """Return the `Exporter` of one shard, or with 0 shards of the only folder."""
    from eo_data.catalog.shards import Shard
    from eo_embed.export.exporter import Exporter
    from eo_embed.export.settings import ExportSettings

    settings = ExportSettings()
    shard = Shard(index, shards) if shards else None
    return Exporter(whole / "whole", StandIn(dimensions), settings, {"task": settings.facts()}, shard=shard)


def write(whole: Path, index: int, shards: int, batch: int, dimensions: int) -> dict[str, float]:
    """Write one shard, or with 0 shards the only folder."""
    numbers = np.flatnonzero(np.load(whole / SHARD_OF) == index)
    exporter = export_of(whole, index, shards, dimensions)
    start, making = time.perf_counter(), 0.0
    imports = time.process_time()
    exporter.open()
    for first in range(0, len(numbers), batch):
        before = time.process_time()
        made = batch_of(numbers[first : first + batch])
        making += time.process_time() - before
        exporter.add(made)
    counts = exporter.close()
    written, cpu, memory = time.perf_counter() - start, time.process_time() - imports - making, peak()
    left = content(exporter.folder)
    exporter.complete(counts)
    found = {"items": len(numbers), "batches_s": written, "complete_s": time.perf_counter() - start - written}
    found |= {"batches_cpu_s": cpu, "all_cpu_s": time.process_time() - imports - making, "batches_mb": memory}
    return found | {f"while_{name}": value for name, value in left.items()}


def merge(whole: Path) -> dict[str, float]:
    """Make the whole of all shards."""
    from eo_embed.export.shards.whole import merge_shards

    start = time.perf_counter()
    merged = merge_shards(whole / "whole")
    return {"items": merged.items, "merge_s": time.perf_counter() - start}


def resume(whole: Path) -> dict[str, float]:
    """Open a finished folder as the next run does, which finds nothing to do."""
    start = time.perf_counter()
    exporter = export_of(whole, 0, 0, 1)
    exporter.open()
    opened = time.perf_counter() - start
    exporter.complete(exporter.close())
    return {"items": len(np.load(whole / SHARD_OF)), "resume_s": opened}


def check(whole: Path) -> dict[str, float]:
    """Compare the table of vectors and the items with what was made."""
    import pyarrow.parquet as pq

    from eo_embed.export.record.manifest import read_manifest

    manifest = read_manifest(whole / "whole")
    items, rows, before, vectors = manifest.items(), 0, ("", ""), 0.0
    with pq.ParquetFile(whole / "whole" / "embeddings.parquet") as file:
        for batch in file.iter_batches(10_000, columns=["id", "layer", "embedding"]):
            vectors += float(np.abs(batch["embedding"].values.to_numpy()).sum())
            for key in zip(batch["id"].to_pylist(), batch["layer"].to_pylist(), strict=True):
                item = next(items)
                if not before < key == (item["id"], item["layer"]):
                    msg = f"Row {rows} is {key} after {before}, and the item there is {item['id']}."
                    raise ValueError(msg)
                rows, before = rows + 1, key
    made = len(np.load(whole / SHARD_OF))
    if rows != made or next(items, None) is not None:
        msg = f"{made} items were made, and there are {rows} rows."
        raise ValueError(msg)
    return {"items": rows, "sum_of_numbers": vectors} | content(whole / "whole")


def content(folder: Path) -> dict[str, float]:
    """Files and megabytes in a folder, but those of its shards."""
    found = (path for path in folder.rglob("*") if "shards" not in path.relative_to(folder).parts)
    sizes = [path.stat().st_size for path in found if path.is_file()]
    return {"files": len(sizes), "mb": sum(sizes) / 1e6}


def peak() -> float:
    """Most memory that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def step(*arguments: object) -> dict[str, float]:
    """Run a step in a process of its own, and return what it says with its peak of memory."""
    command = [sys.executable, __file__, "--step", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure(items: int, options: argparse.Namespace, told: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Make an export of many items, and return seconds and memory of each step; each is told when it has ended."""
    shards = 0 if options.shards == 0 else options.shards or max(items // 100_000, 2)
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        whole = Path(temporary)
        share_out(items, max(shards, 1), whole / SHARD_OF)
        start = time.perf_counter()
        result: dict[str, Any] = {"items": items, "shards": shards, "each": []}
        with ThreadPoolExecutor(options.processes) as pool:
            tasks = [(whole, "write", i, shards, options.batch, options.dimensions) for i in range(max(shards, 1))]
            for write in pool.map(lambda task: step(*task), tasks):
                result["each"].append(write)
                told(result | {"writes_s": time.perf_counter() - start})
        writes = result["each"]
        result |= {"writes_s": time.perf_counter() - start}
        result["write"] = {name: max(write[name] for write in writes) for name in writes[0]}
        for name in ("merge", "again") if shards else ("resume",):
            result[name] = step(whole, "merge" if shards else "resume")
            told(result)
        shutil.rmtree(whole / "whole" / "shards", ignore_errors=True)
        result["check"] = step(whole, "check")
    return result


def shown(result: dict[str, Any]) -> str:
    """One line of the table: seconds and memory a step."""
    write, per_million = result["write"], 1e6 / result["items"]
    cells = [
        f"{result['items']:>10,}".replace(",", " "),
        f"{result['shards']:>6}",
        f"{result['writes_s']:>8.0f}",
        f"{write['batches_s']:>8.1f} {write['batches_mb']:>6.0f}",
        f"{write['complete_s']:>8.1f} {write['peak_mb']:>6.0f}",
    ]
    for name in ("merge", "again", "resume"):
        one = result.get("resume" if name == "resume" else name, {})
        seconds = next((value for key, value in one.items() if key.endswith("_s")), float("nan"))
        cpu = one.get("cpu_s", float("nan")) * per_million
        cells.append(f"{seconds:>8.1f} {one.get('peak_mb', float('nan')):>6.0f} {cpu:>11.0f}")
    cells.append(f"{result['check']['files']:>6.0f} {result['check']['mb'] * per_million:>8.0f}")
    return " | ".join(cells)


HEAD = (
    "     items | shards | writes s | batches s  MB | complete s  MB | merge s   MB CPU s/million | again s   MB "
    "CPU s/million | resume s   MB CPU s/million | files MB/million"
)
STEPS = {"merge": merge, "resume": resume, "check": check}


def main() -> None:
    """Measure, and print the table; or run one step."""
    if sys.argv[1:2] == ["--step"]:
        whole, name, *numbers = sys.argv[2:]
        done = write(Path(whole), *map(int, numbers)) if name == "write" else STEPS[name](Path(whole))
        print(json.dumps(done | {"peak_mb": peak(), "cpu_s": time.process_time()}))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[20_000, 200_000], help="how many; several in turn")
    parser.add_argument("--shards", type=int, help="how many (default: one for 100 000 items; 0: one folder)")
    parser.add_argument("--batch", type=int, default=256, help="items of a batch")
    parser.add_argument("--dimensions", type=int, default=8, help="numbers in a vector")
    parser.add_argument("--processes", type=int, default=2, help="shards that are written side by side")
    parser.add_argument("--folder", type=Path, help="where to write (default: the temporary folder)")
    parser.add_argument("--out", type=Path, help="JSON with all figures")
    options = parser.parse_args()
    print(HEAD)
    results: list[dict[str, Any]] = []
    for items in options.items:
        results.append(measure(items, options, lambda so_far: _keep(options.out, [*results, so_far])))
        _keep(options.out, results)
        print(shown(results[-1]), flush=True)


def _keep(path: Path | None, results: list[dict[str, Any]]) -> None:
    """Write all figures after each step, so that a run that is killed leaves those that it has."""
    if path is not None:
        write_text(path, json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
