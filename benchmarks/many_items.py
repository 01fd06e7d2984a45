"""Measure what an export's records cost, by the number of items: ledger, tables of vectors, manifest, merge of shards.

    python benchmarks/many_items.py --items 20000 200000          # quick: is it linear?
    python benchmarks/many_items.py --items 10000000              # 100 shards of 100 000 items: about two hours
    python benchmarks/many_items.py --items 20000 200000 --shards 0    # all in one folder, by one process

There are no pixels and no encoder: each item is a vector of a few random numbers with a place, a date and a source, in
batches as a run writes them, each with its part and its entry of the ledger. Every step is a process of its own, so
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
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from eo_embed.writers.embedding import Embedding

#: Side of a sample in metres and samples in a row of the made-up country.
SIDE, ACROSS = 2560.0, 200
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


def embeddings(numbers: np.ndarray, dimensions: int) -> Iterator[Embedding]:
    """Items as an encoder would give them."""
    from affine import Affine

    from eo_embed.writers.embedding import Embedding

    for number in numbers.tolist():
        row, column = divmod(number % IN_ZONE, ACROSS)
        place = Affine(SIDE, 0, 300_000 + column * SIDE, 0, -SIDE, 5_900_000 - row * SIDE)
        vector = np.random.default_rng(number).standard_normal(dimensions, np.float32)
        day = date(2024, 1, 1) + timedelta(number % 366)
        name = name_of(number)
        yield Embedding(name, "", vector, None, None, place, CRS, (1, 1), (day,), (f"{name}/B02.tif",))


def entry_of(item: Embedding, part: str) -> dict[str, Any]:
    """What a run hands to the ledger of an item."""
    source = {"path": item.sources[0], "size": 2_000_000, "mtime": 1.7e9, "ctime": 1.7e9, "digest": "0" * 32}
    days = [day.isoformat() for day in item.dates]
    return {
        "id": item.id,
        "layer": item.layer,
        "files": [part],
        "inputs": {"files": [source], "dates": {"s2": days}},
        "dates": days,
        "valid_fraction": 1.0,
        "raster_id": "",
        "image_hw": [256, 256],
        "grid_hw": [1, 1],
        "area_m2": SIDE * SIDE,
    }


def write(whole: Path, index: int, shards: int, batch: int, dimensions: int) -> dict[str, float]:
    """Write one shard, or with 0 shards the only folder, as an `Exporter` does."""
    from eo_data.catalog.shards import Shard
    from eo_embed.export.completing import complete
    from eo_embed.export.facts import shard_provenance
    from eo_embed.export.flow.summary import Counts
    from eo_embed.export.folder import open_export
    from eo_embed.export.record.failures import Failures
    from eo_embed.export.settings import ExportSettings
    from eo_embed.writers.geoparquet import PartWriter

    numbers = np.flatnonzero(np.load(whole / SHARD_OF) == index)
    shard = Shard(index, shards) if shards else None
    folder = whole / "whole" if shard is None else shard.folder(whole / "whole")
    settings = ExportSettings()
    start = time.perf_counter()
    provenance = shard_provenance(shard, settings.on_error)
    manifest, ledger = open_export(folder, {"task": settings.facts()}, provenance=provenance)
    parts = PartWriter(folder, 0, dimensions)
    for first in range(0, len(numbers), batch):
        items = list(embeddings(numbers[first : first + batch], dimensions))
        part = parts.write(items).relative_to(folder).as_posix()
        ledger.record([entry_of(item, part) for item in items])
    written, before, left = time.perf_counter() - start, peak(), content(folder)
    counts = Counts(len(numbers), area_m2=len(numbers) * SIDE * SIDE)
    complete(settings, manifest, ledger, Failures(folder).merge(), counts, dimensions)
    whole_s = time.perf_counter() - start
    return {"items": len(numbers), "batches_s": written, "complete_s": whole_s - written, "batches_mb": before} | {
        f"while_{name}": value for name, value in left.items()
    }


def merge(whole: Path) -> dict[str, float]:
    """Make the whole of all shards."""
    from eo_embed.export.shards.whole import merge_shards

    start = time.perf_counter()
    merged = merge_shards(whole / "whole")
    return {"items": merged.items, "merge_s": time.perf_counter() - start}


def resume(whole: Path) -> dict[str, float]:
    """Look at a finished folder as the next run does, which finds nothing to do."""
    from eo_embed.export.folder import open_export
    from eo_embed.export.settings import ExportSettings

    start = time.perf_counter()
    manifest, ledger = open_export(whole / "whole", {"task": ExportSettings().facts()})
    finished, _ = ledger.review()
    if len(finished) != manifest.count:
        msg = f"{len(finished)} of {manifest.count} items are finished."
        raise ValueError(msg)
    return {"items": manifest.count, "resume_s": time.perf_counter() - start}


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


def measure(items: int, options: argparse.Namespace) -> dict[str, Any]:
    """Make an export of many items, and return seconds and memory of each step."""
    shards = 0 if options.shards == 0 else options.shards or max(items // 100_000, 2)
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        whole = Path(temporary)
        share_out(items, max(shards, 1), whole / SHARD_OF)
        start = time.perf_counter()
        with ThreadPoolExecutor(options.processes) as pool:
            tasks = [(whole, "write", i, shards, options.batch, options.dimensions) for i in range(max(shards, 1))]
            writes = list(pool.map(lambda task: step(*task), tasks))
        result: dict[str, Any] = {"items": items, "shards": shards, "writes_s": time.perf_counter() - start}
        result["write"] = {name: max(write[name] for write in writes) for name in writes[0]}
        if shards:
            result |= {"merge": step(whole, "merge"), "again": step(whole, "merge")}
            shutil.rmtree(whole / "whole" / "shards")
        else:
            result["resume"] = step(whole, "resume")
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
    results = []
    for items in options.items:
        results.append(measure(items, options))
        print(shown(results[-1]), flush=True)
    if options.out:
        options.out.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
