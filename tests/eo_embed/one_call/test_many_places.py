"""Many places from a catalogue on this machine: what they cost, and what is left when the run is killed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import guarded_checks
import numpy as np
import pytest
import rasterio
from place_runs import ASSETS, Given, runner, served
from rasterio.windows import Window

from eo_data.raster.raster import to_map
from eo_embed import Export, open_embeddings

PLACES, SIDE, BANDS, DATES = (1000, 2000, 4, 5) if guarded_checks.everything() else (40, 520, 2, 5)
LONE = PLACES // 2
#: Times that a file was synced in the cache or the export, before which the runs are killed one after the other.
KILLS = (20, 90, 150)
FILES = DATES * BANDS


@dataclass(frozen=True)
class Runs:
    """What was seen of runs over one cache: some that were killed, and two that were not, of which one goes on."""

    folder: Path
    killed: list[dict[str, Any]]
    resumed: dict[str, Any]
    #: By the command.
    whole: dict[str, Any]
    #: What the servers gave to the killed runs and the one that went on, and to the whole one.
    given: tuple[Given, Given]

    def export(self, name: str) -> Export:
        return open_embeddings(self.folder / name)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("many")
    with served(folder / "scenes", SIDE, DATES, BANDS) as server, runner(folder) as started:
        (folder / "scenes" / f"lone-{DATES - 1}" / f"{ASSETS[0]}.tif").unlink()
        common = {"source": server.url, "count": PLACES, "side": SIDE, "lone": LONE, "cache": str(folder / "cache")}

        def run(out: str, **more: Any) -> dict[str, Any]:
            return started.run(**common, out=str(folder / out), **more)

        killed = [run("killed", killed_before=step) for step in KILLS]
        resumed, given = run("killed"), server.given()
        return Runs(folder, killed, resumed, run("whole", command=True), (given, server.given()))


def test_a_run_that_was_killed_goes_on_and_equals_one_that_was_not(runs: Runs) -> None:
    """By kill -9 while ranges and vectors are written: nothing lost, nothing twice, nothing of another place."""
    assert [own["exit"] for own in runs.killed] == [-9] * len(KILLS)
    assert runs.resumed["exit"] == runs.whole["exit"] == 0
    resumed, whole = runs.export("killed"), runs.export("whole")
    assert whole.ids == tuple(f"p{number:04d}" for number in range(PLACES) if number != LONE)
    assert (runs.folder / "killed" / "embeddings.parquet").read_bytes() == (
        runs.folder / "whole" / "embeddings.parquet"
    ).read_bytes()
    assert len(runs.resumed["memory"]) < len(runs.whole["memory"]) == PLACES - 1
    assert {path.name for path in resumed.path.iterdir()} == {path.name for path in whole.path.iterdir()}


def test_each_vector_is_of_the_pixels_of_its_place(runs: Runs) -> None:
    """The mean of a band, by rasterio and numpy, but for a normalisation that is the same for all places."""
    rows = runs.export("whole").pooled
    assert rows is not None
    for band, key in enumerate(ASSETS[:BANDS]):
        expected = []
        for row in rows.to_dict("records"):
            planes = [runs.folder / "scenes" / f"whole-{day}" / f"{key}.tif" for day in range(DATES)]
            expected.append(np.median([_window(path, row) for path in planes], axis=0).mean())
        found = np.stack(rows["embedding"])[:, band]
        slope, start = np.polyfit(expected, found, 1)
        assert slope > 0
        np.testing.assert_allclose(found, slope * np.array(expected) + start, atol=2e-6)


def _window(path: Path, row: dict[str, Any]) -> np.ndarray:
    """Pixels of 10 m below the cells of an embedding."""
    size, _, left, _, _, top = row["proj_transform"]
    height, width = row["proj_shape"]
    with rasterio.open(path) as file:
        column, line = to_map(~file.transform, left, top)
        pixels: np.ndarray = file.read(1, window=Window(column, line, width * size / 10, height * size / 10))
    return pixels


def test_requests_are_bounded_and_none_is_made_twice(runs: Runs) -> None:
    """A search for a cell and not for each place; a range once, also after kill -9; no pixel in a second run."""
    given, again = runs.given
    assert given.searches <= 2 * (len(KILLS) + 1)
    assert again.searches <= 2
    fetched = [own for own in given.ranges if own[1] > 0]
    # What was on its way when a run was killed, and the heads of the files that say what scenes are.
    assert len(fetched) - len(set(fetched)) <= len(KILLS)
    assert not [own for own in again.ranges if own[1] > 0]
    stored = sum(path.stat().st_size for path in (runs.folder / "scenes").rglob("*.tif"))
    assert given.bytes < 1.5 * stored
    assert again.asked <= 1.1 * PLACES * FILES  # at most, whether the file is still the same


def test_memory_does_not_grow_with_the_places(runs: Runs) -> None:
    memory = runs.whole["memory"]
    # Of each place the ledger and the manifest have some kilobytes; its pixels would be hundreds.
    assert max(memory[PLACES // 2 :]) - max(memory[PLACES // 10 : PLACES // 5]) < 8 + 0.02 * PLACES


def test_a_place_of_which_a_file_is_gone_is_listed_and_the_others_go_on(runs: Runs) -> None:
    """By the command, too, whose exit code says that something is missing, and which prints no whole manifest."""
    assert runs.whole["status"] == 1
    for name in ("killed", "whole"):
        export = runs.export(name)
        assert list(export.failures) == [f"p{LONE:04d}"]
        assert "404" in export.failures[f"p{LONE:04d}"]
        assert export.ids == tuple(f"p{number:04d}" for number in range(PLACES) if number != LONE)
        assert len(repr(export)) < 200
