"""Measure whether an index of approximate neighbours would be worth having beside the exact `Export.similar`.

    python benchmarks/similar.py --rows 1000000 --width 768 --libraries /tmp/ann --out result.json

Vectors: a mixture of Gaussians on the sphere, as embeddings have groups; pure noise, where no index helps, with
`--groups 0`. Each index is asked for the 10 nearest of vectors that it holds; recall is the share of the exact ones. An
index has to be built before the first question, and built again for every export: the questions that have to be asked
until it has paid off are its build time by what it saves a question.

On two shared cores, vectors of 768 numbers, mixture of 1000 groups (faiss-cpu 1.15.1, usearch 2.26.6):

=========== ============= ======= ========= ====== =====================
vectors     index         build   a query   recall pays after queries
=========== ============= ======= ========= ====== =====================
100 000     exact         0.2 s   0.12 s    1      (all at once: 0.05 s)
100 000     faiss HNSW    26 s    0.0001 s  0.87   210
100 000     usearch f16   271 s   0.0005 s  1      2200
1 000 000   exact         9 s     1.5 s     1
1 000 000   faiss flat    5 s     1.1 s     1      16
1 000 000   faiss IVF     330 s   0.002 s   1      225
=========== ============= ======= ========= ====== =====================

(build of exact: the vectors of a table are put side by side, once.) So there is no index: a user who asks a million
vectors by hand waits a second or two for an exact answer, and waits minutes for an index before the first one.

The libraries are optional and no dependency: `uv pip install --target /tmp/ann faiss-cpu usearch numkong`.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eo_embed.reading.similar import Question, nearest, neighbours
from eo_embed.reading.vectors import Vectors, unit

K = 10
#: Most vectors that are asked for all at once.
BATCHED = 200_000


def mixture(rows: int, width: int, groups: int) -> np.ndarray:
    """Return float32 ``(rows, width)`` of length one; memory for little more than that."""
    generator = np.random.default_rng(0)
    values = generator.standard_normal((rows, width), np.float32)
    if groups:
        centres = 3 * generator.standard_normal((groups, width), np.float32)
        for start in range(0, rows, 10_000):
            block = values[start : start + 10_000]
            block += centres[generator.integers(groups, size=len(block))]
    for start in range(0, rows, 10_000):
        values[start : start + 10_000] = unit(values[start : start + 10_000])
    return values


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return seconds, and what came."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def exact(values: np.ndarray, asked: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
    """Ask one by one, as `Export.similar` does, and all at once, as the map does."""
    vectors = Vectors([f"{i:08d}" for i in range(len(values))], values)
    nothing = np.empty((0, values.shape[1]), np.float32)
    times, found = [], []
    for number in asked:
        seconds, (numbers, _) = timed(
            lambda one=number: nearest(vectors, Question(values[[one]], nothing, "cosine"), K, [one])  # type: ignore[misc]
        )
        times.append(seconds)
        found.append(numbers)
    # It holds a copy of the vectors.
    seconds = timed(lambda: list(neighbours(vectors, asked.tolist(), K)))[0] if len(values) <= BATCHED else float("nan")
    # A table from Parquet holds a row of its own for each vector.
    rows = Vectors(vectors.ids, list(values))
    table, _ = timed(lambda: rows.rows(slice(None)))
    return {
        "query_s": float(np.median(times)), "batch_query_s": seconds / len(asked), "side_by_side_s": table,
    }, np.stack(found)  # fmt: skip


def recall(found: np.ndarray, asked: np.ndarray, truth: np.ndarray) -> float:
    """Return the share of the exact neighbours; the vector itself is passed over."""
    own = [[n for n in row if n != one][:K] for row, one in zip(found, asked, strict=True)]
    return float(np.mean([len({*row} & {*true}) / K for row, true in zip(own, truth, strict=True)]))


def measured(
    build: Callable[[], Callable[[np.ndarray], np.ndarray]],
    values: np.ndarray,
    asked: np.ndarray,
    truth: np.ndarray,
    exact_s: float,
) -> dict[str, Any]:
    """Build an index, and ask it one by one."""
    built, ask = timed(build)
    times, found = [], []
    for number in asked:
        seconds, row = timed(lambda one=number: ask(values[[one]]))  # type: ignore[misc]
        times.append(seconds)
        found.append(row)
    query = float(np.median(times))
    saved = exact_s - query
    return {
        "build_s": built, "query_s": query, "recall": recall(np.stack(found), asked, truth),
        "pays_after_queries": built / saved if saved > 0 else None,
    }  # fmt: skip


def indexes(values: np.ndarray) -> dict[str, Callable[[], Callable[[np.ndarray], np.ndarray]]]:
    """Return what builds each index that is installed."""
    found: dict[str, Callable[[], Callable[[np.ndarray], np.ndarray]]] = {}
    rows, width = values.shape
    try:
        import faiss  # type: ignore[import-not-found]
    except ImportError:
        print("faiss is not installed")
    else:

        def flat() -> Callable[[np.ndarray], np.ndarray]:
            index = faiss.IndexFlatIP(width)
            index.add(values)
            return lambda one: np.asarray(index.search(one, K + 1)[1][0])

        def lists() -> Callable[[np.ndarray], np.ndarray]:
            count = int(4 * rows**0.5)
            index = faiss.index_factory(width, f"IVF{count},Flat", faiss.METRIC_INNER_PRODUCT)
            index.cp.niter, index.cp.max_points_per_centroid = 10, 64
            index.train(values)
            index.add(values)
            index.nprobe = 32
            return lambda one: np.asarray(index.search(one, K + 1)[1][0])

        def graph() -> Callable[[np.ndarray], np.ndarray]:
            index = faiss.IndexHNSWFlat(width, 16, faiss.METRIC_INNER_PRODUCT)
            index.add(values)
            return lambda one: np.asarray(index.search(one, K + 1)[1][0])

        found |= {"faiss flat": flat, "faiss IVF": lists, "faiss HNSW": graph}
    try:
        from usearch.index import Index  # type: ignore[import-not-found]
    except ImportError:
        print("usearch is not installed")
    else:

        def usearch() -> Callable[[np.ndarray], np.ndarray]:
            index = Index(ndim=width, metric="cos", dtype="f16")
            index.add(np.arange(rows), values)
            return lambda one: np.asarray(index.search(one[0], K + 1).keys)

        found["usearch f16"] = usearch
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--groups", type=int, default=1000, help="of the mixture; 0 for noise")
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--only", nargs="*", default=[], help="names of indexes, such as 'faiss IVF'")
    parser.add_argument("--libraries", type=Path, help="folder that faiss and usearch were installed to")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    if given.libraries:
        sys.path.append(str(given.libraries))
    values = mixture(given.rows, given.width, given.groups)
    asked = np.random.default_rng(1).choice(given.rows, given.queries, replace=False)
    own, truth = exact(values, asked)
    result: dict[str, Any] = {"machine": platform.processor(), "arguments": vars(given) | {"out": None}, "exact": own}
    print(f"exact: {own}", flush=True)
    for name, build in indexes(values).items():
        if not given.only or name in given.only:
            result[name] = measured(build, values, asked, truth, own["query_s"])
            print(f"{name}: {result[name]}", flush=True)
    result["peak_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak {result['peak_gib']:.1f} GiB")
    if given.out:
        given.out.write_text(json.dumps(result, indent=2, default=str), encoding="utf-8")


if __name__ == "__main__":
    main()
