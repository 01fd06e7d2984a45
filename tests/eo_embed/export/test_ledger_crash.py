"""Killed at any moment, by kill -9: nothing half, nothing twice, nothing missing, nothing left over."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("crash_export.py")


@pytest.fixture
def script() -> Any:
    spec = importlib.util.spec_from_file_location("crash_export", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _start(folder: Path, *arguments: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[3])}
    return subprocess.Popen(  # noqa: S603
        [sys.executable, str(SCRIPT), str(folder), *map(str, arguments)], env=environment
    )


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


def test_an_export_killed_twenty_times_equals_one_that_was_not(tmp_path: Path, script: Any) -> None:
    assert _start(tmp_path / "whole").wait() == 0
    _check(tmp_path / "whole" / "out", script)
    seed = random.SystemRandom().randrange(10**6)
    chance = random.Random(seed)  # noqa: S311
    out = tmp_path / "killed" / "out"
    killed = halves = 0
    for _ in range(200):
        if killed == 20:
            break
        process = _start(tmp_path / "killed")
        before = _grids(out)
        # Python and imports take most of a second; the moment is drawn from when the run makes files.
        deadline = time.monotonic() + 60
        while process.poll() is None and _grids(out) == before and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.03)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        if process.wait() == -signal.SIGKILL:
            killed += 1
            halves += any(out.rglob(".partial-*"))
        else:  # it came to its end: begin again, so that there are twenty kills
            _check(out, script)
            for path in sorted(out.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
    assert killed == 20
    assert halves, f"no kill met a file half written, so nothing was proven (seed {seed})"
    assert _start(tmp_path / "killed").wait() == 0
    _check(out, script)
    assert _content(out) == _content(tmp_path / "whole" / "out")


def _grids(out: Path) -> set[str]:
    return {entry.name for entry in os.scandir(out / "grids" / "a")} if (out / "grids" / "a").is_dir() else set()


@pytest.mark.parametrize("step", ["write_text", "replace", "rmtree"])
def test_a_crash_between_any_two_steps_of_the_end_is_healed(tmp_path: Path, script: Any, step: str) -> None:
    """The end is short, so random kills miss it: here it stops before each of its steps in turn."""
    assert _start(tmp_path / "whole").wait() == 0
    whole = _content(tmp_path / "whole" / "out")
    folder = tmp_path / "killed"
    code = f"""
import sys, os, pathlib, shutil
sys.path[:0] = [{str(SCRIPT.parents[3])!r}, {str(SCRIPT.parent)!r}]
import crash_export, eo_embed.export.manifest
calls = 0
def stop(function):
    def counted(*args, **kwargs):
        global calls
        calls += 1
        if calls == int(sys.argv[1]):
            os.kill(os.getpid(), 9)
        return function(*args, **kwargs)
    return counted
finish = crash_export.finish
def watched(out):
    if {step!r} == "replace":
        pathlib.Path.replace = stop(pathlib.Path.replace)
    elif {step!r} == "rmtree":
        shutil.rmtree = stop(shutil.rmtree)
    else:
        eo_embed.export.manifest.write_text = stop(eo_embed.export.manifest.write_text)
    finish(out)
crash_export.finish = watched
crash_export.export(pathlib.Path({str(folder)!r}), 0, 1)
"""
    for call in range(1, 12):
        done = subprocess.run([sys.executable, "-c", code, str(call)], check=False).returncode  # noqa: S603
        if done == 0:
            break
        assert done == -signal.SIGKILL
    assert call > 2 if step != "rmtree" else call > 1
    _check(folder / "out", script)
    assert _content(folder / "out") == whole


def test_two_processes_at_once_do_not_collide(tmp_path: Path, script: Any) -> None:
    processes = [_start(tmp_path, rank, 2) for rank in (0, 1)]
    assert [process.wait() for process in processes] == [0, 0]
    out = tmp_path / "out"
    entries = [entry for path in (out / "progress").glob("*.json") for entry in json.loads(path.read_text())]
    assert sorted(entry["id"] for entry in entries) == sorted(f"a/{number}" for number in range(script.ITEMS))
    assert {path.name.split("-")[0] for path in (out / "progress").iterdir()} == {"0", "1"}
    script.finish(out)
    _check(out, script)
