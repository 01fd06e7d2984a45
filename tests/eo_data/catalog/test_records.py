"""Files are joined by name; what is doubled, missing or ambiguous is named before anything is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from eo_data.catalog.index_table import from_index
from eo_data.catalog.records import Record, check_complete, check_labelled, from_folders
from eo_data.catalog.sources import ImageSource, LabelSource
from eo_data.catalog.splits import read_split

S2 = ImageSource("img/{id}_S2.tif", ["B2", "B3"], sensor="sentinel2_l2a")
S1 = ImageSource("s1/{id}_S1.tif", ["VV"], sensor="sentinel1", optional=True)
LABEL = LabelSource("lab/{id}_L.tif", classes=10)


def _touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")


def _by_id(records: list[Record]) -> dict[str, Record]:
    return {record.id: record for record in records}


def test_a_missing_label_does_not_shift_the_others(chips: Callable[..., Path]) -> None:
    root = chips()
    (root / "lab" / "b_L.tif").unlink()
    records = _by_id(from_folders(root, {"S2": S2}, LABEL))
    assert {key: record.label for key, record in records.items()} == {
        "a": root / "lab/a_L.tif",
        "b": None,
        "c": root / "lab/c_L.tif",
        "d": root / "lab/d_L.tif",
    }


def test_a_missing_image_does_not_shift_the_others(chips: Callable[..., Path]) -> None:
    root = chips()
    (root / "img" / "b_S2.tif").unlink()
    records = from_folders(root, {"S2": S2}, LABEL)
    pairs = [(record.id, record.files["S2"][0].name, Path(str(record.label)).name) for record in records]
    assert pairs == [(i, f"{i}_S2.tif", f"{i}_L.tif") for i in "acd"]


def test_modalities_are_joined_by_name(tmp_path: Path) -> None:
    _touch(tmp_path, "img/a_S2.tif", "img/c_S2.tif", "s1/b_S1.tif", "s1/c_S1.tif")
    records = _by_id(from_folders(tmp_path, {"S2": S2, "S1": S1}, None))
    assert {key: sorted(record.files) for key, record in records.items()} == {
        "a": ["S2"],
        "b": ["S1"],
        "c": ["S1", "S2"],
    }
    with pytest.raises(ValueError, match=r"1 of 3 samples have no 'S2' \(first: b; pattern 'img/\{id\}_S2.tif'\)"):
        check_complete(list(records.values()), {"S2": S2, "S1": S1})
    check_complete([records["a"], records["c"]], {"S2": S2, "S1": S1})


def test_one_name_in_two_folders_is_two_samples(tmp_path: Path) -> None:
    _touch(tmp_path, "img/north/tile.tif", "img/south/tile.tif", "lab/north/tile.tif", "lab/south/tile.tif")
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
    _touch(tmp_path, "img/a_S1.tif")
    with pytest.raises(ValueError, match=r"No file below .* matches the pattern 'img/\{id\}_S2.tif' of 'S2'"):
        from_folders(tmp_path, {"S2": S2}, None)
    with pytest.raises(ValueError, match="The modality 'S2' has no file pattern. Set files, or give an index"):
        from_folders(tmp_path, {"S2": ImageSource("", ["B2"])}, None)


def test_several_labels_of_one_chip_are_refused(tmp_path: Path) -> None:
    _touch(tmp_path, "img/a_S2.tif", "lab/a_L_1.tif", "lab/a_L_2.tif")
    with pytest.raises(ValueError, match="'a' has 2 label files: .*a_L_1.tif, .*a_L_2.tif. Expected one"):
        from_folders(tmp_path, {"S2": S2}, LabelSource("lab/{id}_L_*.tif", classes=2))


def test_several_files_of_one_band_are_refused(tmp_path: Path) -> None:
    _touch(tmp_path, "a/x_B02.tif", "a/y_B02.tif", "a/x_B03.tif")
    source = ImageSource("{id}/*_{band}.tif", ["B2", "B3"], sensor="sentinel2_l2a")
    with pytest.raises(
        ValueError, match=r"'a' has several files for the bands \['B02'\] of 'S2': x_B02.tif, y_B02.tif"
    ):
        from_folders(tmp_path, {"S2": source}, None)
    (tmp_path / "a/y_B02.tif").unlink()
    (record,) = from_folders(tmp_path, {"S2": source}, None)
    assert record.bands == {"S2": ("B02", "B03")}


def test_a_pattern_without_id_is_one_sample_named_after_the_folder(tmp_path: Path) -> None:
    _touch(tmp_path / "series", "S2_20200301.tif", "S2_20200101.tif")
    (record,) = from_folders(tmp_path / "series", {"S2": ImageSource("S2_*.tif", ["B2"])}, None)
    assert record.id == "series"
    assert [path.name for path in record.files["S2"]] == ["S2_20200101.tif", "S2_20200301.tif"]


# Splits


def test_splits_name_ids_stems_files_and_keep_their_order(chips: Callable[..., Path]) -> None:
    root = chips()
    records = from_folders(root, {"S2": S2}, LABEL)
    split = root / "s.txt"
    split.write_text("# remark\n\nd\nb_S2\r\na_S2.tif,a_L.tif\nc_L.tif\n")
    assert [record.id for record in read_split(split, records)] == ["d", "b", "a", "c"]
    # Excel and Notepad put a byte order mark before the first name.
    split.write_text("b\nc\n", encoding="utf-8-sig")
    assert [record.id for record in read_split(split, records)] == ["b", "c"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "The split file .*s.txt names no sample"),
        ("# nothing\n\n", "names no sample"),
        ("a\nz\n", "The line 'z' of the split file .*s.txt fits no sample. Ids of samples look like: a, b, c"),
        ("a\na_S2.tif\n", "The split file .*s.txt names 'a' twice"),
    ],
)
def test_split_lines_that_fit_nothing_or_twice_are_refused(
    chips: Callable[..., Path], lines: str, message: str
) -> None:
    root = chips()
    (root / "s.txt").write_text(lines)
    with pytest.raises(ValueError, match=message):
        read_split(root / "s.txt", from_folders(root, {"S2": S2}, LABEL))


def test_a_missing_split_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="There is no split file .*s.txt"):
        read_split(tmp_path / "s.txt", [])


def test_an_id_beats_the_file_name_of_another_sample(tmp_path: Path) -> None:
    one, two = Record("x", {"S2": (Path("y.tif"),)}), Record("y", {"S2": (Path("z.tif"),)})
    (tmp_path / "s.txt").write_text("y\n")
    assert read_split(tmp_path / "s.txt", [one, two]) == [two]


def test_samples_without_labels_are_counted() -> None:
    records = [Record("a", {}, label=0), Record("b", {}), Record("c", {})]
    with pytest.raises(ValueError, match=r"2 of 3 samples have no label \(first: b, c\).*on_error: skip"):
        check_labelled(records)
    check_labelled(records[:1])


# Indices


def _index(root: Path, rows: list[dict[str, object]], name: str = "index.csv") -> Path:
    path = root / name
    if path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".parquet":
        import pandas

        pandas.DataFrame(rows).to_parquet(path)
    else:
        keys = list(rows[0])
        lines = [",".join(keys), *(",".join("" if row[key] is None else str(row[key]) for key in keys) for row in rows)]
        path.write_text("\n".join(lines))
    return path


ROWS: list[dict[str, object]] = [
    {"id": "p", "S2": "img/c_S2.tif", "S2_dates": "2021-07-01", "label": "lab/c_L.tif", "split": "train"},
    {"id": "q", "S2": "img/a_S2.tif", "S2_dates": None, "label": 3, "split": "val"},
    {"id": "r", "S2": "img/b_S2.tif", "S2_dates": "2020-02-29", "label": None, "split": None},
]


@pytest.mark.parametrize("name", ["index.csv", "index.json", "index.parquet"])
def test_all_kinds_of_index_say_the_same(chips: Callable[..., Path], name: str) -> None:
    root = chips()
    rows = [row | {"label": None if row["label"] is None else str(row["label"])} for row in ROWS]
    records = from_index(_index(root, rows, name), root, {"S2": S2})
    assert [record.id for record in records] == ["p", "q", "r"]
    assert [record.files["S2"][0].name for record in records] == ["c_S2.tif", "a_S2.tif", "b_S2.tif"]
    assert [record.label for record in records] == [root / "lab/c_L.tif", 3, None]
    assert [record.split for record in records] == ["train", "val", None]
    assert [record.dates for record in records] == [{"S2": (date(2021, 7, 1),)}, {}, {"S2": (date(2020, 2, 29),)}]


def test_an_index_of_columns(chips: Callable[..., Path]) -> None:
    root = chips()
    path = root / "i.json"
    path.write_text(json.dumps({"id": ["a", "b"], "S2": ["img/a_S2.tif", ["img/b_S2.tif", "img/c_S2.tif"]]}))
    first, second = from_index(path, root, {"S2": S2})
    assert (first.id, len(first.files["S2"])) == ("a", 1)
    assert [file.name for file in second.files["S2"]] == ["b_S2.tif", "c_S2.tif"]


def test_an_empty_cell_of_an_optional_modality_is_a_missing_one(chips: Callable[..., Path]) -> None:
    root = chips()
    rows = [{"id": "a", "S2": "img/a_S2.tif", "S1": None}, {"id": "b", "S2": "img/b_S2.tif", "S1": "img/c_S2.tif"}]
    for name in ("i.csv", "i.parquet", "i.json"):
        records = from_index(_index(root, rows, name), root, {"S2": S2, "S1": S1})
        assert [sorted(record.files) for record in records] == [["S2"], ["S1", "S2"]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "p"}, "The index .* has doubled ids: p. Every sample needs an id of its own"),
        ({"id": None}, r"The index .* has no id in the rows \[2\]"),
        ({"S2": "img/none.tif"}, r"gives 'q' files that do not exist: \[.*none.tif'\] for 'S2'"),
        ({"S2": None}, "gives 'q' no file for 'S2'"),
        ({"S2_dates": "2021-02-29"}, "has no usable date for 'q' in S2_dates. Expected a calendar date .*2021-02-29"),
        ({"S2_dates": "1066-10-14"}, "has no usable date for 'q' in S2_dates. Expected a date of the years 1972..2100"),
        ({"split": "Training"}, "puts 'q' into the split 'Training'. Valid: train, val, test, predict"),
        ({"label": "lab/none.tif"}, "gives 'q' the label 'lab/none.tif', which is neither a number nor a file below"),
    ],
)
def test_bad_rows_are_named(chips: Callable[..., Path], change: dict[str, object], message: str) -> None:
    root = chips()
    rows = [ROWS[0], ROWS[1] | change, ROWS[2]]
    for name in ("i.csv", "i.json"):
        with pytest.raises(ValueError, match=message):
            from_index(_index(root, rows, name), root, {"S2": S2})


def test_incomplete_samples_may_pass_to_be_skipped_later(chips: Callable[..., Path]) -> None:
    root = chips()
    path = _index(root, [ROWS[0], ROWS[1] | {"S2": "img/none.tif"}, ROWS[2] | {"S2": None}])
    records = from_index(path, root, {"S2": S2}, incomplete=True)
    assert [sorted(record.files) for record in records] == [["S2"], ["S2"], []]


def test_indices_of_other_forms_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="There is no index file .*i.csv"):
        from_index(tmp_path / "i.csv", tmp_path, {"S2": S2})
    (tmp_path / "i.xlsx").write_text("")
    with pytest.raises(ValueError, match="An index is a .csv, .json or .parquet file, got .*i.xlsx"):
        from_index(tmp_path / "i.xlsx", tmp_path, {"S2": S2})
    (tmp_path / "i.csv").write_text("id,S2\n")
    with pytest.raises(ValueError, match="The index .*i.csv has no rows"):
        from_index(tmp_path / "i.csv", tmp_path, {"S2": S2})
    (tmp_path / "i.csv").write_text("name,S2\na,b\n")
    with pytest.raises(ValueError, match=r"lacks the columns \['id'\]; it has \['name', 'S2'\]"):
        from_index(tmp_path / "i.csv", tmp_path, {"S2": S2})
    (tmp_path / "i.json").write_text("{")
    with pytest.raises(ValueError, match=r"The index .*i.json cannot be read as JSON"):
        from_index(tmp_path / "i.json", tmp_path, {"S2": S2})
    # pandas' own default, whose keys would be taken for ids.
    for content in ({"id": {"0": "a"}, "S2": {"0": "b"}}, {"id": ["a"], "S2": []}, {}, ["a"], 3):
        (tmp_path / "i.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match="must be a list of objects, one per sample, or an object of lists"):
            from_index(tmp_path / "i.json", tmp_path, {"S2": S2})
