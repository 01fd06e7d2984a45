"""Broken inputs and faults of runs: a light form always, the whole with CI_FULL=1 (`python -m tests.faults`)."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.inputs.pool import outcomes
from tests.faults.outcome import Outcome

pytestmark = pytest.mark.faults


def harness(root: Path, *arguments: str) -> tuple[int, str]:
    """Run the harness in a process that has no threads, as it forks; return its exit code and what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.faults", *arguments]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    return done.returncode, done.stdout + done.stderr[-3000:]


def test_no_damaged_or_hostile_input_is_read_as_something_else(root: Path) -> None:
    code, text = harness(root, "--cases", "300", "--faults", "0", "--workers", "1")
    assert code == 0, text


def test_no_fault_leaves_an_export_that_is_complete_and_wrong(root: Path) -> None:
    code, text = harness(root, "--cases", "0", "--faults", "16", "--workers", "1")
    assert code == 0, text


@pytest.mark.slow
def test_the_whole_corpus_and_all_faults(root: Path) -> None:
    code, text = harness(root, "--cases", "10000", "--faults", "300", "--workers", "2")
    sys.stdout.write(text)
    assert code == 0, text


def _fate(number: int) -> Outcome:
    if number == 0:
        time.sleep(60)
    if number == 1:
        os._exit(0)
    if number == 2:
        # New pages: a test before this one may have left the process as much free memory, which would not count.
        with mmap.mmap(-1, 200 << 20) as held:
            held[::4096] = b"x" * (len(held) // 4096)
            return Outcome("equal", str(len(held)))
    if number == 3:
        raise MemoryError
    return Outcome("equal")


def test_a_case_that_hangs_dies_or_takes_the_memory_does_not_pass_for_one_that_is_well() -> None:
    found = {number: outcome for number, outcome, _ in outcomes(6, _fate, workers=2, seconds=2, memory=64 << 20)}
    assert [found[i].verdict for i in range(6)] == ["hang", "unexpected", "memory", "unexpected", "equal", "equal"]
    assert "died with 0" in found[1].why
