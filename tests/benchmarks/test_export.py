"""The export benchmark: what it compares is the same work, and ratios are those of the rounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from eo_embed import open_embeddings


def test_our_task_and_terratorchs_write_the_same_numbers(tmp_path: Path) -> None:
    """A benchmark that gives its competitors other pixels, another encoder or less to do says nothing."""
    from export_runs.asked import Asked
    from export_runs.chips import write_chips
    from export_runs.lightning_run import exported

    write_chips(tmp_path / "chips", 3, 64)
    for kind in ("ours", "stock"):
        asked = Asked(str(tmp_path / "chips"), str(tmp_path / kind), output="grid", batch=2, workers=0)
        found = exported(kind, Asked.parse(asked.text))
        assert found["items"] == 3
        assert 0 < found["encoder_s"] < found["seconds"]
    ours = open_embeddings(tmp_path / "ours")
    assert len(ours.ids) == 3
    for name in ours.ids:
        with rasterio.open(tmp_path / "stock" / "layer_00" / f"{name}_embedding.tif") as file:
            theirs = file.read()
        assert theirs.shape == (192, 8, 8)
        np.testing.assert_allclose(ours.grid(name).values, theirs, rtol=1e-4, atol=1e-5)


def test_ratios_are_medians_of_the_rounds_and_not_of_all_runs() -> None:
    """On a machine whose load changes, only runs of one round are comparable."""
    from export import summary

    rates = {"ours": [10.0, 1.0, 8.0], "stock": [5.0, 0.5, 2.0]}
    rows = [
        {"output": "grid", "round": number, "kind": kind, "items_per_s": rate, "seconds": 2.0, "written_mb": 1.0}
        | {"items": 4, "core_s": 8.0 if kind == "ours" else 12.0}
        | {"encoder_s": 1.5 if kind == "ours" else None, "peak_mib": 100}
        for kind, own in rates.items()
        for number, rate in enumerate(own)
    ]
    ours, stock = summary(rows)
    assert (ours["items_per_s"], ours["encoder"], ours["ours_is"]) == (8.0, 0.75, 1.0)
    assert (ours["ours_is_by_cores"], stock["ours_is_by_cores"]) == (1.0, 1.5)
    assert (stock["items_per_s"], stock["encoder"], stock["ours_is"]) == (2.0, None, 2.0)


def test_terratorchs_task_is_not_said_to_run_in_our_precision(tmp_path: Path) -> None:
    from export_runs.asked import Asked
    from export_runs.lightning_run import stock

    with pytest.raises(ValueError, match="no precision of its own, got 'bf16'; leave --precision out"):
        stock(Asked("chips", str(tmp_path), precision="bf16"))


def test_chips_differ_and_are_where_they_say(tmp_path: Path) -> None:
    from export_runs.chips import BANDS, write_chips

    write_chips(tmp_path, 4, 64)
    seen = []
    for path in sorted(tmp_path.glob("*.tif")):
        with rasterio.open(path) as file:
            assert file.descriptions == BANDS
            assert (file.shape, file.res) == ((64, 64), (10, 10))
            seen.append((file.read().tobytes(), file.bounds.left))
    assert len({pixels for pixels, _ in seen}) == len({left for _, left in seen}) == 4
