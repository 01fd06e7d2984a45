"""PASTIS: dates in the order of the frames, folds, labels and statistics as they were published."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eo_data.catalog.known.pastis import pastis_rows, pastis_statistics


def test_pastis_dates_follow_the_number_of_the_frame_not_its_spelling(pastis: Path) -> None:
    row = pastis_rows(pastis)[1]
    assert row["S2_dates"] == [f"2018-10-{day}" for day in range(10, 21)]


def test_pastis_files_folds_and_labels(pastis: Path) -> None:
    rows = pastis_rows(pastis)
    assert [row["split"] for row in rows] == ["train", "train", "train", "val", "test"]
    assert rows[0] == {
        "id": "10001",
        "S2": "DATA_S2/S2_10001.npy",
        "S2_dates": ["2018-09-24", "2018-12-31"],
        "S1A": "DATA_S1A/S1A_10001.npy",
        "S1A_dates": ["2019-01-05"],
        "label": "ANNOTATIONS/TARGET_10001.npy",
        "split": "train",
    }  # no S1D: its folder is not there


def test_what_is_not_pastis_is_refused(pastis: Path, tmp_path: Path) -> None:
    (pastis / "NORM_S2_patch.json").write_text('{"Fold_1": {"mean": [1]}}')
    with pytest.raises(ValueError, match="NORM_S2_patch.json does not hold the statistics of PASTIS"):
        pastis_statistics(pastis, "S2")
    short = {f"Fold_{k}": {"mean": [1, 2], "std": [1, 2]} for k in range(1, 4)}
    (pastis / "NORM_S2_patch.json").write_text(json.dumps(short))
    with pytest.raises(ValueError, match="2 bands instead of 10"):
        pastis_statistics(pastis, "S2")
    (pastis / "metadata.geojson").write_text('{"features": [{"properties": {"ID_PATCH": 1, "Fold": 9}}]}')
    with pytest.raises(ValueError, match="metadata.geojson is not the metadata of PASTIS"):
        pastis_rows(pastis)
    with pytest.raises(ValueError, match="There is no .*metadata.geojson. Give the folder"):
        pastis_rows(tmp_path / "elsewhere")
