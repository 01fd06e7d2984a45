"""A disk that gets full: whole, or an error and nothing under the name. A damaged file that looks finished is kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import guarded_checks
import pytest

SCRIPT = Path(__file__).with_name("full_disk.py")
SIZES = 40 if guarded_checks.everything() else 8
#: A file system of its own, in a name space of its own.
TMPFS = ("unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=8m tmpfs "$1" && shift && exec "$@"', "sh")


def _outcomes(how: str, folder: Path, *before: str) -> dict[str, dict[str, str]]:
    """Run the script in a process of its own: the limit holds for all of a process, and a crash would end it."""
    command = [*before, sys.executable, str(SCRIPT), how, str(folder), str(SIZES)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, dict[str, str]] = json.loads(done.stdout)
    return found


def _faults(outcomes: dict[str, dict[str, str]]) -> list[str]:
    return [
        f"{kind} at {size} bytes: {end}"
        for kind, ends in outcomes.items()
        for size, end in ends.items()
        if end not in {"whole", "refused"}
    ]


@pytest.mark.parametrize("how", ["limit", "disk"])
def test_every_kind_of_file_is_whole_or_refused(how: str, tmp_path: Path) -> None:
    """25 of 40 sizes left a damaged grid under its final name, and NetCDF ended the interpreter."""
    before: tuple[str, ...] = ()
    if how == "disk":
        mount = [*TMPFS, str(tmp_path), "true"]
        allowed = shutil.which("unshare") and not subprocess.run(mount, capture_output=True, check=False).returncode  # noqa: S603
        if not allowed:
            pytest.skip("file systems cannot be mounted here")
        before = (*TMPFS, str(tmp_path))
    outcomes = _outcomes(how, tmp_path, *before)
    assert _faults(outcomes) == []
    assert len(outcomes) > 10
    for kind, ends in outcomes.items():
        assert set(ends.values()) == {"whole", "refused"}, kind
