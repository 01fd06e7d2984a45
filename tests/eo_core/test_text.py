"""A name that macOS wrote is the name that an editor wrote, and a file that is no text is named."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from eo_core.text import composed, did_you_mean, nearest, percent, read_text, table_errors


def test_two_spellings_of_an_accent_are_one_name() -> None:
    both = [unicodedata.normalize(form, "Köln/Åre") for form in ("NFC", "NFD")]
    assert both[0] != both[1]
    assert {composed(text) for text in both} == {both[0]}
    assert composed("plain_1") == "plain_1"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\nb\n\xff\n", "line 3 is no UTF-8"),
        (b"a\nb\0\n", "line 2 holds a NUL"),
    ],
)
def test_a_file_that_is_no_text_is_named_with_the_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ValueError, match=f"The list .*a.csv cannot be read: {message}"):
        read_text("The list", tmp_path / "a.csv")


def test_whatever_a_parser_raises_names_the_file_once() -> None:
    for error in (KeyError("x"), RecursionError("deep"), MemoryError(), ValueError("bad"), ValueError("in a.csv: bad")):
        with pytest.raises(ValueError, match="a.csv") as found, table_errors("The list", Path("a.csv")):
            raise error
        assert str(found.value).count("a.csv") == 1
    with pytest.raises(KeyboardInterrupt), table_errors("The list", Path("a.csv")):
        raise KeyboardInterrupt


@pytest.mark.parametrize(("part", "text"), [(3, "0.29 %"), (1024, "100 %"), (512, "50 %"), (1021, "100 %"), (0, "0 %")])
def test_a_hundred_percent_is_not_written_as_a_power_of_ten(part: int, text: str) -> None:
    assert percent(part, 1024) == text


def test_a_misspelt_name_is_told_with_the_one_that_is_meant() -> None:
    """Also in capitals, in which bands are spelled and ids are not."""
    bands = ["BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2"]
    assert nearest("bleu", bands, cutoff=0.5) == ["BLUE"]
    assert nearest("red_edge", bands) == ["RED_EDGE_2", "RED_EDGE_1"]
    assert did_you_mean("red_edge_11", bands) == " Did you mean 'RED_EDGE_1'?"
    assert did_you_mean("red_edge", bands, most=2) == " Did you mean 'RED_EDGE_2' or 'RED_EDGE_1'?"
    assert did_you_mean("SWIR", bands) == ""
    assert did_you_mean("anything", []) == ""
