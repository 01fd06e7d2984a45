"""The command writes indices that the data module reads, and says what it wrote."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
import yaml

from eo_data.catalog.index_table import from_index
from eo_data.catalog.known.tables import KNOWN_INDICES
from eo_data.catalog.sources import ImageSource
from eo_data.index import main
from eo_data.preprocess.statistics import read_statistics

S2 = ["B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12"]


# PASTIS


def test_the_data_module_reads_the_index_of_pastis(pastis: Path) -> None:
    main(["pastis", str(pastis)])
    sources = {"S2": ImageSource(bands=S2, sensor="sentinel2_l2a"), "S1A": ImageSource(bands=["VV"])}
    records = from_index(pastis / "index.json", pastis, sources)
    assert records[3].dates == {"S2": (date(2018, 9, 24), date(2018, 12, 31)), "S1A": (date(2019, 1, 5),)}
    assert str(records[3].label) == str(pastis / "ANNOTATIONS/TARGET_10004.npy")
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


# Classes


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


def test_a_fault_ends_the_command_with_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["pastis", str(tmp_path)])
    assert ended.value.code == 2
    assert "There is no" in capsys.readouterr().err


def test_every_known_data_set_has_a_command_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    names = [known.name for known in KNOWN_INDICES]
    assert len(set(names)) == len(names)
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"{known.name} " in shown and known.summary in " ".join(shown.split()) for known in KNOWN_INDICES)
