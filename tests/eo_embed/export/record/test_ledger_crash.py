"""Killed at any moment, by kill -9: nothing half, nothing twice, nothing missing, nothing left over."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import guarded_checks
import pytest

SCRIPT = Path(__file__).with_name("crash_export.py")
#: Kill points are drawn from it, so that a failure comes again. A batch has about 56 steps, the export 1600.
SEED, KILLS, FURTHEST = 12, 20 if guarded_checks.everything() else 8, 150


@pytest.fixture
def script() -> Any:
    spec = importlib.util.spec_from_file_location("crash_export", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _command(*arguments: object) -> list[str]:
    return [sys.executable, *map(str, arguments)]


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[4])}


def _run(*arguments: object) -> str:
    done = subprocess.run(  # noqa: S603
        _command(*arguments), env=_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _content(out: Path) -> dict[str, str]:
    """Hash of every file but the manifest, which holds the time."""
    files = [path for path in sorted(out.rglob("*")) if path.is_file() and path.name != "manifest.json"]
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _check(out: Path, script: Any) -> None:
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["state"] == "complete"
    ids = [entry["id"] for entry in manifest["inputs"]]
    assert ids == sorted(f"a/{number}" for number in range(script.ITEMS))
    assert {tuple(entry["files"]) for entry in manifest["inputs"]} == {
        (f"grids/a/{number}.tif", "embeddings.parquet") for number in range(script.ITEMS)
    }
    rows = (out / "embeddings.parquet").read_text().split()
    assert rows == [str(number) for number in range(script.ITEMS)]
    for number in range(script.ITEMS):
        assert (out / "grids" / "a" / f"{number}.tif").read_bytes() == script.content_of(number)
    assert {path.name for path in out.iterdir()} == {"manifest.json", "embeddings.parquet", "grids"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What an export leaves that was not killed."""
    folder = tmp_path_factory.mktemp("whole")
    _run(SCRIPT, folder)
    return _content(folder / "out")


def test_an_export_killed_again_and_again_equals_one_that_was_not(
    tmp_path: Path, script: Any, whole: dict[str, str]
) -> None:
    seen = json.loads(_run(SCRIPT, tmp_path, SEED, KILLS, FURTHEST))
    assert seen["halves"] > KILLS // 2, "few kills met a file half written"
    assert seen["entries"] > KILLS // 2, "few kills met an export that had something to lose"
    _run(SCRIPT, tmp_path)
    _check(tmp_path / "out", script)
    assert _content(tmp_path / "out") == whole


@pytest.mark.parametrize("step", ["write_text", "replace", "rmtree"])
def test_a_crash_between_any_two_steps_of_the_end_is_healed(
    tmp_path: Path, script: Any, whole: dict[str, str], step: str
) -> None:
    """The end is short, so kills at drawn steps miss it: here it stops before each of its steps in turn."""
    code = f"""
import sys, pathlib, shutil
sys.path[:0] = [{str(SCRIPT.parent)!r}]
import crash_export, eo_embed.export.record.manifest
from crash_export import export, finish, in_child, killed_before
def export_until(number):
    def watched(out):
        if {step!r} == "replace":
            pathlib.Path.replace = killed_before(number, pathlib.Path.replace, [])
        elif {step!r} == "rmtree":
            shutil.rmtree = killed_before(number, shutil.rmtree, [])
        else:
            manifest = eo_embed.export.record.manifest
            manifest.write_text = killed_before(number, manifest.write_text, [])
        finish(out)
    crash_export.finish = watched
    export(pathlib.Path(sys.argv[1]), 0, 1)
for number in range(1, 12):
    status = in_child(export_until, number)
    assert status in (0, -9), status
    if status == 0:
        break
print(number)
"""
    number = int(_run("-c", code, tmp_path))
    assert number > (1 if step == "rmtree" else 2)
    _check(tmp_path / "out", script)
    assert _content(tmp_path / "out") == whole


def test_two_processes_at_once_do_not_collide(tmp_path: Path, script: Any) -> None:
    processes = [
        subprocess.Popen(_command(SCRIPT, tmp_path, rank, 2), env=_environment())  # noqa: S603
        for rank in (0, 1)
    ]
    assert [process.wait() for process in processes] == [0, 0]
    out = tmp_path / "out"
    entries = [entry for path in (out / "progress").glob("*.json") for entry in json.loads(path.read_text())]
    assert sorted(entry["id"] for entry in entries) == sorted(f"a/{number}" for number in range(script.ITEMS))
    assert {path.name.split("-")[0] for path in (out / "progress").iterdir()} == {"0", "1"}
    script.finish(out)
    _check(out, script)
