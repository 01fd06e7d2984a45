"""Indices of public data sets: dates in the order of the frames, labels and splits that belong to the files."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from eo_data.catalog.index_table import from_index
from eo_data.catalog.known.biomassters import biomassters_rows
from eo_data.catalog.known.class_folders import class_rows
from eo_data.catalog.known.pastis import pastis_rows, pastis_statistics
from eo_data.catalog.sources import ImageSource
from eo_data.index import main
from eo_data.preprocess.statistics import read_statistics

S2 = ["B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12"]


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


# PASTIS


@pytest.fixture
def pastis(tmp_path: Path) -> Path:
    """Five patches, one per fold; the second has eleven Sentinel-2 dates, written as text and not in their order."""
    eleven = {str(i): int(f"201810{i + 10}") for i in range(11)}
    jumbled = json.dumps(dict(sorted(eleven.items())))
    assert list(json.loads(jumbled))[:3] == ["0", "1", "10"]
    features = []
    for fold in range(1, 6):
        number = 10000 + fold
        dates: dict[str, Any] = {"dates-S2": {"0": 20180924, "1": 20181231}, "dates-S1A": {"0": 20190105}}
        if fold == 2:
            dates["dates-S2"] = jumbled
        patch = {"ID_PATCH": number, "Fold": fold, "TILE": "t30uxv", "dates-S1D": {}, **dates}
        features.append({"type": "Feature", "properties": patch, "geometry": None})
        touch(*(tmp_path / f"DATA_{name}" / f"{name}_{number}.npy" for name in ("S2", "S1A")))
        touch(tmp_path / "ANNOTATIONS" / f"TARGET_{number}.npy")
    (tmp_path / "metadata.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    for name, n_bands in (("S2", 10), ("S1A", 3)):
        folds = {
            f"Fold_{k}": {"mean": [100.0 * k + b for b in range(n_bands)], "std": [10.0 * k] * n_bands}
            for k in range(1, 6)
        }
        (tmp_path / f"NORM_{name}_patch.json").write_text(json.dumps(folds))
    return tmp_path


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


def test_the_data_module_reads_the_index_of_pastis(pastis: Path) -> None:
    main(["pastis", str(pastis)])
    sources = {"S2": ImageSource(bands=S2, sensor="sentinel2_l2a"), "S1A": ImageSource(bands=["VV"])}
    records = from_index(pastis / "index.json", pastis, sources)
    assert records[3].dates == {"S2": (date(2018, 9, 24), date(2018, 12, 31)), "S1A": (date(2019, 1, 5),)}
    assert records[3].label == pastis / "ANNOTATIONS/TARGET_10004.npy"
    assert records[3].split == "val"


def test_pastis_statistics_are_those_of_the_training_folds_in_reflectance(pastis: Path) -> None:
    main(["pastis", str(pastis)])
    statistics = read_statistics(pastis / "statistics_S2.yaml")
    zscore = statistics.zscore(["B12", "B2"], "reflectance")
    # Folds 1 to 3: (100 + 200 + 300) / 3 + number of the band, and (10 + 20 + 30) / 3, in ten thousandths.
    assert list(zscore.mean) == pytest.approx([209e-4, 200e-4])
    assert list(zscore.std) == pytest.approx([20e-4, 20e-4])
    radar = yaml.safe_load((pastis / "statistics_S1A.yaml").read_text())
    assert (radar["bands"], radar["unit"], radar["means"]) == (["VV", "VH", "VV/VH"], "decibel", [200, 201, 202])


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


# BioMassters


@pytest.fixture
def biomassters(tmp_path: Path) -> Path:
    for chip in ("aaa", "bbb"):
        touch(*(tmp_path / f"train_features/{chip}_S1_{month:02d}.tif" for month in range(12)))
        touch(*(tmp_path / f"train_features/{chip}_S2_{month:02d}.tif" for month in (0, 3, 4, 11)))
        touch(tmp_path / f"train_agbm/{chip}_agbm.tif")
    for chip in ("ccc", "ddd"):
        touch(*(tmp_path / f"test_features/{chip}_{sensor}_00.tif" for sensor in ("S1", "S2")))
    touch(tmp_path / "test_agbm/ccc_agbm.tif")
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
            touch(tmp_path / f"train_features/c{i}_S2_00.tif", tmp_path / f"train_agbm/c{i}_agbm.tif")
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
    touch(tmp_path / "odd/train_features/x_S1_12.tif", tmp_path / "odd/train_agbm/x_agbm.tif")
    with pytest.raises(ValueError, match="Months count from 00 .September. to 11 .August., got 12"):
        biomassters_rows(tmp_path / "odd")


# Classes


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    for name in ("River", "AnnualCrop", "Forest"):
        touch(*(tmp_path / "tif" / name / f"{name}_{i}.tif" for i in (1, 2, 10)))
    (tmp_path / "train.txt").write_text("River_1.jpg\nForest_10.jpg\n\n")
    (tmp_path / "val.txt").write_text("AnnualCrop_2.jpg\n")
    return tmp_path


def test_classes_are_numbered_in_the_order_of_the_alphabet(scenes: Path) -> None:
    rows, classes = class_rows(scenes, "tif", "S2", splits={"train": "train.txt", "val": "val.txt"})
    assert classes == ["AnnualCrop", "Forest", "River"]
    by_id = {row["id"]: row for row in rows}
    assert len(by_id) == 9
    assert by_id["River_1"] == {"id": "River_1", "S2": "tif/River/River_1.tif", "label": 2, "split": "train"}
    assert by_id["AnnualCrop_2"]["split"] == "val"
    assert "split" not in by_id["River_10"]


def test_the_command_says_classes_and_splits(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["classes", str(scenes), "--folder", "tif", "--modality", "S2", "--split", "train=train.txt"])
    assert capsys.readouterr().out.splitlines() == [
        "class 0: AnnualCrop",
        "class 1: Forest",
        "class 2: River",
        f"{scenes}/index.json: 7 no split, 2 train",
    ]
    records = from_index(scenes / "index.json", scenes, {"S2": ImageSource(bands=["B2"])})
    assert {record.id: record.label for record in records if record.split} == {"Forest_10": 1, "River_1": 2}
    assert [path.name for path in scenes.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("folder", "splits", "message"),
    [
        (".", {}, "Expected a folder per class below .*, got .'tif'"),
        ("tif/River", {}, "Expected a folder per class below .*River, got none"),
        ("tif", {"train": "absent.txt"}, "Splits are <train.val.test.predict>=<file below .*train=absent.txt is none"),
        ("tif", {"training": "train.txt"}, "training=train.txt is none"),
        ("tif", {"train": "train.txt", "val": "train.txt"}, "are in the split 'val' and in 'train'"),
        ("tif", {"train": "other.txt"}, "named by a split, but not there: .'Lake_1'"),
    ],
)
def test_faulty_classes_are_refused(scenes: Path, folder: str, splits: dict[str, str], message: str) -> None:
    (scenes / "other.txt").write_text("Lake_1.jpg\n")
    with pytest.raises(ValueError, match=message):
        class_rows(scenes, folder, splits=splits)


def test_scenes_of_one_name_and_empty_classes_are_refused(scenes: Path) -> None:
    touch(scenes / "tif" / "Forest" / "River_1.tif")
    with pytest.raises(ValueError, match="doubled: .'River_1'"):
        class_rows(scenes, "tif")
    with pytest.raises(ValueError, match="there are none"):
        class_rows(scenes, "tif", files="*.png")


def test_a_fault_ends_the_command_with_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["pastis", str(tmp_path)])
    assert ended.value.code == 2
    assert "There is no" in capsys.readouterr().err
