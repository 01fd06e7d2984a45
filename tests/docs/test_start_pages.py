"""The first pages show commands that are run, and what they tell. `.ci/smoke` runs them with the wheel alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cli_page import QUICK, START, blocks, excerpts, stable

#: Pages of a newcomer besides those that are run.
SHOWING = ("README.md", "docs/start/install.md")
#: Not of the sequence: they install, run the tests, are in the first command already, or print a help.
OTHERS = re.compile(r"python -m (pip|uv)|pytest|eo --help")
#: Of the README's and the docs' spelling, nothing but how the command is found.
_IN_A_CLONE = re.compile(r"^(&& )?uv run ")


def commands(text: str) -> list[str]:
    """Commands in the blocks of a page that somebody types."""
    found = []
    for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
        whole = re.sub(r"\\\n\s*", "", block)
        lines = [part.strip() for line in whole.split("\n") for part in line.split("&& ")]
        found += [_IN_A_CLONE.sub("", line) for line in lines if line]
    return found + [block.command for block in blocks(text)]


def unknown(text: str) -> list[str]:
    """Commands of a page that no run gives the output of."""
    known = {block.command for block in blocks(START[0].read_text(encoding="utf-8"))}
    return [line for line in commands(text) if line not in known and not OTHERS.match(line)]


def test_a_command_of_the_first_pages_that_nobody_runs_is_found(root: Path) -> None:
    """It would go on being shown after an option was renamed."""
    for page in (*(root / name for name in SHOWING), *START):
        text = page.read_text(encoding="utf-8")
        assert unknown(text) == [], page
        assert commands(text), page
    assert unknown("```bash\nuv run eo run fit --config config/other.yaml && uv run eo --help\n```") == [
        "eo run fit --config config/other.yaml"
    ]


def test_the_newcomer_s_path_is_whole() -> None:
    shown = [block.command for block in blocks(START[0].read_text(encoding="utf-8"))]
    expected = (
        "eo config copy",
        "eo run fit",
        "eo run test",
        "eo run predict",
        "eo config copy",
        "eo run predict",
        "eo embed",
        "eo map",
    )
    assert all(command.startswith(begin) for command, begin in zip(shown, expected, strict=True))
    assert set(QUICK) <= set(expected)


def test_the_quick_start_tells_at_most_40_lines_before_its_metrics() -> None:
    """More would be noise of libraries: `eo_cli/run/noise.py`."""
    told = [block.output for block in blocks(START[0].read_text(encoding="utf-8")) if "eo run" in block.command]
    before, metrics, _ = "".join(told).partition("Test metric")
    assert metrics
    assert 10 < before.count("\n") <= 40


def test_a_part_of_an_output_is_that_of_the_whole() -> None:
    """Two pages that show one run must not tell different numbers."""
    whole = {block.command: block.output for block in blocks(START[0].read_text(encoding="utf-8"))}
    found = [one for page in START[1:] for one in excerpts(page.read_text(encoding="utf-8"))]
    assert found
    for command, output in found:
        assert output in whole[command], command


@pytest.mark.parametrize(
    ("today", "same"),
    [
        ("fit took 9 s\nresults  out\n┃ test/loss ┃ 0.2 ┃\nGPU available: True\n", True),
        ("fit took 584 s\nresults  out\n┃   test/loss   ┃   1.2e-05   ┃\n", True),
        ("fit took 1 min 01 s\n--------\nresults  out\n┃ test/loss ┃ 0.2 ┃\n", True),
        ("fit took 9 s\nresults  out\nembedding: batch 1 of 4, 2 items, 9 s left\n┃ test/loss ┃ 0.2 ┃\n", True),
        ("fit took 584 s\nwarning: something\nresults  out\n┃ test/loss ┃ 0.2 ┃\n", False),
        ("fit took 584 s\nresults  elsewhere\n┃ test/loss ┃ 0.2 ┃\n", False),
        ("fit took 584 s\n┃ test/loss ┃ 0.2 ┃\n", False),
    ],
)
def test_only_numbers_and_times_may_be_others(today: str, same: bool) -> None:
    shown = "fit took 584 s\nresults  out\n┃  test/loss  ┃  0.208  ┃\nEpoch 19/19 ━━━ 2/2 0:00:14\n      0:00:00\n"
    assert (stable(shown) == stable(today)) is same
