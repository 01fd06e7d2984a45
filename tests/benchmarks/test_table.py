"""The tables of `benchmarks/README.md`: what the results give, and costs that follow from speeds and prices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

GPU = {"name": "NVIDIA H100 80GB", "kind": "cuda", "torch": "2.11", "stated_bf16_tflops": 1000.0}
CPU = {"name": "Some CPU", "kind": "cpu", "torch": "2.15", "threads": 2, "features": ["avx2"]}
PRICES = [
    {"device": "H100", "dollars_an_hour": 3.6, "per": "card", "what": "a card", "source": "s"},
    {"device": "", "kind": "cpu", "dollars_an_hour": 0.36, "per": "core", "what": "a core", "source": "s"},
]


def row(**more: Any) -> dict[str, Any]:
    own = {"case": "THOR tiny", "encoder": "THOR tiny", "input": "100 px, patch 8 px", "precision": "tf32"}
    speed = {"mode": "eager", "batch": 8, "windows_per_s": 100.0, "km2_per_s": 100.0, "tflops": 10.0}
    return own | speed | {"gflop_per_window": 100.0, "of_measured_peak": 0.5} | more


def result(device: dict[str, Any], *rows: dict[str, Any], quick: bool = False) -> dict[str, Any]:
    about = {"measured_by": "benchmarks/gpu.py", "date": "2026-11-27", "quick": quick}
    return about | {"device": device, "rows": {"encoder": list(rows)}, "left_out": []}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    peers = {"encoders": [], "whole_runs": []}
    for name, content in {"prices": {"prices": PRICES}, "peers": peers}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


def test_the_readme_is_what_the_results_give(root: Path) -> None:
    import table

    assert table.generated(root / "benchmarks" / "results") in (root / "benchmarks" / "README.md").read_text()


def test_costs_follow_from_the_speed_and_the_price(folder: Path) -> None:
    """$3.6 an hour are $0.001 a second: 1 000 km2 at 100 km2/s take 10 s, $0.01. Of a CPU, busy cores count."""
    import table

    (folder / "card.json").write_text(json.dumps(result(GPU, row())))
    slow = row(precision="float32", windows_per_s=2.0, windows_per_core_s=1.0, km2_per_s=2.0)
    (folder / "cores.json").write_text(json.dumps(result(CPU, slow)))
    text = table.throughput(folder)
    assert "| THOR tiny, 100 px, patch 8 px | tf32, eager | 8 | 100 | - | 100 | 10 | 1% | 0.01 | card |" in text
    assert (
        "| THOR tiny, 100 px, patch 8 px | float32, eager | 8 | 2 | 1 | 2 | 10 | 50% of measured | 0.1 | cores |"
        in text
    )
    assert "- cores, THOR tiny, float32: 0.36 / 3 600 / 1 km2/s and core x 1 000 = $0.1" in text


def test_a_run_that_ended_early_spoils_no_table(folder: Path) -> None:
    import table

    begun = result(CPU)
    begun["rows"] = {"golden": [{"case": "tiny", "precision": "float32", "error": 1e-6, "equal": True}]}
    (folder / "begun.json").write_text(json.dumps(begun))
    assert "| begun | float32 | 1 | 1.0e-06 | tiny |" in table.generated(folder)


def test_a_run_that_only_shows_that_it_runs_is_no_result(folder: Path) -> None:
    import table

    (folder / "try.json").write_text(json.dumps(result(GPU, row(), quick=True)))
    assert "THOR tiny" not in table.throughput(folder)


def test_the_quickest_batch_of_each_precision_is_shown(folder: Path) -> None:
    import table

    rows = [row(batch=size, windows_per_s=rate) for size, rate in ((1, 50.0), (8, 200.0), (64, 100.0))]
    (folder / "card.json").write_text(json.dumps(result(GPU, *rows, row(precision="bf16", windows_per_s=300.0))))
    lines = [line for line in table.throughput(folder).splitlines() if line.startswith("| THOR")]
    assert [line.split(" | ")[1:4] for line in lines] == [["tf32, eager", "8", "200"], ["bf16, eager", "8", "300"]]


def test_rows_for_the_public_bench_name_precisions_as_it_does(folder: Path) -> None:
    """Its fp32 has TF32 on: float32 without it would be a slower row under a name that means another thing."""
    import table

    kinds = ("float32", "tf32", "bf16")
    rows = list(table.bench_rows(result(GPU, *(row(precision=kind, shortest_s=0.04, longest_s=0.1) for kind in kinds))))
    assert [one["precision"] for one in rows] == ["fp32", "amp"]
    assert set(rows[0]) == set(table.BENCH_COLUMNS)
    assert (rows[0]["pixels_per_sec"], rows[0]["throughput_min"], rows[0]["throughput_max"]) == (1e6, 80, 200)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (12345.0, "12 300"),
        (99.6, "100"),
        (42.4, "42"),
        (1.234, "1.2"),
        (0.0000764, "0.000076"),
        (1.0, "1"),
    ],
)
def test_numbers_have_two_or_three_digits(value: float | None, shown: str) -> None:
    import table

    assert table.number(value) == shown
