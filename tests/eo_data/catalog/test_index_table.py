"""A row says which files, dates and label belong to a sample; a row that cannot be right is named."""

from __future__ import annotations

import json
import unicodedata
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import xarray
from small_files import constant_bands, touch

from eo_core.paths import Roots
from eo_data.catalog.hrefs import Href
from eo_data.catalog.index_table import IndexTable, from_index
from eo_data.catalog.records import SampleRequest
from eo_data.catalog.sources import ImageSource
from eo_data.datamodules import ChipDataModule
from eo_data.readers.image_bands import read_file

S2 = ImageSource("img/{id}_S2.tif", ["B2", "B3"], sensor="sentinel2_l2a")


S1 = ImageSource("s1/{id}_S1.tif", ["VV"], sensor="sentinel1", optional=True)


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
    assert [record.label for record in records] == [Href(str(root / "lab/c_L.tif")), 3, None]
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
        ({"id": "p"}, "The index .* has duplicate ids: p. Every sample needs an id of its own"),
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
    with pytest.raises(ValueError, match=r"has no columns \['id'\]; it has \['name', 'S2'\]"):
        from_index(tmp_path / "i.csv", tmp_path, {"S2": S2})
    (tmp_path / "i.json").write_text("{")
    with pytest.raises(ValueError, match=r"The index .*i.json cannot be read as JSON"):
        from_index(tmp_path / "i.json", tmp_path, {"S2": S2})
    # pandas' own default, whose keys would be taken for ids.
    for content in ({"id": {"0": "a"}, "S2": {"0": "b"}}, {"id": ["a"], "S2": []}, {}, ["a"], 3):
        (tmp_path / "i.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match="must be a list of objects, one per sample, or an object of lists"):
            from_index(tmp_path / "i.json", tmp_path, {"S2": S2})


# Hrefs


def test_hrefs_of_an_index_are_read_where_they_lie(
    chips: Callable[..., Path],
    chip_module: Callable[..., ChipDataModule],
    write_tif: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """A root joined to a name for GDAL would make a path at which nothing is."""
    root = chips(["a", "b"])
    inside = write_tif(tmp_path / "in.tif", constant_bands(1500, 2500, side=16), ("B2", "B3"))
    mask = write_tif(tmp_path / "mask.tif", constant_bands(7, side=16))
    with zipfile.ZipFile(tmp_path / "scenes.zip", "w") as archive:
        archive.write(inside, "x/in.tif")
        archive.write(mask, "x/mask.tif")
    zipped = f"/vsizip/{tmp_path}/scenes.zip/x"
    directory = f"GTIFF_DIR:1:{inside}"
    rows: list[dict[str, object]] = [
        {"id": "p", "S2": f"{zipped}/in.tif", "label": f"{zipped}/mask.tif", "split": "val"},
        {"id": "q", "S2": directory, "label": "lab/b_L.tif", "split": "val"},
        {"id": "r", "S2": "img/b_S2.tif", "label": "lab/b_L.tif", "split": "val"},
    ]
    _index(root, rows, "i.json")
    module = chip_module(root, index="i.json", train_split=None, val_split=None, batch_size=3)
    module.setup("validate")
    (batch,) = module.val_dataloader()
    assert batch["filename"] == [f"{zipped}/in.tif", directory, str(root / "img/b_S2.tif")]
    assert (batch["image"][:, 0, 0, 0] * 1e4).tolist() == pytest.approx([1500, 1500, 1100])
    assert batch["mask"][:, 0, 0].tolist() == [7, 1, 1]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_sub_dataset_of_netcdf_in_an_index_is_read(tmp_path: Path) -> None:
    planes = {name: (("y", "x"), np.full((4, 4), value, np.int16)) for name, value in (("other", 1), ("B2", 9))}
    xarray.Dataset(planes).to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    href = f'NETCDF:"{tmp_path}/x.nc":B2'
    path = _index(tmp_path, [{"id": "a", "S2": href}], "i.json")
    (record,) = from_index(path, tmp_path, {"S2": ImageSource(bands=["B2"], file_bands=["B2"])})
    assert str(record.files["S2"][0]) == href
    source = ImageSource(bands=["B2"], file_bands=["B2"], unit="native")
    assert np.unique(read_file(record.files["S2"][0], source).pixels).tolist() == [9]


def _one_row(root: Path, cell: object, name: str = "index.json") -> list[str]:
    (record,) = from_index(_index(root, [{"id": "x", "S2": cell}], name), root, {"S2": S2})
    return [str(href).removeprefix(f"{root}/") for href in record.files["S2"]]


def test_a_semicolon_in_a_name_is_no_separator_where_that_file_is_there(tmp_path: Path) -> None:
    touch(tmp_path, "a;b.tif", "c.tif", "d.tif", "e.tif", "f.tif", "e.tif;f.tif")
    assert _one_row(tmp_path, "a;b.tif", "index.csv") == ["a;b.tif"]
    assert _one_row(tmp_path, "c.tif; d.tif", "index.csv") == ["c.tif", "d.tif"]
    assert _one_row(tmp_path, ["a;b.tif", "c.tif"]) == ["a;b.tif", "c.tif"]
    with pytest.raises(ValueError, match=r"'x', 'S2': 'e.tif;f.tif' may be one file or 2"):
        _one_row(tmp_path, "e.tif;f.tif")
    # Many dates are a longer text than the name of any file may be.
    assert _one_row(tmp_path, ";".join(["c.tif"] * 900)) == ["c.tif"] * 900


def test_a_semicolon_in_an_address_is_no_separator_before_a_parameter(tmp_path: Path) -> None:
    """Else the rest, which may be a token, is shown as the name of a file that does not exist."""
    assert _one_row(tmp_path, "https://h/a.tif?v=1;token=SECRET;https://h/b.tif") == [
        "https://h/a.tif?v=1",
        "https://h/b.tif",
    ]


def test_paths_of_windows_are_found_or_the_advice_is_given(tmp_path: Path) -> None:
    touch(tmp_path, "s2/x.tif")
    assert _one_row(tmp_path, "s2\\x.tif", "index.csv") == ["s2/x.tif"]
    for cell in ("s2\\none.tif", "C:\\data\\x.tif", "\\\\server\\share\\x.tif"):
        with pytest.raises(ValueError, match="forward slashes") as raised:
            _one_row(tmp_path, cell)
        assert cell in str(raised.value).replace("\\\\", "\\") or repr(cell)[1:-1] in str(raised.value)
    rows: list[dict[str, object]] = [{"id": "x", "S2": "s2/x.tif", "label": "s2\\x.tif"}]
    assert from_index(_index(tmp_path, rows), tmp_path, {"S2": S2})[0].label == Href(str(tmp_path / "s2/x.tif"))


def test_ids_in_two_spellings_of_unicode_are_one_id(tmp_path: Path) -> None:
    touch(tmp_path, "x.tif")
    composed, decomposed = (unicodedata.normalize(form, "Köln") for form in ("NFC", "NFD"))
    rows: list[dict[str, object]] = [{"id": decomposed, "S2": "x.tif"}]
    assert from_index(_index(tmp_path, rows), tmp_path, {"S2": S2})[0].id == composed
    with pytest.raises(ValueError, match=f"duplicate ids: {composed}"):
        from_index(_index(tmp_path, [*rows, {"id": composed, "S2": "x.tif"}]), tmp_path, {"S2": S2})


# Nothing outside, and broken files


def test_files_outside_of_the_roots_are_refused_with_row_and_remedy(tmp_path: Path) -> None:
    """An index from elsewhere could have any file of this machine read as pixels."""
    root, other = tmp_path / "root", tmp_path / "other"
    touch(tmp_path, "root/in/x.tif", "other/x.tif")
    (root / "link").symlink_to(other)
    for inside in ("in/x.tif", "in/../in/x.tif", str(root / "in/x.tif"), "link/x.tif"):
        assert len(_one_row(root, inside)) == 1, inside
    for cell in ("../other/x.tif", str(other / "x.tif"), "link/../x.tif", f"file://{other}/x.tif", "../none.tif"):
        with pytest.raises(ValueError, match=r"The index .*: 'x', 'S2': .* lies outside of .*root.*other_roots"):
            _one_row(root, cell)
        rows: list[dict[str, object]] = [{"id": "x", "S2": "in/x.tif", "label": cell}]
        with pytest.raises(ValueError, match=r"The index .*: the label of 'x': .* lies outside of"):
            from_index(_index(root, rows), root, {"S2": S2})
    path = _index(root, [{"id": "x", "S2": "../other/x.tif"}])
    roots = Roots((str(root), str(other)))
    assert from_index(path, root, {"S2": S2}, roots=roots)[0].files["S2"][0].is_local_file
    request = SampleRequest(root, {"S2": S2}, other_roots=(str(other),))
    assert IndexTable(path.name).records(request)[0].id == "x"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("i.csv", b"id,S2\nx,\xff.tif\n", "line 2 is no UTF-8"),
        ("i.csv", b"id,S2\nx,a\0.tif\n", "line 2 holds a NUL"),
        ("i.csv", b"id,S2\nx," + b"a" * 140_000, r"field larger than field limit .* \(after line 1\)"),
        ("i.json", b"[" * 100_000, "RecursionError"),
        ("i.json", b'[{"id": "x", "S2": "a\xff"}]', "line 1 is no UTF-8"),
        ("i.parquet", b"PAR1" + bytes(50) + b"PAR1", "damaged or in another form"),
        ("i.parquet", b"", "damaged or in another form"),
    ],
)
def test_a_broken_index_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"The index .*{name} cannot be read.*{message}"):
        from_index(tmp_path / name, tmp_path, {"S2": S2})
