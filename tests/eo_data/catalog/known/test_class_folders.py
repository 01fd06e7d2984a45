"""One folder per class: numbers in the order of the alphabet, and splits that name every scene once."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from small_files import touch

from eo_data.catalog.known.class_folders import class_rows


def test_classes_are_numbered_in_the_order_of_the_alphabet(scenes: Path) -> None:
    rows, classes = class_rows(scenes, "tif", "S2", splits={"train": "train.txt", "val": "val.txt"})
    assert classes == ["AnnualCrop", "Forest", "River"]
    by_id = {row["id"]: row for row in rows}
    assert len(by_id) == 9
    assert by_id["River_1"] == {"id": "River_1", "S2": "tif/River/River_1.tif", "label": 2, "split": "train"}
    assert by_id["AnnualCrop_2"]["split"] == "val"
    assert "split" not in by_id["River_10"]


@pytest.mark.parametrize(
    ("folder", "splits", "message"),
    [
        (".", {}, "Expected a folder per class below .*, got .'tif'"),
        ("tif/River", {}, "Expected a folder per class below .*River, got none"),
        (
            "tif",
            {"train": "absent.txt"},
            "A split is stated as <train.val.test.predict>=<file below .*train=absent.txt is not",
        ),
        ("tif", {"training": "train.txt"}, "training=train.txt is not"),
        ("tif", {"train": "train.txt", "val": "train.txt"}, "are in the split 'val' and in 'train'"),
        ("tif", {"train": "other.txt"}, "named by a split, but not there: .'Lake_1'"),
    ],
)
def test_faulty_classes_are_refused(scenes: Path, folder: str, splits: dict[str, str], message: str) -> None:
    (scenes / "other.txt").write_text("Lake_1.jpg\n")
    with pytest.raises(ValueError, match=message):
        class_rows(scenes, folder, splits=splits)


def test_scenes_of_one_name_and_empty_classes_are_refused(scenes: Path) -> None:
    touch(scenes, "tif/Forest/River_1.tif")
    with pytest.raises(ValueError, match="of one name: .'River_1'"):
        class_rows(scenes, "tif")
    with pytest.raises(ValueError, match="there are none"):
        class_rows(scenes, "tif", files="*.png")


def test_suffixes_in_capitals_and_decomposed_accents_are_scenes_too(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Köln_1") for form in ("NFC", "NFD"))
    touch(tmp_path, f"A/{decomposed}.TIF", "B/b_1.tif", "B/._b_1.tif")
    (tmp_path / "train.txt").write_text(f"{composed}.jpg\n", encoding="utf-8")
    rows, _ = class_rows(tmp_path, ".", splits={"train": "train.txt"})
    assert [(row["id"], row["label"], row.get("split")) for row in rows] == [(composed, 0, "train"), ("b_1", 1, None)]
    assert (tmp_path / rows[0]["image"]).is_file()
