"""Measure what many places from a catalogue cost: time, memory, requests, bytes; and go on after kill -9.

    python benchmarks/many_places.py --places 100 --side 600      # quick
    python benchmarks/many_places.py                              # 1 000 places x 5 dates x 4 bands

A STAC API and a server of ranges on this machine give scenes of one tile; places lie in it at random. The encoder is a
stand-in that takes no time, so that what is left is searching, reading and writing. There are three runs: with an empty
cache, killed in the middle; the same again, which goes on; and one into another folder with all in the cache. Memory is
that of the process after a tenth of the places and at the end (Linux). A server on this machine answers in a
millisecond; over a network each request takes some tens of them, which is why they are counted.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

from place_runs import Given, runner, served

from eo_embed import open_embeddings


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--places", type=int, default=1000)
    add("--dates", type=int, default=5, help="at most 6")
    add("--bands", type=int, default=4, help="at most 10")
    add("--side", type=int, default=2000, help="of the scenes in pixels")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as temporary,
        served(Path(temporary) / "scenes", given.side, given.dates, given.bands) as server,
        runner(Path(temporary)) as runs,
    ):
        folder = Path(temporary)
        common = {"source": server.url, "count": given.places, "side": given.side, "lone": given.places // 2}
        common["cache"] = str(folder / "cache")
        for name, out, killed in (
            ("killed in the middle", "first", given.places // 2),
            ("goes on", "first", 0),
            ("all in the cache", "second", 0),
        ):
            cost = runs.run(**common, out=str(folder / out), killed_at=killed)
            print(
                json.dumps({"run": name, "exit": cost["exit"], **_of_run(cost), **_of_servers(server.given())}),
                flush=True,
            )
        files = [(folder / out / "embeddings.parquet").read_bytes() for out in ("first", "second")]
        stored = sum(path.stat().st_size for path in (folder / "scenes").rglob("*.tif"))
        print(
            json.dumps(
                {
                    "equal": files[0] == files[1],
                    "ids": len(open_embeddings(folder / "first").ids),
                    "stored_MB": stored / 1e6,
                }
            )
        )


def _of_run(cost: dict[str, object]) -> dict[str, object]:
    memory = cost.get("memory")
    if not isinstance(memory, list) or not memory:
        return {}
    tenth = memory[len(memory) // 10]
    return {"seconds": cost["seconds"], "places": len(memory), "MB_after_a_tenth": tenth, "MB_at_the_end": memory[-1]}


def _of_servers(given: Given) -> dict[str, object]:
    return {
        "searches": given.searches,
        "requests": given.asked,
        "of_pixels": len(given.ranges),
        "MB": given.bytes / 1e6,
    }


if __name__ == "__main__":
    main()
