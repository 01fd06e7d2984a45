"""Exports on Ray are those of one process, whatever ends on the way. One cluster on this machine for all tests."""

from __future__ import annotations

import csv
import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray_runs
from ray_runs import StandInRecipe, write_rasters
from same_exports import assert_same_exports

from eo_embed import open_embeddings
from eo_embed.ray.driver import run_on_ray
from eo_embed.ray.recipes import build


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray = pytest.importorskip("ray")
    # What actors are built of is told to them by the names of its modules.
    found = [str(Path(ray_runs.__file__).parent), str(Path(__file__).parents[3])]
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", os.pathsep.join(found))
        warnings.simplefilter("ignore")
        before = signal.getsignal(signal.SIGTERM)
        ray.init(num_cpus=2, object_store_memory=100_000_000, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()
        signal.signal(signal.SIGTERM, before)  # Ray's own would end the tests that come after these in its way


def in_one_process(recipe: StandInRecipe) -> None:
    built = build(recipe)
    built.task.exporter(0).run(built.loader)


@pytest.mark.usefixtures("cluster")
def test_two_actors_one_of_which_is_killed_make_the_export_of_one_process(tmp_path: Path) -> None:
    root, out = tmp_path / "data", tmp_path / "ray"
    write_rasters(root, deadly=5)
    killed = tmp_path / "killed"
    summary = run_on_ray(StandInRecipe(root, out, killed), 2, cpus_per_actor=1)
    assert killed.exists()
    assert "items exported" in summary
    in_one_process(StandInRecipe(root, tmp_path / "one", killed))
    assert_same_exports(out, tmp_path / "one", resumed=True)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    run_on_ray(StandInRecipe(root, out, killed), 2, cpus_per_actor=1)
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}


@pytest.mark.filterwarnings("ignore:1 of . samples of 'predict' are left out")
@pytest.mark.usefixtures("cluster")
def test_what_cannot_be_read_and_what_ends_every_process_are_listed_and_all_else_is_there(tmp_path: Path) -> None:
    root, out = tmp_path / "data", tmp_path / "ray"
    write_rasters(root, 5, deadly=2)
    (root / "tile_04.tif").write_bytes(b"no raster")
    run_on_ray(StandInRecipe(root, out, on_error="skip"), 2, cpus_per_actor=1, tries=1)
    with (out / "failures.csv").open(encoding="utf-8", newline="") as file:
        failed = {row["id"]: row["reason"] for row in csv.DictReader(file)}
    assert sorted(failed) == ["tile_02", "tile_04"]
    assert "ended" in failed["tile_02"]
    # The same numbers as where the deadly sample is not there at all.
    (root / "tile_02.tif").unlink()
    in_one_process(StandInRecipe(root, tmp_path / "one", on_error="skip"))
    assert open_embeddings(out).ids == open_embeddings(tmp_path / "one").ids == ("tile_00", "tile_01", "tile_03")
