"""A path that leads out is seen however it is written, and an id that cannot name a file before a run."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from eo_core.paths import LONGEST_NAME, Roots, equal_but_for_case, fault_of_file, fault_of_name, path_of_name


def test_what_leads_out_of_the_roots_is_seen_and_links_below_them_are_followed(tmp_path: Path) -> None:
    root, other = tmp_path / "data", tmp_path / "other"
    for folder in (root / "a", other, tmp_path / "data2"):
        folder.mkdir(parents=True)
    (root / "link").symlink_to(other)
    roots = Roots((str(root),))
    for inside in ("a/x.tif", "a/../x.tif", "link/x.tif", "./a//x.tif", "not/there.tif"):
        assert roots.hold(root / inside), inside
        assert roots.hold(f"{root}/{inside}"), inside
    for outside in ("../other/x.tif", "../data2/x.tif", "a/../../x.tif", "link/../x.tif", "/etc/passwd"):
        assert not roots.hold(root / outside), outside
    assert Roots((str(root), str(other))).hold(root / "../other/x.tif")
    assert not roots.hold(f"{root}2/x.tif")
    assert Roots().hold("/etc/passwd"), "no roots are no limit"
    alias = tmp_path / "alias"
    alias.symlink_to(root)
    assert roots.hold(alias / "a/x.tif"), "another name of the root"
    assert Roots((str(alias),)).hold(root / "a/x.tif")


def test_roots_may_be_relative_and_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    roots = Roots(("data", "https://host/open/"))
    assert roots.hold("data/x.tif")
    assert roots.hold(tmp_path / "data/x.tif")
    assert not roots.hold("x.tif")
    assert roots.allow("https://host/open/x.tif")
    assert not roots.allow("https://host/other.tif")
    assert not Roots(("https://host/",)).hold("x.tif"), "an address is no folder"


def test_a_pipe_is_no_file_before_it_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tif")
    (tmp_path / "b.tif").write_text("")
    assert "named pipe" in fault_of_file(tmp_path / "a.tif")
    assert "device" in fault_of_file("/dev/zero")
    assert not any(map(fault_of_file, (tmp_path, tmp_path / "b.tif", tmp_path / "no.tif", "\0", "x" * 5000)))


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", "nothing"),
        ("a//b", "nothing"),
        ("a/", "nothing"),
        ("/a", "absolute"),
        ("../a", "'..'"),
        ("a/../b", "'..'"),
        ("./a", "'.'"),
        ("a\\b", "backslash"),
        ("a\nb", "control"),
        ("a\0", "control"),
        ("\ud800", "control"),
        (".partial-a", "unfinished"),
        ("a" * (LONGEST_NAME + 1), "longer"),
        ("ä" * (LONGEST_NAME // 2 + 1), "longer"),
        ("/".join(["a" * 100] * 60), "longer"),
    ],
)
def test_an_id_that_cannot_name_a_file(name: str, fault: str) -> None:
    assert re.search(re.escape(fault), fault_of_name(name))


def test_a_path_is_made_of_an_id_that_can_name_a_file(tmp_path: Path) -> None:
    assert path_of_name(tmp_path, "a/b", "_pred.tif") == tmp_path / "a" / "b_pred.tif"
    with pytest.raises(ValueError, match=r"The id '\.\./esc' cannot name a file.*such as a/tile, but it holds '\.\.'"):
        path_of_name(tmp_path, "../esc", ".tif")
    with pytest.raises(ValueError, match=r"^.{,400}$"):
        path_of_name(tmp_path, "x" * 100_000, ".tif")


def test_usual_ids_name_files_and_the_suffix_counts() -> None:
    for name in ("tile_1", "a/b/c-1", "a b", "Zürich", "x.y..z", "-a", "s2;1", "a" * LONGEST_NAME, "...a", "a+b=c,d"):
        assert not fault_of_name(name), name
    assert fault_of_name("a" * LONGEST_NAME, ".tif")


def test_names_that_are_one_file_where_case_does_not_count() -> None:
    assert equal_but_for_case(["a", "b", "A", "B"]) == ("a", "A")
    assert equal_but_for_case(["a", "b"]) is None
