"""Every item that failed is in the table once, with its reason, whatever process it failed in."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from eo_embed.export.record.failures import Failures


def _table(folder: Path) -> list[dict[str, str]]:
    with (folder / "failures.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_reasons_with_commas_quotes_and_line_breaks_stay_one_row(tmp_path: Path) -> None:
    failures = Failures(tmp_path)
    failures.add("a,b/ü", 'expected "RED", got:\n  NIR', Path("x y.tif"))
    failures.merge()
    row = {"id": "a,b/ü", "reason": 'expected "RED", got: NIR', "file": "x y.tif"}
    assert _table(tmp_path) == [row]
    assert len((tmp_path / "failures.csv").read_text().splitlines()) == 2


def test_processes_do_not_overwrite_each_other_and_an_id_comes_once(tmp_path: Path) -> None:
    ranks = [Failures(tmp_path, rank) for rank in (0, 1, 10)]
    for i, failures in enumerate(ranks):
        failures.add("doubled", f"reason of {i}", "f.tif")
        failures.write()
        failures.add(f"own-{i}", "late", "f.tif")
        failures.write()
    rows = ranks[0].merge()
    assert [(row["id"], row["reason"]) for row in rows] == [
        ("doubled", "reason of 0"),
        ("own-0", "late"),
        ("own-1", "late"),
        ("own-2", "late"),
    ]
    assert _table(tmp_path) == rows


def test_what_was_not_written_yet_is_merged_too(tmp_path: Path) -> None:
    failures = Failures(tmp_path)
    failures.add("a", ValueError("bad"))
    assert failures.merge() == [{"id": "a", "reason": "bad", "file": ""}]


def test_an_error_without_text_gives_its_name(tmp_path: Path) -> None:
    failures = Failures(tmp_path)
    failures.add("a", MemoryError())
    assert failures.merge()[0]["reason"] == "MemoryError"


def test_a_file_name_that_is_no_unicode_does_not_break_the_table(tmp_path: Path) -> None:
    failures = Failures(tmp_path)
    failures.add("a", "bad", b"M\xfcnchen.tif".decode("utf-8", "surrogateescape"))
    failures.merge()
    assert _table(tmp_path)[0]["file"] == "M\\udcfcnchen.tif"


def test_a_run_without_failures_removes_the_table_of_the_run_before(tmp_path: Path) -> None:
    first = Failures(tmp_path)
    first.add("a", "bad")
    first.merge()
    again = Failures(tmp_path)
    again.forget()
    assert again.merge() == []
    assert not (tmp_path / "failures.csv").exists()


def test_the_run_ends_with_an_error_only_under_raise(tmp_path: Path) -> None:
    failures = Failures(tmp_path)
    failures.raise_if_any("raise")
    for i in range(7):
        failures.add(f"item{i}", "no data")
    failures.merge()
    failures.raise_if_any("skip")
    message = (
        "7 items could not be exported: item0: no data; .*item4: no data; and 2 more.*failures.csv.*on_error: skip"
    )
    with pytest.raises(ValueError, match=message):
        failures.raise_if_any("raise")
    with pytest.raises(ValueError, match="7 items"):  # another process reads the table
        Failures(tmp_path, 1).raise_if_any("raise")


def test_failures_that_were_not_merged_raise_too(tmp_path: Path) -> None:
    failures = Failures(tmp_path)
    failures.add("a", "bad")
    with pytest.raises(ValueError, match="1 items could not be exported: a: bad"):
        failures.raise_if_any("raise")


def test_another_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="on_error must be one of raise, skip, got 'ignore'"):
        Failures(tmp_path).raise_if_any("ignore")


def test_reasons_tell_nothing_of_the_folders_above_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failures = Failures(tmp_path / "out", root=Path("chips"))
    text = "{} cannot be read, nor chips/s2/b.tif; mychips/c.tif and x/chips/d.tif can"
    failures.add("a", text.format(tmp_path / "chips/s2/a.tif"), "chips/a")
    failures.write()
    (row,) = failures.merge()
    assert row["reason"] == "s2/a.tif cannot be read, nor s2/b.tif; mychips/c.tif and x/chips/d.tif can"
    assert row["file"] == "a"
