"""Samples without a modality or a label are counted and named before a run."""

from __future__ import annotations

import time
import unicodedata
from pathlib import Path

import pytest
from small_files import touch

from eo_data.catalog.folder_patterns import from_folders
from eo_data.catalog.records import Record, check_complete, check_ids, check_labelled
from eo_data.catalog.sources import ImageSource, LabelSource

S2 = ImageSource("img/{id}_S2.tif", ["B2", "B3"], sensor="sentinel2_l2a")
S1 = ImageSource("s1/{id}_S1.tif", ["VV"], sensor="sentinel1", optional=True)
LABEL = LabelSource("lab/{id}_L.tif", classes=10)


def _by_id(records: list[Record]) -> dict[str, Record]:
    return {record.id: record for record in records}


def test_modalities_are_joined_by_name(tmp_path: Path) -> None:
    touch(tmp_path, "img/a_S2.tif", "img/c_S2.tif", "s1/b_S1.tif", "s1/c_S1.tif")
    records = _by_id(from_folders(tmp_path, {"S2": S2, "S1": S1}, None))
    assert {key: sorted(record.files) for key, record in records.items()} == {
        "a": ["S2"],
        "b": ["S1"],
        "c": ["S1", "S2"],
    }
    with pytest.raises(ValueError, match=r"1 of 3 samples have no 'S2' \(first: b; pattern 'img/\{id\}_S2.tif'\)"):
        check_complete(list(records.values()), {"S2": S2, "S1": S1})
    check_complete([records["a"], records["c"]], {"S2": S2, "S1": S1})


# Splits


def test_samples_without_labels_are_counted() -> None:
    records = [Record("a", {}, label=0), Record("b", {}), Record("c", {})]
    with pytest.raises(ValueError, match=r"2 of 3 samples have no label \(first: b, c\).*on_error: skip"):
        check_labelled(records)
    check_labelled(records[:1])


@pytest.mark.parametrize("name", ["../x", "/x", "a\\b", "a\nb", "a//b", "x" * 250])
def test_an_id_that_cannot_name_a_file_is_refused_where_files_are_named(name: str) -> None:
    """Label maps of ``../x`` would lie outside of their folder."""
    records = [Record("a", {}), Record(name, {})]
    check_ids(records, named_files=False)
    with pytest.raises(ValueError, match="cannot name a file, as those of an export or of label maps: "):
        check_ids(records, named_files=True)


def test_two_samples_of_one_id_are_refused_and_those_but_for_case_reported() -> None:
    composed, decomposed = (unicodedata.normalize(form, "Köln") for form in ("NFC", "NFD"))
    for one, other in (("a", "a"), (composed, decomposed)):
        with pytest.raises(ValueError, match="2 samples have the id"):
            check_ids([Record(one, {}), Record(other, {})], named_files=False)
    check_ids([Record("a", {}), Record("A", {})], named_files=False)
    with pytest.warns(UserWarning, match="'a' and 'A' differ only in case"):
        check_ids([Record("a", {}), Record("A", {})], named_files=True)


def test_a_hundred_thousand_ids_are_checked_at_once() -> None:
    records = [Record(f"region_{i // 1000}/tile_{i:06d}", {}) for i in range(100_000)]
    start = time.process_time()
    check_ids(records, named_files=True)
    assert time.process_time() - start < 1
