"""Two processes that write tiles of the same rasters at the same time: the bytes of one process, whatever is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import guarded_checks
import pytest
import tiled_runs
from same_exports import assert_same_exports
from tiled_runs import Tiles, export, exporter, write_raster

from eo_core.locks import FolderLock
from eo_embed.export.flow.summary import Counts

#: Runs of each kind.
SEEDS = 6 if guarded_checks.everything() else 1


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rasters: both processes begin the first one at the same moment, and go over to the second one."""
    root = tmp_path_factory.mktemp("data")
    write_raster(root / "a" / "big.tif", blank=(slice(0, 40), slice(0, 90)))
    write_raster(root / "other.tif", 1, (70, 90))
    return root


def files(out: Path) -> dict[str, bytes]:
    """All files but the manifest, which tells times."""
    found = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if name != "manifest.json"}


def test_two_processes_make_the_bytes_of_one_whatever_is_killed(root: Path, tmp_path: Path) -> None:
    """Each rank is killed once, the other one with it, and all is run again. COGs and Zarr, vectors and manifest."""
    # In a process of its own, which imports once: its children must not miss threads that GDAL has here.
    command = [sys.executable, tiled_runs.__file__, str(root), str(tmp_path), str(SEEDS)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert [kills > 0 for _, _, kills in made] == 2 * [False, *SEEDS * [True]]
    wholes = {form: tmp_path / f"whole-{form}" for form in ("geotiff", "zarr")}
    for form, whole in wholes.items():
        export(root, whole, grid_format=form)
    for form, out, kills in made:
        assert files(Path(out)) == files(wholes[form]), out
        assert_same_exports(Path(out), wholes[form], resumed=kills > 0)


def test_what_another_process_ended_without_recording_is_done_again(root: Path, tmp_path: Path) -> None:
    """Its cells are those of an earlier run, but no entry of this run tells of them: nobody would keep them."""
    out, plain = tmp_path / "out", tmp_path / "plain"
    export(root, out)
    export(root, plain)
    (out / "grids" / "other.tif").write_bytes(b"damaged")
    leader, batches = exporter(root, out), Tiles(root)
    leader.open(None, (), batches.dataset)
    todo = [batch for batch in batches if "image" in batch and batch["id"][0].startswith("other/")]
    assert len(todo) > 1
    leader.go_on()
    told = leader.rasters_again, FolderLock(out).holder()
    lost, later = (exporter(root, out, rank) for rank in (1, 2))
    lost.join(Tiles(root).dataset, *told)
    lost.add(todo[0])
    lost.close()
    (entry,) = (out / "progress").glob("1-*.json")
    entry.unlink()  # as if it had ended just before
    later.join(Tiles(root).dataset, *told)
    for batch in todo:
        later.add(batch)
    leader.complete(leader.close() + later.close())
    assert files(out) == files(plain)
    assert_same_exports(out, plain, resumed=True)


def test_a_process_that_outlives_its_leader_writes_no_more(root: Path, tmp_path: Path) -> None:
    """It would write into the folder of the run that goes on there."""
    out, batches = tmp_path / "out", list(Tiles(root))
    leader, other = exporter(root, out), exporter(root, out, 1)
    leader.open()
    other.open()
    other.add(batches[-1])
    other.close()
    leader.release()
    before = files(out)
    with pytest.raises(OSError, match="the run that leads this one has ended"):
        other.add(batches[-2])
    assert files(out) == before
    again = exporter(root, out)
    again.open()
    again.complete(again.close() + Counts())
