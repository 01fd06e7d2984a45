"""The page of the commands shows what they tell today."""

from __future__ import annotations

from pathlib import Path

from cli_page import PAGE, blocks, run


def test_the_outputs_on_the_page_are_those_of_the_commands(tmp_path: Path) -> None:
    """`python tests/helpers/cli_page.py` writes them anew."""
    compared = 0
    for block in blocks(PAGE.read_text(encoding="utf-8")):
        if block.of_one_machine:
            assert len(block.output.splitlines()) > 10, block.command
        else:
            assert run(block.command, tmp_path) == block.output, block.command
            compared += 1
    assert compared > 6
