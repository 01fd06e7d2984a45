"""What the command line turns into text is understood, and nothing else slips through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eo_core.arguments import as_bool, as_int, as_ints, as_path, from_text, one_of


@pytest.mark.parametrize(
    ("text", "value"),
    [("false", False), ("None", None), ("null", None), ("[2, 5]", [2, 5]), ("10", 10), ("a: [", "a: ["), (3, 3)],
)
def test_from_text(text: Any, value: Any) -> None:
    assert from_text(text) == value


@pytest.mark.parametrize(
    "path", ["runs/my #1/best.ckpt", "a: b", "2024", "[x]/y", " lead/x.pt", "runs/None/x.pt", "off"]
)
def test_a_path_is_taken_as_it_is_written(path: str) -> None:
    assert as_path(path) == Path(path)
    assert as_path(Path(path)) == Path(path)


@pytest.mark.parametrize("nothing", [None, "", " ", "none", "None", "null", "~"])
def test_no_path(nothing: str | None) -> None:
    assert as_path(nothing) is None


@pytest.mark.parametrize("value", ["yess", 2, None, "", [True]])
def test_as_bool_refuses(value: Any) -> None:
    with pytest.raises(ValueError, match="flag must be true or false"):
        as_bool("flag", value)


@pytest.mark.parametrize(("value", "number"), [(8, 8), (8.0, 8), ("8", 8)])
def test_as_int(value: Any, number: int) -> None:
    assert as_int("n", value) == number


@pytest.mark.parametrize("value", [True, 8.5, "eight", None, float("inf"), float("nan")])
def test_as_int_refuses(value: Any) -> None:
    with pytest.raises(ValueError, match="n must be a whole number"):
        as_int("n", value)


def test_as_ints() -> None:
    assert as_ints("n", "[4, 8]", "[8]") == (4, 8)
    assert as_ints("n", 8, "[8]") == (8,)
    with pytest.raises(ValueError, match=r"such as \[8\]"):
        as_ints("n", {"a": 8}, "[8]")


def test_one_of() -> None:
    assert one_of("m", "None", (None, "mean")) is None
    assert one_of("m", "mean", (None, "mean")) == "mean"
    with pytest.raises(ValueError, match="null, mean"):
        one_of("m", "Mean", (None, "mean"))
