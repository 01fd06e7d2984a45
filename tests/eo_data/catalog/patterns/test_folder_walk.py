"""Links neither hide files nor count them twice, nor go round for ever."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from small_files import touch

from eo_data.catalog.patterns.file_pattern import FilePattern
from eo_data.catalog.patterns.folder_walk import files_below, folder_of_name


def _names(folder: Path) -> list[str]:
    return [file.name for file in files_below(folder)]


def _found(root: Path, pattern: str) -> list[tuple[str | None, str]]:
    matches = FilePattern(pattern).find(root)
    return [(match.groupdict().get("id"), path.relative_to(root).as_posix()) for match, path in matches]


def test_the_order_is_that_of_names_in_each_folder(tmp_path: Path) -> None:
    touch(
        tmp_path, "b.tif", "a/z.tif", "a/y/x.tif", "a.tif", "A.tif", "c.zarr/zarr.json", "d.ZARR/zarr.json", ".h/x.tif"
    )
    assert _names(tmp_path) == ["A.tif", "a/y/x.tif", "a/z.tif", "a.tif", "b.tif", "c.zarr", "d.ZARR"]


@pytest.mark.parametrize("pattern", ["s2/**/{id}.tif", "s2/{id}.tif"])
@pytest.mark.parametrize(
    ("link", "target"),
    [("again", "."), ("again", ".."), ("deep/up", ".."), ("deep/er/top", "../../.."), ("deep/self", "self")],
)
def test_a_link_back_up_ends(tmp_path: Path, pattern: str, link: str, target: str) -> None:
    touch(tmp_path, "s2/x.tif", "s2/deep/er/y.tif")
    (tmp_path / "s2" / link).symlink_to(target)
    found = _found(tmp_path, pattern)
    assert [path for _, path in found] == ["s2/deep/er/y.tif", "s2/x.tif"]


@pytest.mark.parametrize("pattern", ["**/{id}.tif", "{id}.tif"])
def test_folders_that_link_to_each_other_give_each_file_once(tmp_path: Path, pattern: str) -> None:
    touch(tmp_path, "a/x.tif", "b/y.tif")
    (tmp_path / "a/link").symlink_to(tmp_path / "b")
    (tmp_path / "b/link").symlink_to(tmp_path / "a")
    assert [path for _, path in _found(tmp_path, pattern)] == ["a/x.tif", "b/y.tif"]


def test_a_linked_folder_that_holds_a_loop_of_its_own_is_followed_once(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/x.tif")
    (tmp_path / "elsewhere/again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "s2").mkdir()
    (tmp_path / "s2/link").symlink_to(tmp_path / "elsewhere")
    assert _found(tmp_path, "s2/{id}.tif") == [("link/x", "s2/link/x.tif")]


def test_a_file_that_is_linked_within_a_sample_is_one_frame(tmp_path: Path) -> None:
    touch(tmp_path, "x/2020/a.tif", "x/2021/a.tif")
    (tmp_path / "x/1_latest").symlink_to(tmp_path / "x/2021")
    (tmp_path / "x/2021/b.tif").symlink_to("a.tif")
    assert _found(tmp_path, "{id}/*/*.tif") == [("x", "x/2020/a.tif"), ("x", "x/2021/a.tif")]


def test_labels_that_are_linked_from_year_to_year_belong_to_both(tmp_path: Path) -> None:
    """A link under another id is another sample, also where the folder holds a link up."""
    touch(tmp_path, "2020/x.tif")
    (tmp_path / "2021").symlink_to("2020")
    (tmp_path / "2020/up").symlink_to("..")
    assert _found(tmp_path, "{id}.tif") == [("2020/x", "2020/x.tif"), ("2021/x", "2021/x.tif")]


def test_a_folder_is_found_by_either_spelling_of_its_accents(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Région") for form in ("NFC", "NFD"))
    touch(tmp_path, f"{decomposed}/s2/x.tif")
    if os.path.exists(tmp_path / composed):  # noqa: PTH110
        pytest.skip("this file system knows no spellings")
    assert folder_of_name(tmp_path, f"{composed}/s2") == tmp_path / decomposed / "s2"
    assert folder_of_name(tmp_path, f"{composed}/none") == tmp_path / composed / "none"
    assert _found(tmp_path, f"{composed}/s2/{{id}}.tif") == [("x", f"{decomposed}/s2/x.tif")]
