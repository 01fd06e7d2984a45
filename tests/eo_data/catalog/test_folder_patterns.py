"""Files are joined by name; what is duplicate, missing or ambiguous is named before anything is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from small_files import touch

from eo_data.catalog.folder_patterns import from_folders
from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import Record
from eo_data.catalog.sources import ImageSource, LabelSource
from eo_data.catalog.splits import read_split

S2 = ImageSource("img/{id}_S2.tif", ["B2", "B3"], sensor="sentinel2_l2a")


S1 = ImageSource("s1/{id}_S1.tif", ["VV"], sensor="sentinel1", optional=True)


LABEL = LabelSource("lab/{id}_L.tif", classes=10)


def _by_id(records: list[Record]) -> dict[str, Record]:
    return {record.id: record for record in records}


def test_a_missing_label_does_not_shift_the_others(chips: Callable[..., Path]) -> None:
    root = chips()
    (root / "lab" / "b_L.tif").unlink()
    records = _by_id(from_folders(root, {"S2": S2}, LABEL))
    assert {key: record.label for key, record in records.items()} == {
        "a": Href(str(root / "lab/a_L.tif")),
        "b": None,
        "c": Href(str(root / "lab/c_L.tif")),
        "d": Href(str(root / "lab/d_L.tif")),
    }


def test_a_missing_image_does_not_shift_the_others(chips: Callable[..., Path]) -> None:
    root = chips()
    (root / "img" / "b_S2.tif").unlink()
    records = from_folders(root, {"S2": S2}, LABEL)
    pairs = [(record.id, record.files["S2"][0].name, Path(str(record.label)).name) for record in records]
    assert pairs == [(i, f"{i}_S2.tif", f"{i}_L.tif") for i in "acd"]


def test_one_name_in_two_folders_is_two_samples(tmp_path: Path) -> None:
    touch(tmp_path, "img/north/tile.tif", "img/south/tile.tif", "lab/north/tile.tif", "lab/south/tile.tif")
    source = ImageSource("img/{id}.tif", ["B2"])
    records = from_folders(tmp_path, {"S2": source}, LabelSource("lab/{id}.tif", classes=2))
    assert [record.id for record in records] == ["north/tile", "south/tile"]
    assert all(record.id in str(record.label) and record.id in str(record.files["S2"][0]) for record in records)
    (tmp_path / "split.txt").write_text("tile\n")
    with pytest.raises(ValueError, match="The line 'tile' .* fits 2 samples: north/tile, south/tile"):
        read_split(tmp_path / "split.txt", records)
    (tmp_path / "split.txt").write_text("south/tile\n")
    assert [record.id for record in read_split(tmp_path / "split.txt", records)] == ["south/tile"]


def test_missing_folders_and_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="There is no folder .*/nowhere. Set root"):
        from_folders(tmp_path / "nowhere", {"S2": S2}, None)
    with pytest.raises(ValueError, match=r"There is no folder .*/img for the pattern 'img/"):
        from_folders(tmp_path, {"S2": S2}, None)
    touch(tmp_path, "img/a_S1.tif")
    with pytest.raises(ValueError, match=r"No file below .* matches the pattern 'img/\{id\}_S2.tif' of 'S2'"):
        from_folders(tmp_path, {"S2": S2}, None)
    with pytest.raises(ValueError, match="The modality 'S2' has no file pattern. Set files, or give an index"):
        from_folders(tmp_path, {"S2": ImageSource("", ["B2"])}, None)


def test_several_labels_of_one_chip_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "img/a_S2.tif", "lab/a_L_1.tif", "lab/a_L_2.tif")
    with pytest.raises(ValueError, match="'a' has 2 label files: .*a_L_1.tif, .*a_L_2.tif. Expected one"):
        from_folders(tmp_path, {"S2": S2}, LabelSource("lab/{id}_L_*.tif", classes=2))


def test_several_files_of_one_band_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a/x_B02.tif", "a/y_B02.tif", "a/x_B03.tif")
    source = ImageSource("{id}/*_{band}.tif", ["B2", "B3"], sensor="sentinel2_l2a")
    with pytest.raises(
        ValueError, match=r"'a' has several files for the bands \['B02'\] of 'S2': x_B02.tif, y_B02.tif"
    ):
        from_folders(tmp_path, {"S2": source}, None)
    (tmp_path / "a/y_B02.tif").unlink()
    (record,) = from_folders(tmp_path, {"S2": source}, None)
    assert record.bands == {"S2": ("B02", "B03")}


def test_a_pattern_without_id_is_one_sample_named_after_the_folder(tmp_path: Path) -> None:
    touch(tmp_path / "series", "S2_20200301.tif", "S2_20200101.tif")
    (record,) = from_folders(tmp_path / "series", {"S2": ImageSource("S2_*.tif", ["B2"])}, None)
    assert record.id == "series"
    assert [path.name for path in record.files["S2"]] == ["S2_20200101.tif", "S2_20200301.tif"]
