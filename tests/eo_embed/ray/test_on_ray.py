"""Exports on Ray are those of one process, whatever ends on the way. One cluster on this machine for all tests."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import ray_runs
from ray_runs import StandInRecipe, write_large_rasters, write_rasters
from same_exports import assert_same_exports

from eo_embed import open_embeddings
from eo_embed.ray.command import main
from eo_embed.ray.driver import embed_on_ray, run_on_ray
from eo_embed.ray.recipes import build


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """One cluster for all tests; its address."""
    ray = pytest.importorskip("ray")
    # What actors are built of is told to them by the names of its modules.
    found = [str(Path(ray_runs.__file__).parent), str(Path(__file__).parents[3])]
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", os.pathsep.join(found))
        patched.setenv("RAY_worker_niceness", "0")  # other tests beside these would leave actors no time
        warnings.simplefilter("ignore")
        before = signal.getsignal(signal.SIGTERM)
        ray.init(num_cpus=2, object_store_memory=100_000_000, include_dashboard=False, log_to_driver=False)
        yield str(ray.get_runtime_context().gcs_address)
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


@pytest.mark.usefixtures("cluster")
def test_tiles_of_one_raster_by_two_actors_one_of_which_is_killed(tmp_path: Path) -> None:
    """By a data module and a task in Python."""
    root, out, killed = tmp_path / "data", tmp_path / "ray", tmp_path / "killed"
    write_large_rasters(root, deadly=(24, 40))
    recipe = StandInRecipe(root, out, killed, tiled=True)
    _, task, data = recipe.parts({})
    summary = embed_on_ray(data, task, 2, trainer={"accelerator": "cpu"}, cpus_per_actor=1)
    assert killed.exists()
    assert "items exported" in summary
    in_one_process(replace(recipe, out=tmp_path / "one"))
    assert_same_exports(out, tmp_path / "one", resumed=True)
    assert sorted(path.name for path in (out / "grids").rglob("*.tif")) == ["big.tif"] * 2 + ["small.tif"] * 2


@pytest.mark.parametrize("grid_format", ["geotiff", pytest.param("zarr", marks=pytest.mark.slow)])
def test_a_job_that_is_killed_as_a_whole_goes_on_where_it_was(
    cluster: str, tmp_path: Path, grid_format: Literal["geotiff", "zarr"]
) -> None:
    """Kill -9 of the driver and of an actor in the middle; Ray ends the other one. The cluster is named by address."""
    root, out, killed = tmp_path / "data", tmp_path / "ray", tmp_path / "killed"
    write_large_rasters(root, deadly=(24, 40))
    recipe = StandInRecipe(root, out, killed, tiled=True, grid_format=grid_format, driver=tmp_path / "driver")
    code = f"from pathlib import PosixPath; from ray_runs import *; lead({cluster!r}, {recipe!r})"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, timeout=600)  # noqa: S603
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    assert list((out / "progress").glob("*-*.json"))
    run_on_ray(recipe, 2, cpus_per_actor=1)
    in_one_process(replace(recipe, out=tmp_path / "one"))
    assert_same_exports(out, tmp_path / "one", resumed=True)


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "nobody.invalid:6379", "auto:", "127.0.0.1"])
def test_an_address_without_a_cluster_is_refused_at_once(
    tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ray itself tries for minutes. Nothing is built or written before."""
    start = time.monotonic()
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(tmp_path / "none.yaml"), "--concurrency", "1", "--address", address])
    assert ended.value.code == 2
    assert f"No Ray cluster answers at '{address}'" in capsys.readouterr().err
    assert time.monotonic() - start < 8
