"""A line of a split file is the sample that it spells, whatever its id holds; what may be two is refused."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from small_files import touch

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import Record
from eo_data.catalog.splits import read_split


def _chosen(root: Path, text: str, *ids: str) -> list[str]:
    split = root / "split.txt"
    split.write_text(text, encoding="utf-8")
    records = [Record(name, {"S2": (Href(f"{root}/s2/{name}.TIF"),)}) for name in ids]
    return [record.id for record in read_split(split, records)]


@pytest.mark.parametrize(
    "name", ["x,1", "a [1] (2)", "a;b", 'say "x"', "x, y, z", "#7", "'q'", "a,b/c,d", "n\\m", "{0}*?"]
)
def test_an_id_as_it_stands_is_that_id(tmp_path: Path, name: str) -> None:
    assert _chosen(tmp_path, f"# a remark, with a comma\n{name}\r\n\n  other  \n", name, "other") == [name, "other"]


def test_a_table_is_read_by_its_first_column(tmp_path: Path) -> None:
    """Quoted by spreadsheets and pandas, with further columns, or not."""
    text = '"x,1",3,"train"\n"say ""y""",4,val\nplain,5,val\ndeep.TIF,6\n'
    assert _chosen(tmp_path, text, "x,1", 'say "y"', "plain", "folder/deep", "z") == [
        "x,1",
        'say "y"',
        "plain",
        "folder/deep",
    ]


def test_what_may_be_an_id_or_the_row_of_a_table_is_refused_and_quotes_decide(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"The line 'x,1' .* may be the sample 'x,1', or a row .* sample 'x'.*\"x,1\""):
        _chosen(tmp_path, "x,1\n", "x", "x,1")
    assert _chosen(tmp_path, '"x,1"\nx\n', "x", "x,1") == ["x,1", "x"]


def test_a_line_that_fits_nothing_says_how_it_was_read(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"'q,1' .* fits no sample \(nor does its first column, 'q'\)\. Ids .* like: x"
    ):
        _chosen(tmp_path, "q,1\n", "x")


@pytest.mark.parametrize(("of_file", "of_line"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_accents_may_be_spelt_in_either_way(tmp_path: Path, of_file: str, of_line: str) -> None:
    name, line = (unicodedata.normalize(form, "Köln, Süd") for form in (of_file, of_line))
    wanted = unicodedata.normalize("NFC", name)
    assert _chosen(tmp_path, line + "\n", name) == [wanted]
    assert _chosen(tmp_path, f"{line}.tif\n", name) == [wanted]
    touch(tmp_path, f"s2/{name}.TIF")
    assert Href(f"{tmp_path}/s2/{name}.TIF").is_local_file


def test_the_suffix_of_a_file_may_be_in_lower_case(tmp_path: Path) -> None:
    assert _chosen(tmp_path, "x.tif\n", "x") == _chosen(tmp_path, "x.TIF\n", "x") == ["x"]
