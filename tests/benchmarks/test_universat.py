"""The benchmark runs, and its share of the peak is that of the operations that it counts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def test_both_encoders_are_measured_on_the_same_input(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    command = ["benchmarks/universat.py", "--size", "tiny", "--repeats", "1", "--product", "128"]
    command += ["--cases", "4:2:20:2", "--out", str(out)]
    done = subprocess.run([sys.executable, *command], cwd=root, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads(out.read_text())["rows"]
    assert [row["encoder"] for row in rows] == ["AnySat tiny", "UniverSat tiny"]
    assert len({row["input"] for row in rows}) == 1
    for row in rows:
        assert row["gflop_per_window"] > 0.01
        rate = row["gflop_per_window"] * row["windows_per_s"]
        assert row["gflops"] == pytest.approx(rate, rel=1e-6)
        assert row["of_measured_peak"] == pytest.approx(rate / row["measured_peak_gflops"], rel=1e-6)
