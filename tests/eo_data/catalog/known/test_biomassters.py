"""BioMassters: months count from September, and the split is the same on every machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_files import touch

from eo_data.catalog.known.biomassters import biomassters_rows


@pytest.fixture
def biomassters(tmp_path: Path) -> Path:
    for chip in ("aaa", "bbb"):
        touch(tmp_path, *(f"train_features/{chip}_S1_{month:02d}.tif" for month in range(12)))
        touch(tmp_path, *(f"train_features/{chip}_S2_{month:02d}.tif" for month in (0, 3, 4, 11)))
        touch(tmp_path, f"train_agbm/{chip}_agbm.tif")
    for chip in ("ccc", "ddd"):
        touch(tmp_path, *(f"test_features/{chip}_{sensor}_00.tif" for sensor in ("S1", "S2")))
    touch(tmp_path, "test_agbm/ccc_agbm.tif")
    return tmp_path


def test_biomassters_months_count_from_september(biomassters: Path) -> None:
    row = biomassters_rows(biomassters)[0]
    assert row["S2"] == [f"train_features/aaa_S2_{month}.tif" for month in ("00", "03", "04", "11")]
    assert row["S2_dates"] == ["2018-09-15", "2018-12-15", "2019-01-15", "2019-08-15"]
    assert len(row["S1"]) == len(row["S1_dates"]) == 12


def test_biomassters_splits_and_labels(biomassters: Path) -> None:
    rows = {row["id"]: row for row in biomassters_rows(biomassters, 0)}
    assert {chip: row["split"] for chip, row in rows.items()} == {
        "aaa": "train", "bbb": "train", "ccc": "test", "ddd": "predict"
    }  # fmt: skip
    assert rows["ccc"]["label"] == "test_agbm/ccc_agbm.tif"
    assert "label" not in rows["ddd"]


def test_a_tenth_validates_and_stays_when_chips_are_added(tmp_path: Path) -> None:
    def drawn(n: int) -> set[str]:
        for i in range(n):
            touch(tmp_path, f"train_features/c{i}_S2_00.tif", f"train_agbm/c{i}_agbm.tif")
        return {row["id"] for row in biomassters_rows(tmp_path) if row["split"] == "val"}

    few = drawn(200)
    many = drawn(1000)
    assert few == {chip for chip in many if int(chip[1:]) < 200}
    assert 70 < len(many) < 130


def test_what_is_not_biomassters_is_refused(biomassters: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be at least 0 and below 1, got 1"):
        biomassters_rows(biomassters, 1)
    (biomassters / "train_agbm/aaa_agbm.tif").unlink()
    with pytest.raises(ValueError, match="The training chip aaa has no label .*aaa_agbm.tif"):
        biomassters_rows(biomassters)
    with pytest.raises(ValueError, match="There are no files such as train_features"):
        biomassters_rows(tmp_path / "elsewhere")
    touch(tmp_path, "odd/train_features/x_S1_12.tif", "odd/train_agbm/x_agbm.tif")
    with pytest.raises(ValueError, match="Months count from 00 .September. to 11 .August., got 12"):
        biomassters_rows(tmp_path / "odd")
