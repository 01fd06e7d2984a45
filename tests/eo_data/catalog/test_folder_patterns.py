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


TEN_AND_TWENTY = (
    "P.SAFE/R10m/T_B02_10m.jp2",
    "P.SAFE/R10m/T_B08_10m.jp2",
    "P.SAFE/R20m/T_B02_20m.jp2",
    "P.SAFE/R20m/T_B8A_20m.jp2",
)


def _bands(root: Path, pattern: str = "{id}.SAFE/R*/*_{band}_?0m.jp2", **options: str) -> dict[str, str]:
    source = ImageSource(pattern, ["B2", "B8", "B8A"], sensor="sentinel2_l2a", **options)
    (record,) = from_folders(root, {"S2": source}, None)
    files = [str(href).removeprefix(f"{root}/") for href in record.files["S2"]]
    return dict(zip(record.bands["S2"], files, strict=True))


def test_of_copies_of_a_band_the_finest_is_taken(tmp_path: Path) -> None:
    """B08 and B8A are no copies of each other; at 10 m only one of them is there, at 20 m the other."""
    touch(
        tmp_path, *TEN_AND_TWENTY, "P.SAFE/R60m/T_B02_60m.jp2", "P.SAFE/R60m/T_B8A_60m.jp2", "P.SAFE/R20m/T_SCL_20m.jp2"
    )
    touch(tmp_path, "P.SAFE/R60m/T_SCL_60m.jp2")
    wanted = {"B02": TEN_AND_TWENTY[0], "B08": TEN_AND_TWENTY[1], "B8A": TEN_AND_TWENTY[3]}
    assert _bands(tmp_path) == wanted
    assert _bands(tmp_path, cloud_band="SCL") == wanted | {"SCL": "P.SAFE/R20m/T_SCL_20m.jp2"}


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (("x/R20m/B02.jp2", "x/R10m/B02.jp2", "x/R100m/B02.jp2"), "{id}/R*/{band}.jp2"),
        (("x/20m/B02.jp2", "x/10m/B02.jp2"), "{id}/*/{band}.jp2"),
        (("x/B02_20m.tif", "x/B02_10m.tif", "x/B02_120m.tif"), "{id}/{band}_*.tif"),
        (("of_20m/x/20m_B02.tif", "of_20m/x/10m_B02.tif"), "of_20m/{id}/*_{band}.tif"),
    ],
)
def test_pixel_sizes_are_numbers_in_names_of_files_or_folders(
    tmp_path: Path, names: tuple[str, ...], pattern: str
) -> None:
    touch(tmp_path, *names)
    assert _bands(tmp_path, pattern) == {"B02": names[1]}


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (("x/20230101_B02_10m.tif", "x/20230601_B02_20m.tif"), "{id}/*_{band}_?0m.tif"),  # another date
        (("x/R10m/B02_20m.tif", "x/R20m/B02_10m.tif"), "{id}/R*/{band}_*.tif"),  # contradictions
        (("x/a_B02.tif", "x/b_B02.tif"), "{id}/?_{band}.tif"),  # no size at all
        (("x/a/R10m/B02.tif", "x/b/R10m/B02.tif"), "{id}/?/R10m/{band}.tif"),  # both of one size
        (("x/B02_10m.tif", "x/B02.tif"), "{id}/{band}*.tif"),
        (("x/B02_old10m.tif", "x/B02_old20m.tif"), "{id}/{band}_*.tif"),
    ],
)
def test_what_is_no_copy_is_refused_with_a_way_out(tmp_path: Path, names: tuple[str, ...], pattern: str) -> None:
    touch(tmp_path, *names)
    with pytest.raises(ValueError, match=r"'x' has several files for the bands \['B02'\].*Narrow the pattern"):
        _bands(tmp_path, pattern)
